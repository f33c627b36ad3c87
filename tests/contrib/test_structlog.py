"""Real structlog: its own loggers in jobs, and sidekiq-lua's lines through its formatter."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from waiting import wait_until

from sidekiq_lua import Context
from sidekiq_lua.contrib.structlog import job_context


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(output: io.StringIO) -> Iterator[logging.Logger]:
    """A plain logger that renders JSON by structlog, whose own loggers write through it too."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, job_context],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(formatter)
    made = logging.Logger("jobs", logging.INFO)  # noqa: LOG001 -- for this test alone
    made.addHandler(handler)
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.contextvars.merge_contextvars,
            job_context,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=lambda *_: made,
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    yield made
    structlog.reset_defaults()


def lines(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_every_line_of_a_job_has_its_context(
    make_app: Any, logger: logging.Logger, output: io.StringIO, kind: str
) -> None:
    app = make_app(logger=logger)

    def work(job: Any, n: int) -> None:
        structlog.contextvars.bind_contextvars(mine=n)
        structlog.get_logger().info("native", n=n)
        job.logger.info("plain %d", n)
        if n:
            raise ValueError("bad luck")

    if kind == "sync":

        class EchoJob(app.Job):
            sidekiq_options = {"tags": ["a", "b"], "retry": False}

            def perform(self, n: int) -> None:
                work(self, n)
    else:

        class EchoJob(app.Job):  # type: ignore[no-redef]
            sidekiq_options = {"tags": ["a", "b"], "retry": False}

            async def perform(self, n: int) -> None:
                work(self, n)

    jids = [EchoJob.perform_async(n) for n in range(2)]
    runner = app.run()
    try:
        wait_until(lambda: "bad luck" in output.getvalue())
    finally:
        runner.stop()
    for n, jid in enumerate(jids):
        mine = [line for line in lines(output) if line.get("jid") == jid]
        assert {(line["class"], tuple(line["tags"])) for line in mine} == {("EchoJob", ("a", "b"))}
        events = [line["event"] for line in mine]
        assert events[:4] == ["start", "native", f"plain {n}", "fail" if n else "done"]
        assert {line["level"] for line in mine} == {"info"}
        assert (mine[1]["n"], mine[1]["mine"]) == (n, n)
        assert isinstance(mine[3]["elapsed"], float)
        assert "elapsed" not in mine[2]
    [failure] = [line for line in lines(output) if "bad luck" in line["event"]]
    assert failure["context"] == "Job raised exception"
    assert failure["job"]["jid"] == jids[1]


def test_outside_of_jobs_nothing_is_added_and_nothing_is_overwritten(
    logger: logging.Logger, output: io.StringIO
) -> None:
    structlog.get_logger().info("bare")
    with Context.use(jid="1", event="no"):
        structlog.get_logger().info("own", jid="mine")
    assert lines(output) == [
        {"event": "bare", "level": "info"},
        {"event": "own", "level": "info", "jid": "mine"},
    ]
