"""SidekiqLogger: its levels, its life as a logging.Logger, and streams of every kind."""

from __future__ import annotations

import contextvars
import io
import logging
import logging.handlers
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from loglines import Terminal, logged

from sidekiq_lua.clock import Clock
from sidekiq_lua.context import Context, use_tid
from sidekiq_lua.errors import ConfigurationError
from sidekiq_lua.log import Formatters, JobLogger, SidekiqLogger, log_line, parse_level, tid


@pytest.fixture(autouse=True)
def _no_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


# -- levels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "level"),
    [
        *(("debug", 10), ("INFO", 20), ("warn", 30), ("warning", 30), (" Error ", 40), ("fatal", 50)),
        *((10, 10), (25, 25), (logging.CRITICAL, 50)),
        *((0, 10), (1, 20), (2, 30), (3, 40), (4, 50), (5, 50)),
    ],
)
def test_levels_by_name_and_number(given: str | int, level: int) -> None:
    assert parse_level(given) == level
    assert SidekiqLogger(level=given).level == level


@pytest.mark.parametrize("bad", ["verbose", "", -1, True, None, 1.5, ["info"]])
def test_an_unknown_level_names_the_known_ones(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"is unknown; use debug, info, warn, error, fatal"):
        parse_level(bad)
    with pytest.raises(ConfigurationError):
        SidekiqLogger().setLevel(bad)
    logger = SidekiqLogger()
    with pytest.raises(ConfigurationError), logger.with_level(bad):
        pass
    assert logger.is_info()


def test_the_predicates_follow_the_level() -> None:
    def answers(logger: SidekiqLogger) -> list[bool]:
        names = ("debug", "info", "warn", "error", "fatal")
        return [getattr(logger, f"is_{name}")() for name in names]

    for place, name in enumerate(("debug", "info", "warn", "error", "fatal")):
        assert answers(SidekiqLogger(level=name)) == [False] * place + [True] * (5 - place)


def test_with_level_holds_for_this_context_only() -> None:
    stream = io.StringIO()
    logger, other = SidekiqLogger(stream), SidekiqLogger(stream)
    outside = contextvars.copy_context()
    with logger.with_level("debug"):
        assert logger.is_debug()
        assert not other.is_debug()
        assert not outside.run(logger.is_debug)
        with logger.with_level("error"):
            logger.warning("no")
            assert logger.getEffectiveLevel() == logging.ERROR
        logger.debug("yes")
    logger.debug("no")
    assert stream.getvalue().endswith(": yes\n")
    assert stream.getvalue().count("\n") == 1


def test_what_logging_disables_is_disabled() -> None:
    logger = SidekiqLogger()
    logging.disable(logging.INFO)
    try:
        assert not logger.is_info()
        assert logger.is_warn()
    finally:
        logging.disable(logging.NOTSET)
    logger.disabled = True
    assert not logger.is_fatal()


# -- it is a logging.Logger --------------------------------------------------------------


def test_it_stands_alone() -> None:
    logger = SidekiqLogger()
    assert isinstance(logger, logging.Logger)
    assert not logger.propagate
    assert logger.name == "sidekiq"
    assert logger is not logging.getLogger("sidekiq")


def test_a_second_handler_gets_the_record_too() -> None:
    stream, more = io.StringIO(), queue.Queue[logging.LogRecord]()
    logger = SidekiqLogger(stream, Formatters.Plain())
    logger.addHandler(logging.handlers.QueueHandler(more))
    with Context.use(a=1), use_tid("me"):
        logger.error("hello %s", "you")
    record = more.get_nowait()
    assert record.getMessage() == "hello you"
    # Formatted elsewhere and later, it is still the line of its own time, thread and context.
    assert Formatters.Plain().format(record) + "\n" == stream.getvalue()
    assert " tid=me a=1: hello you" in stream.getvalue()


def test_a_formatter_of_the_standard_library_works() -> None:
    text = logged(
        lambda logger: log_line(logger, logging.WARNING, "100%", {"a": 1}),
        formatter=logging.Formatter("%(levelname)s %(message)s"),
    )
    assert text == "WARNING 100%\n"


def test_the_handlers_own_level_and_filters_hold() -> None:
    stream = io.StringIO()
    logger = SidekiqLogger(stream)
    logger.writer.setLevel(logging.WARNING)
    logger.info("no")
    logger.writer.setLevel(logging.NOTSET)
    logger.writer.addFilter(lambda record: "secret" not in record.getMessage())
    logger.info("a secret")
    logger.info("yes")
    assert [line.rpartition(": ")[2] for line in stream.getvalue().splitlines()] == ["yes"]


def test_log_line_keeps_to_the_level() -> None:
    text = logged(lambda logger: log_line(logger, logging.INFO, "x"), level="warn")
    assert text == ""


def test_a_subclass_sees_its_records() -> None:
    class Counting(SidekiqLogger):
        seen = 0

        def handle(self, record: logging.LogRecord) -> None:
            self.seen += 1
            super().handle(record)

    stream = io.StringIO()
    logger = Counting(stream)
    logger.info("x")
    JobLogger(logger).start()
    assert logger.seen == 2
    assert stream.getvalue().count("\n") == 2


