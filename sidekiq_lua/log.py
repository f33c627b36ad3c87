"""The logger, its fast way to one written line, and the start/done/fail lines of jobs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from .clock import Clock
from .context import Context, task_tid, tid, use_tid
from .errors import ConfigurationError
from .formatters import Formatters, LineFormatter, context_text, exception_line, with_traceback

__all__ = [
    "Formatters",
    "JobLogger",
    "LineHandler",
    "SidekiqLogger",
    "exception_line",
    "log_line",
    "parse_level",
    "task_tid",
    "tid",
    "use_tid",
]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "critical": logging.CRITICAL,
}
# Ruby clients may put their numbers into a payload's `log_level`; Python has no levels so low.
_RUBY_LEVELS = (*sorted(set(_LEVELS.values())), logging.CRITICAL)


def parse_level(level: object) -> int:
    """The `logging` number of a level's name, of a `logging` number, or of Ruby's 0 (debug) to 5.

    Raises ConfigurationError, naming the known levels, for anything else.
    """
    if isinstance(level, str):
        known = _LEVELS.get(level.strip().lower())
        if known is not None:
            return known
    elif isinstance(level, int) and not isinstance(level, bool) and level >= 0:
        return _RUBY_LEVELS[level] if level < len(_RUBY_LEVELS) else level
    raise ConfigurationError(
        f"log level {level!r} is unknown; use debug, info, warn, error, fatal, or a level number of logging"
    )


class LineHandler(logging.Handler):
    """Writes whole lines to one text stream, each in one `write`, under a lock.

    Without a stream it follows `sys.stdout`, also where that is replaced later. A stream that fails
    never raises into the caller: the first failure is reported on stderr, the line is lost.
    """

    def __init__(self, stream: TextIO | None = None, flush: bool = True) -> None:
        super().__init__()
        self._stream = stream
        self._flush = flush
        self._seen: TextIO | None = None
        self._terminal = False
        self._reported = False

    @property
    def stream(self) -> TextIO | None:
        """Where lines go now; None in a process without a standard output."""
        return sys.stdout if self._stream is None else self._stream

    def colour(self, formatter: LineFormatter) -> bool:
        """Whether this formatter's lines are coloured on the present stream."""
        if formatter.colour is not None:
            return formatter.colour
        stream = self.stream
        if stream is not self._seen:
            self._terminal = not os.environ.get("NO_COLOR") and _is_terminal(stream)
            self._seen = stream
        return self._terminal

    def emit(self, record: logging.LogRecord) -> None:
        formatter = self.formatter
        try:
            if isinstance(formatter, LineFormatter) and type(formatter).format is LineFormatter.format:
                line = formatter.render(record, self.colour(formatter))
            else:
                line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        self.write_line(line)

    def write_line(self, line: str) -> None:
        """Write `line` and a newline, then flush unless built with `flush=False`."""
        stream = self.stream
        try:
            if stream is None:
                raise OSError("there is no standard output")
            # Not self.acquire(): a Shutdown raised as it returns would leave the lock taken.
            with self.lock:  # type: ignore[union-attr]
                try:
                    stream.write(line + "\n")
                except UnicodeEncodeError as error:
                    known = line.encode(error.encoding, "backslashreplace").decode(error.encoding)
                    stream.write(known + "\n")
                if self._flush:
                    stream.flush()
        except Exception as error:
            self._report(error)

    def flush(self) -> None:
        stream = self.stream
        try:
            with self.lock:  # type: ignore[union-attr]
                if stream is not None and not getattr(stream, "closed", False):
                    stream.flush()
        except Exception as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        if self._reported:
            return
        self._reported = True
        if sys.stderr is None:
            return
        try:
            sys.stderr.write(f"sidekiq: the log cannot be written: {error} ({type(error).__name__})\n")
        except (OSError, ValueError):
            # stderr is gone as well, so nobody is left to tell; the job matters more.
            return


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, OSError, ValueError):
        return False


