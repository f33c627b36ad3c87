"""The forms of a log line: Ruby Sidekiq 8.1's Pretty, WithoutTimestamp, Plain and JSON."""

from __future__ import annotations

import logging
import os
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from json import JSONEncoder

import ujson

from .clock import iso_ms
from .context import Context, tid

_LABELS = {
    logging.DEBUG: "DEBUG",
    logging.INFO: "INFO",
    logging.WARNING: "WARN",
    logging.ERROR: "ERROR",
    logging.CRITICAL: "FATAL",
}
_COLOURED = {
    logging.DEBUG: "\033[1;32mDEBUG\033[0m",
    logging.INFO: "\033[1;34mINFO \033[0m",
    logging.WARNING: "\033[1;33mWARN \033[0m",
    logging.ERROR: "\033[1;31mERROR\033[0m",
    logging.CRITICAL: "\033[1;35mFATAL\033[0m",
}


# -- values -----------------------------------------------------------------------------


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__} whose str() raised {type(error).__name__}>"


def _dump(value: object) -> str:
    return ujson.dumps(
        value, ensure_ascii=False, escape_forward_slashes=False, allow_nan=False, default=_text
    )


# Takes text that ujson refuses, as lone surrogates.
_encode = JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_text).encode


def _json(value: object) -> str:
    """The value as JSON; where that cannot be, its text as a JSON string."""
    try:
        return _encode(value)
    except Exception:
        return _encode(_text(value))


def _json_object(mapping: Mapping[str, object]) -> str:
    return "{" + ",".join(f"{_encode(_text(k))}:{_json(v)}" for k, v in mapping.items()) + "}"


def _shown(value: object, depth: int = 8) -> str:
    if isinstance(value, str):
        return value
    if type(value) is float or type(value) is int:
        return repr(value)
    if isinstance(value, (list, tuple)) and depth:
        try:
            return ",".join(value)
        except TypeError:
            # Bounded, since a list may hold itself.
            return ",".join([_shown(item, depth - 1) for item in value])
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    return _json(value) if isinstance(value, dict) else _text(value)


def context_text(context: Mapping[str, object]) -> str:
    """The context as ' key=value key=value', on one line; '' if there is none."""
    if not context:
        return ""
    text = "".join([f" {k}={v if type(v) is str else _shown(v)}" for k, v in context.items()])
    # A payload from elsewhere must not be able to forge a line of its own.
    if "\n" in text or "\r" in text:
        text = text.replace("\r", "\\r").replace("\n", "\\n")
    return text


# -- formatters -------------------------------------------------------------------------


class LineFormatter(logging.Formatter, ABC):
    """Base of the four; a subclass gives `line`. It also works in any `logging.Handler`.

    `colour`: True or False decides for the formatter; None leaves it to a SidekiqLogger, which
    colours on a terminal unless NO_COLOR is set. Elsewhere None means no colours.
    """

    def __init__(self, colour: bool | None = None) -> None:
        super().__init__()
        self.colour = colour

    @abstractmethod
    def line(
        self, level: int, message: str, context: Mapping[str, object], now: float, who: str, colour: bool
    ) -> str:
        """One line without its newline; `now` in epoch seconds, `who` as `tid()` gives it."""

    def format(self, record: logging.LogRecord) -> str:
        return self.render(record, bool(self.colour))

    def render(self, record: logging.LogRecord, colour: bool) -> str:
        """The line of a record; uses its `sidekiq_context`, `sidekiq_tid` and `sidekiq_message` if set."""
        values = record.__dict__
        message = values.get("sidekiq_message")
        if message is None:
            message = record.getMessage()
        message = with_traceback(str(message), record.exc_info, record.stack_info)
        context = values.get("sidekiq_context")
        if context is None:
            context = Context.peek()
        who = values.get("sidekiq_tid") or tid()
        return self.line(record.levelno, message, context, record.created, who, colour)


def _label(level: int, colour: bool) -> str:
    return (_COLOURED if colour else _LABELS).get(level) or logging.getLevelName(level)


class Pretty(LineFormatter):
    """`INFO TIME pid=1 tid=a key=value: message`, the level coloured on a terminal."""

    def line(
        self, level: int, message: str, context: Mapping[str, object], now: float, who: str, colour: bool
    ) -> str:
        ctx = context_text(context)
        return f"{_label(level, colour)} {iso_ms(now)} pid={os.getpid()} tid={who}{ctx}: {message}"


class Plain(Pretty):
    """As Pretty, never coloured."""

    def __init__(self) -> None:
        super().__init__(colour=False)


class WithoutTimestamp(LineFormatter):
    """As Pretty without the time, for platforms that add their own."""

    def line(
        self, level: int, message: str, context: Mapping[str, object], now: float, who: str, colour: bool
    ) -> str:
        return f"{_label(level, colour)} pid={os.getpid()} tid={who}{context_text(context)}: {message}"


class JSON(LineFormatter):
    """One JSON object a line: ts, pid, tid, lvl, msg, and ctx if there is a context."""

    def line(
        self, level: int, message: str, context: Mapping[str, object], now: float, who: str, colour: bool
    ) -> str:
        entry: dict[str, object] = {
            "ts": iso_ms(now),
            "pid": os.getpid(),
            "tid": who,
            "lvl": _label(level, False),
            "msg": message,
        }
        if context:
            entry["ctx"] = context
        try:
            return _dump(entry)
        except Exception:
            # NaN, a circle, or whatever a value's own __json__ raised: only that value becomes text.
            entry.pop("ctx", None)
            ctx = f',"ctx":{_json_object(context)}' if context else ""
            return f"{_json_object(entry)[:-1]}{ctx}}}"


class Formatters:
    """The formatters by name, as in `SidekiqLogger(formatter=Formatters.JSON())`."""

    Pretty = Pretty
    Plain = Plain
    WithoutTimestamp = WithoutTimestamp
    JSON = JSON

    @staticmethod
    def default() -> LineFormatter:
        """WithoutTimestamp on Heroku (DYNO is in the environment), else Pretty."""
        return WithoutTimestamp() if "DYNO" in os.environ else Pretty()


# -- errors -----------------------------------------------------------------------------


def with_traceback(message: str, exc_info: object, stack_info: str | None = None) -> str:
    """`message`, then the lines of a `LogRecord.exc_info` and stack, if any."""
    if isinstance(exc_info, tuple) and exc_info[0] is not None:
        message += "\n" + "".join(traceback.format_exception(*exc_info)).rstrip("\n")
    return f"{message}\n{stack_info}" if stack_info else message


def exception_line(error: BaseException, detailed: bool) -> str:
    """`file.py:LINE:in 'function': message (ClassName)`, of the innermost frame of the traceback.

    Without a traceback there is no location; an error without a message shows its class instead.
    `detailed` adds the lines of the whole traceback, causes included.
    """
    name = type(error).__name__
    first, newline, rest = (_text(error) or name).partition("\n")
    line = f"{first} ({name}){newline}{rest}"
    tb = error.__traceback__
    if tb is not None:
        while tb.tb_next is not None:
            tb = tb.tb_next
        code = tb.tb_frame.f_code
        line = f"{code.co_filename}:{tb.tb_lineno}:in '{code.co_name}': {line}"
    if detailed:
        line += "\n" + "".join(traceback.format_exception(error)).rstrip("\n")
    return line
