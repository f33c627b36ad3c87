"""The forms of a log line: byte for byte Sidekiq 8.1.7's, with any value, any error."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from loglines import COUNT, ECHO, Terminal, logged, ruby

from sidekiq_lua.context import Context
from sidekiq_lua.log import Formatters, JobLogger, SidekiqLogger, exception_line

__all__ = ["ruby"]

JOB = {"retry": True, "queue": "default", "class": "CountIterableJob", "args": [5, 0.1]}


@pytest.fixture(autouse=True)
def _no_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


# -- the samples -------------------------------------------------------------------------


@pytest.mark.usefixtures("ruby")
def test_pretty_as_ruby_prints_it_on_a_terminal() -> None:
    def job(logger: SidekiqLogger) -> None:
        lines = JobLogger(logger)
        token = Context.replace(lines.context_for(ECHO))
        lines.start()
        lines.done(0.00123)
        Context.reset(token)

    assert logged(job, Terminal(), formatter=Formatters.Pretty()) == (
        "\033[1;34mINFO \033[0m 2026-11-24T02:52:44.438Z pid=17110 tid=dvu "
        "jid=5d3a68458bd352e26732caa4 class=EchoJob: start\n"
        "\033[1;34mINFO \033[0m 2026-11-24T02:52:44.438Z pid=17110 tid=dvu "
        "jid=5d3a68458bd352e26732caa4 class=EchoJob elapsed=0.001: done\n"
    )


@pytest.mark.usefixtures("ruby")
def test_without_timestamp_as_ruby_prints_it_on_a_terminal() -> None:
    def job(logger: SidekiqLogger) -> None:
        lines = JobLogger(logger)
        token = Context.replace(lines.context_for({**ECHO, "tags": ["x", "y"]}))
        lines.start()
        lines.done(0.002)
        Context.reset(token)

    begin = "\033[1;34mINFO \033[0m pid=17110 tid=dvu jid=5d3a68458bd352e26732caa4 class=EchoJob tags=x,y"
    assert logged(job, Terminal(), formatter=Formatters.WithoutTimestamp()) == (
        f"{begin}: start\n{begin} elapsed=0.002: done\n"
    )


@pytest.mark.usefixtures("ruby")
def test_plain_as_ruby_prints_it() -> None:
    def debug(logger: SidekiqLogger) -> None:
        logger.debug("Firing %s event", "startup")
        with Context.use(**COUNT):
            logger.info("Job cancelled")
            logger.debug("Completed iteration. executions=%d runtime=%.3f", 1, 10.05)

    begin = "2026-11-24T02:52:44.438Z pid=17110 tid=dvu"
    job = f"{begin} jid=5adeec93f53b205ebf62ec9d class=CountIterableJob"
    assert logged(debug, Terminal(), formatter=Formatters.Plain(), level="debug") == (
        f"DEBUG {begin}: Firing startup event\n"
        f"INFO {job}: Job cancelled\n"
        f"DEBUG {job}: Completed iteration. executions=1 runtime=10.050\n"
    )


@pytest.mark.usefixtures("ruby")
def test_json_as_ruby_prints_it() -> None:
    def lines(logger: SidekiqLogger) -> None:
        job = JobLogger(logger)
        with Context.use(**COUNT):
            job.start()
            job.fail(0.00051)
            job.done(0)
        with Context.use(context="Job raised exception", job=JOB):
            logger.info("no implicit conversion of nil into String (TypeError)")
        logger.warning("Terminating 1 busy threads")

    begin = '{"ts":"2026-11-24T02:52:44.438Z","pid":17110,"tid":"dvu",'
    ctx = '"ctx":{"jid":"5adeec93f53b205ebf62ec9d","class":"CountIterableJob"'
    assert logged(lines, formatter=Formatters.JSON()).splitlines() == [
        begin + '"lvl":"INFO","msg":"start",' + ctx + "}}",
        begin + '"lvl":"INFO","msg":"fail",' + ctx + ',"elapsed":0.001}}',
        begin + '"lvl":"INFO","msg":"done",' + ctx + ',"elapsed":0.0}}',
        begin + '"lvl":"INFO","msg":"no implicit conversion of nil into String (TypeError)",'
        '"ctx":{"context":"Job raised exception","job":{"retry":true,"queue":"default",'
        '"class":"CountIterableJob","args":[5,0.1]}}}',
        begin + '"lvl":"WARN","msg":"Terminating 1 busy threads"}',
    ]


@pytest.mark.usefixtures("ruby")
def test_the_colours_of_the_levels() -> None:
    def all_levels(logger: SidekiqLogger) -> None:
        for name in ("debug", "info", "warning", "error", "fatal"):
            getattr(logger, name)("x")

    text = logged(all_levels, Terminal(), formatter=Formatters.WithoutTimestamp(), level="debug")
    assert [line.partition(" pid")[0] for line in text.splitlines()] == [
        "\033[1;32mDEBUG\033[0m",
        "\033[1;34mINFO \033[0m",
        "\033[1;33mWARN \033[0m",
        "\033[1;31mERROR\033[0m",
        "\033[1;35mFATAL\033[0m",
    ]


@pytest.mark.usefixtures("ruby")
def test_pretty_is_plain_off_a_terminal_and_under_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = logged(lambda logger: logger.warning("x"), formatter=Formatters.Plain())
    assert plain == "WARN 2026-11-24T02:52:44.438Z pid=17110 tid=dvu: x\n"
    assert logged(lambda logger: logger.warning("x"), formatter=Formatters.Pretty()) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert logged(lambda logger: logger.warning("x"), Terminal(), formatter=Formatters.Pretty()) == plain
    forced = logged(lambda logger: logger.warning("x"), formatter=Formatters.Pretty(colour=True))
    assert forced == plain.replace("WARN", "\033[1;33mWARN \033[0m", 1)


def test_the_default_formatter_leaves_the_time_to_heroku(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(SidekiqLogger().writer.formatter) is Formatters.Pretty
    monkeypatch.setenv("DYNO", "")
    assert type(SidekiqLogger().writer.formatter) is Formatters.WithoutTimestamp


# -- values of the context ---------------------------------------------------------------


class Broken:
    def __str__(self) -> str:
        raise KeyError("x")


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "text", "as_json"),
    [
        ("é/", "é/", '"é/"'),
        (None, "", "null"),
        (True, "true", "true"),
        (7, "7", "7"),
        (0.25, "0.25", "0.25"),
        (["a", None, False, 1, ["b", 2]], "a,,false,1,b,2", '["a",null,false,1,["b",2]]'),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}', '{"a":[1,"é"]}'),
        ({"a": float("nan")}, "\"{'a': nan}\"", "\"{'a': nan}\""),
        (float("nan"), "nan", '"nan"'),
        (1 + 2j, "(1+2j)", '"(1+2j)"'),
        (Broken(), "<Broken whose str() raised KeyError>", '"<Broken whose str() raised KeyError>"'),
        (CIRCLE, "[[...]]", '"[[...]]"'),
        ("a\nb\rc", "a\\nb\\rc", '"a\\nb\\rc"'),
    ],
)
@pytest.mark.usefixtures("ruby")
def test_any_value_can_be_in_the_context(value: object, text: str, as_json: str) -> None:
    with Context.use(a="b", k=value):
        plain = logged(lambda logger: logger.info("x"), formatter=Formatters.WithoutTimestamp())
        line = logged(lambda logger: logger.info("x"), formatter=Formatters.JSON())
    assert plain == f"INFO pid=17110 tid=dvu a=b k={text}: x\n"
    assert line.partition('"msg":')[2] == f'"x","ctx":{{"a":"b","k":{as_json}}}}}\n'
    json.loads(line)


def test_job_prints_json_in_an_error_line() -> None:
    with Context.use(context="Job raised exception", job=JOB):
        text = logged(lambda logger: logger.info("x"), formatter=Formatters.Plain())
    assert text.endswith(
        ' context=Job raised exception job={"retry":true,"queue":"default",'
        '"class":"CountIterableJob","args":[5,0.1]}: x\n'
    )


# -- errors ------------------------------------------------------------------------------


def failing(message: str = "first try fails") -> None:
    raise RuntimeError(message)


def caught(run: Callable[[], object]) -> Exception:
    try:
        run()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_exc_info_prints_the_traceback_after_the_message() -> None:
    error = caught(failing)

    def write(logger: SidekiqLogger) -> None:
        logger.error("oh %s", "no", exc_info=error)

    lines = logged(write).splitlines()
    assert lines[0].endswith(": oh no")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "RuntimeError: first try fails"
    told = json.loads(logged(write, formatter=Formatters.JSON()))
    assert told["msg"].splitlines() == ["oh no", *lines[1:]]


def test_exception_and_exc_info_true_take_the_current_error() -> None:
    def write(logger: SidekiqLogger) -> None:
        try:
            failing()
        except RuntimeError:
            logger.exception("a")
            logger.error("b", exc_info=True)

    assert logged(write).count("\nRuntimeError: first try fails\n") == 2


def test_exc_info_without_an_error_adds_nothing() -> None:
    assert logged(lambda logger: logger.error("b", exc_info=None)).endswith(": b\n")
    assert logged(lambda logger: logger.error("b", exc_info=True)).endswith(": b\n")  # noqa: LOG014


def test_stack_info_and_extra_go_by_the_record() -> None:
    stream = io.StringIO()
    SidekiqLogger(stream).info("x", stack_info=True, extra={"mine": 1})
    assert ": x\nStack (most recent call last):\n" in stream.getvalue()


def test_exception_line_tells_where_what_and_which_class() -> None:
    line = failing.__code__.co_firstlineno + 1
    expected = f"{__file__}:{line}:in 'failing': first try fails (RuntimeError)"
    assert exception_line(caught(failing), False) == expected
    detailed = exception_line(caught(failing), True).splitlines()
    assert detailed[:2] == [expected, "Traceback (most recent call last):"]
    assert detailed[-1] == "RuntimeError: first try fails"


def test_exception_line_of_unusual_errors() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise KeyError("x")

    assert exception_line(TypeError("no place"), False) == "no place (TypeError)"
    assert exception_line(ValueError(), False) == "ValueError (ValueError)"
    assert exception_line(ValueError("a\nb"), False) == "a (ValueError)\nb"
    assert exception_line(Mute(), False) == "<Mute whose str() raised KeyError> (Mute)"