class SidekiqLogger(logging.Logger):
    """A `logging.Logger` that stands alone: not registered, no parent, one handler, `writer`.

    `stream` None follows `sys.stdout`; `formatter` None is Pretty, or WithoutTimestamp on Heroku;
    `level` as `parse_level` takes it (ConfigurationError); `flush` False leaves lines in the
    stream's buffer until it is full or the process ends.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        formatter: logging.Formatter | None = None,
        level: str | int = "info",
        name: str = "sidekiq",
        *,
        clock: Clock | None = None,
        flush: bool = True,
    ) -> None:
        super().__init__(name)
        self.propagate = False
        self.clock = clock or Clock()
        self._level_here: ContextVar[int | None] = ContextVar("sidekiq_log_level", default=None)
        self.writer = LineHandler(stream, flush)
        self.writer.setFormatter(formatter or Formatters.default())
        self.addHandler(self.writer)
        self.setLevel(level)
        kind = type(self)
        self._may_skip_record = (
            kind.handle is logging.Logger.handle and kind.makeRecord is SidekiqLogger.makeRecord
        )

    # -- levels

    def setLevel(self, level: str | int) -> None:
        super().setLevel(parse_level(level))

    def getEffectiveLevel(self) -> int:
        here = self._level_here.get()
        return self.level if here is None else here

    def isEnabledFor(self, level: int) -> bool:
        # The base class caches answers, which cannot hold for levels that differ by context.
        here = self._level_here.get()
        if level < (self.level if here is None else here):
            return False
        return not self.disabled and self.manager.disable < level

    @contextmanager
    def with_level(self, level: str | int) -> Iterator[None]:
        """Within the block, in this contextvars context only, log from `level` on.

        Raises ConfigurationError for an unknown level.
        """
        number = parse_level(level)
        before = self._level_here.get()
        self._level_here.set(number)
        try:
            yield
        finally:
            self._level_here.set(before)

    def set_level_here(self, level: str | int | None) -> None:
        """As `with_level`, until this contextvars context ends; None: as everywhere (internal)."""
        self._level_here.set(None if level is None else parse_level(level))

    def is_debug(self) -> bool:
        return self.isEnabledFor(logging.DEBUG)

    def is_info(self) -> bool:
        return self.isEnabledFor(logging.INFO)

    def is_warn(self) -> bool:
        return self.isEnabledFor(logging.WARNING)

    def is_error(self) -> bool:
        return self.isEnabledFor(logging.ERROR)

    def is_fatal(self) -> bool:
        return self.isEnabledFor(logging.CRITICAL)

    # -- lines

    def line(self, level: int, message: str, context: Mapping[str, object]) -> None:
        """Log with `context` in place of the current one; the level is not checked."""
        if not self._write(level, message, context):
            super()._log(level, message, (), extra={"sidekiq_context": context})

    def _log(self, level: int, msg: object, args: Any, *rest: Any, **named: Any) -> None:
        if not rest and named.keys() <= {"exc_info", "stacklevel"}:
            try:
                message = str(msg) % args if args else str(msg)
                exc_info = named.get("exc_info")
                if exc_info:
                    message = with_traceback(message, _exc_tuple(exc_info))
            except Exception:
                # The record's way reports a message that cannot be formatted, as logging does.
                message = None
            if message is not None and self._write(level, message, Context.peek()):
                return
        super()._log(level, msg, args, *rest, **named)

    def _write(self, level: int, message: str, context: Mapping[str, object]) -> bool:
        """Write the line without a LogRecord; False where something could see or change the record."""
        handlers, writer = self.handlers, self.writer
        if len(handlers) != 1 or handlers[0] is not writer or not self._may_skip_record:
            return False
        if self.filters or writer.filters or writer.level > level:
            return False
        formatter = writer.formatter
        if not isinstance(formatter, LineFormatter) or type(formatter).format is not LineFormatter.format:
            return False
        try:
            line = formatter.line(level, message, context, self.clock.now(), tid(), writer.colour(formatter))
        except Exception:
            # The record's way meets the same error, and reports it as logging does.
            return False
        writer.write_line(line)
        return True

    def makeRecord(self, *args: Any, **named: Any) -> logging.LogRecord:
        record = super().makeRecord(*args, **named)
        record.created = self.clock.now()
        record.msecs = record.created % 1 * 1000
        # Kept on the record, since a QueueHandler formats it in another thread.
        record.__dict__.setdefault("sidekiq_context", Context.peek())
        record.__dict__.setdefault("sidekiq_tid", tid())
        return record


def _exc_tuple(exc_info: object) -> object:
    if isinstance(exc_info, BaseException):
        return (type(exc_info), exc_info, exc_info.__traceback__)
    return exc_info if isinstance(exc_info, tuple) else sys.exc_info()


def log_line(
    logger: logging.Logger, level: int, message: str, context: Mapping[str, object] | None = None
) -> None:
    """Log `message` with `context` (default: the current one) through any logger.

    Another logger than a SidekiqLogger gets the context as text after the message, and as the
    record attribute `sidekiq_context`; our formatters show it once, as usual.
    """
    if logger.isEnabledFor(level):
        _emit(logger, level, message, Context.peek() if context is None else context)


def _emit(logger: logging.Logger, level: int, message: str, context: Mapping[str, object]) -> None:
    if isinstance(logger, SidekiqLogger):
        logger.line(level, message, context)
    else:
        extra = {"sidekiq_context": context, "sidekiq_message": message}
        logger.log(level, message + context_text(context), extra=extra)


class JobLogger:
    """The lines `start`, `done` and `fail` of each job, at INFO.

    `skip_default` silences them; `attributes` names the payload fields that join jid and class in
    the context of every line of the job.
    """

    __slots__ = ("_attributes", "_logger", "_skip")

    def __init__(
        self,
        logger: logging.Logger,
        skip_default: bool = False,
        attributes: Sequence[str] = ("bid", "tags"),
    ) -> None:
        self._logger = logger
        self._skip = skip_default
        self._attributes = tuple(attributes)

    def context_for(self, payload: Mapping[str, Any]) -> dict[str, object]:
        """The context of a job's lines: jid, class (the wrapped one, if any), then the attributes it has."""
        get = payload.get
        context: dict[str, object] = {"jid": get("jid"), "class": get("wrapped") or get("class")}
        for name in self._attributes:
            value = get(name)
            if value is not None:
                context[name] = value
        return context

    def start(self) -> None:
        """Log `start` with the current context."""
        if not self._skip and self._logger.isEnabledFor(logging.INFO):
            _emit(self._logger, logging.INFO, "start", Context.peek())

    def done(self, elapsed: float) -> None:
        """Log `done`; `elapsed` in seconds."""
        self._end("done", elapsed)

    def fail(self, elapsed: float) -> None:
        """Log `fail`; `elapsed` in seconds."""
        self._end("fail", elapsed)

    def interrupted(self, elapsed: float) -> None:
        """Log `interrupted`: an iterable job makes room; `elapsed` in seconds."""
        self._end("interrupted", elapsed)

    def _end(self, message: str, elapsed: float) -> None:
        if not self._skip and self._logger.isEnabledFor(logging.INFO):
            context = {**Context.peek(), "elapsed": round(float(elapsed), 3)}
            _emit(self._logger, logging.INFO, message, context)
