"""The lines start, done and fail of a job, through our logger and through any other."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
from loglines import ECHO, logged, ruby

from sidekiq_lua.context import Context
from sidekiq_lua.log import Formatters, JobLogger, SidekiqLogger

__all__ = ["ruby"]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({**ECHO, "args": [1], "queue": "default"}, ECHO),
        ({**ECHO, "wrapped": "Real"}, {**ECHO, "class": "Real"}),
        ({**ECHO, "tags": ["x"], "bid": "b"}, {**ECHO, "bid": "b", "tags": ["x"]}),
        ({**ECHO, "tags": None}, ECHO),
        ({**ECHO, "tags": []}, {**ECHO, "tags": []}),
    ],
)
def test_the_context_of_a_job(payload: dict[str, Any], expected: dict[str, object]) -> None:
    context = JobLogger(SidekiqLogger()).context_for(payload)
    assert list(context.items()) == list(expected.items())


def test_the_attributes_of_a_job_are_a_setting() -> None:
    context = JobLogger(SidekiqLogger(), attributes=["queue", "args"]).context_for(
        {**ECHO, "queue": "low", "tags": ["x"], "args": [1]}
    )
    assert list(context.items()) == [*ECHO.items(), ("queue", "low"), ("args", [1])]


@pytest.mark.parametrize(
    ("elapsed", "text"), [(0, "0.0"), (0.0004, "0.0"), (0.0126, "0.013"), (10.05, "10.05"), (3, "3.0")]
)
def test_elapsed_is_rounded_as_ruby_prints_it(elapsed: float, text: str) -> None:
    found = logged(lambda logger: JobLogger(logger).fail(elapsed))
    assert found.endswith(f" elapsed={text}: fail\n")


def test_elapsed_is_in_its_own_line_only() -> None:
    stream = io.StringIO()
    lines = JobLogger(SidekiqLogger(stream))
    with Context.use(a=1):
        lines.done(1.5)
        assert Context.current() == {"a": 1}


def test_job_lines_can_be_left_out() -> None:
    def job(lines: JobLogger) -> None:
        lines.start()
        lines.done(1.0)
        lines.fail(1.0)

    assert logged(lambda logger: job(JobLogger(logger, skip_default=True))) == ""
    assert logged(lambda logger: job(JobLogger(logger)), level="warn") == ""
    assert logged(lambda logger: job(JobLogger(logger))).count("\n") == 3


@pytest.fixture
def plain_logger() -> tuple[logging.Logger, io.StringIO]:
    """A logger of the standard library, as an application brings its own."""
    stream = io.StringIO()
    logger = logging.Logger("theirs", logging.INFO)  # noqa: LOG001 - one that no other test sees
    logger.addHandler(logging.StreamHandler(stream))
    return logger, stream


def test_job_lines_through_a_logger_of_the_standard_library(
    plain_logger: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = plain_logger
    records: list[logging.LogRecord] = []
    logger.addFilter(lambda record: records.append(record) or True)
    lines = JobLogger(logger)
    with Context.use(**ECHO, tags=["100%s", "y"]):
        lines.start()
        lines.done(0.0126)
    assert stream.getvalue() == (
        "start jid=5d3a68458bd352e26732caa4 class=EchoJob tags=100%s,y\n"
        "done jid=5d3a68458bd352e26732caa4 class=EchoJob tags=100%s,y elapsed=0.013\n"
    )
    assert records[1].__dict__["sidekiq_context"] == {**ECHO, "tags": ["100%s", "y"], "elapsed": 0.013}


@pytest.mark.usefixtures("ruby")
def test_our_formatters_work_in_handlers_of_the_standard_library(
    plain_logger: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = plain_logger
    logger.handlers[0].setFormatter(Formatters.Pretty())
    with Context.use(**ECHO):
        JobLogger(logger).start()
        logger.error("hello %s", "you")
    begin = "2026-11-24T02:52:44.438Z pid=17110 tid=dvu jid=5d3a68458bd352e26732caa4 class=EchoJob"
    assert stream.getvalue() == f"INFO {begin}: start\nERROR {begin}: hello you\n"