def test_the_time_is_the_clocks() -> None:
    class Fixed(Clock):
        __slots__ = ()

        def now(self) -> float:
            return 1.5

    text = logged(lambda logger: logger.info("x"), formatter=Formatters.Plain(), clock=Fixed())
    assert text.startswith("INFO 1970-01-01T00:00:01.500Z ")


@pytest.mark.parametrize("text", ["100% %s", "100%%"])
def test_a_percent_sign_without_arguments_is_itself(text: str) -> None:
    assert logged(lambda logger: logger.info(text)).endswith(f": {text}\n")


def test_a_mapping_fills_named_places() -> None:
    assert logged(lambda logger: logger.info("%(a)s b", {"a": 1})).endswith(": 1 b\n")


def test_a_message_that_does_not_fit_its_arguments_does_not_raise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = io.StringIO()
    logger = SidekiqLogger(stream)
    logger.info("%d", "x")
    assert "--- Logging error ---" in capsys.readouterr().err
    logger.info("next")
    assert stream.getvalue().endswith(": next\n")


def test_a_formatter_that_fails_does_not_raise(capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(Formatters.Plain):
        def line(
            self, level: int, message: str, context: Mapping[str, object], now: float, who: str, colour: bool
        ) -> str:
            raise KeyError("mine")

    JobLogger(SidekiqLogger(io.StringIO(), Failing())).start()
    assert "KeyError: 'mine'" in capsys.readouterr().err


# -- streams -----------------------------------------------------------------------------


class Recorder(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def write(self, text: str) -> int:
        self.calls.append(text)
        return super().write(text)

    def flush(self) -> None:
        self.calls.append("flush")


@pytest.mark.parametrize("flush", [True, False])
def test_a_line_is_one_write_then_a_flush(flush: bool) -> None:
    stream = Recorder()
    logger = SidekiqLogger(stream, Formatters.WithoutTimestamp(), flush=flush)
    logger.info("x")
    line = f"INFO pid={os.getpid()} tid={tid()}: x\n"
    assert stream.calls == ([line, "flush"] if flush else [line])
    logger.writer.flush()
    assert stream.calls[-1] == "flush"


def test_it_follows_a_replaced_stdout(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    logger = SidekiqLogger()
    logger.info("a")
    assert capsys.readouterr().out.endswith(": a\n")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    logger.info("b")
    assert terminal.getvalue().startswith("\033[1;34mINFO \033[0m ")


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    ("make", "reason"),
    [(Full, "No space left on device (OSError)"), (closed, "I/O operation on closed file (ValueError)")],
)
def test_a_failing_stream_is_reported_once(
    make: Callable[[], io.StringIO], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = JobLogger(SidekiqLogger(make()))
    lines.start()
    lines.done(1.0)
    told = capsys.readouterr().err
    assert told.startswith("sidekiq: the log cannot be written: ")
    assert reason in told
    assert told.count("\n") == 1


def test_without_stdout_the_report_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        SidekiqLogger().info("a")
    assert capsys.readouterr().err == (
        "sidekiq: the log cannot be written: there is no standard output (OSError)\n"
    )


def test_without_stdout_and_stderr_nothing_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = SidekiqLogger()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        patch.setattr(sys, "stderr", Full())
        logger.info("a")
        patch.setattr(sys, "stderr", None)
        SidekiqLogger().info("a")


def test_text_the_streams_encoding_lacks_is_escaped() -> None:
    raw = io.BytesIO()
    logger = SidekiqLogger(io.TextIOWrapper(raw, encoding="ascii"))
    logger.info("naïve \ud800")
    assert raw.getvalue().endswith(b": na\\xefve \\ud800\n")
    other = SidekiqLogger(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), Formatters.JSON())
    other.info("\ud800")
    buffer = other.writer.stream
    assert isinstance(buffer, io.TextIOWrapper)
    assert b'"msg":"\\ud800"}' in buffer.buffer.getvalue()  # type: ignore[attr-defined]


def test_threads_do_not_mix_their_lines() -> None:
    class Slow(io.StringIO):
        """Lets other threads run in the middle of each write."""

        def write(self, text: str) -> int:
            for letter in text:
                super().write(letter)
            return len(text)

    stream = Slow()
    logger = SidekiqLogger(stream, Formatters.WithoutTimestamp())
    here = threading.Barrier(4)

    def run(name: str) -> None:
        here.wait(30)
        for _ in range(200):
            logger.info(name * 20)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    found = sorted(line.rpartition(": ")[2] for line in stream.getvalue().splitlines())
    assert found == [name * 20 for name in "abcd" for _ in range(200)]


def test_buffered_lines_are_written_at_the_end_of_the_process() -> None:
    script = (
        "from sidekiq_lua.log import SidekiqLogger\n"
        "out = open(1, 'w', closefd=False)\n"
        "logger = SidekiqLogger(out, flush=False)\n"
        "for number in range(3): logger.info(number)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert [line[-3:] for line in done.stdout.splitlines()] == [": 0", ": 1", ": 2"]
