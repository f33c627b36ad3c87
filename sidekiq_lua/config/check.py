"""Checks of single values: each takes a setting's name and a value, and answers the value to keep.

All raise ConfigurationError with one line that names the setting, what it takes and what it got.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, TypeVar

from ..errors import ConfigurationError
from ..log import parse_level
from ..signatures import accepts, has_yield, is_async

T = TypeVar("T")
Check = Callable[[str, Any], T]

LONGEST_S = 100 * 365 * 24 * 60 * 60
"""No interval is longer, in seconds: 100 years."""


def must_be(name: str, wanted: str, value: object) -> ConfigurationError:
    """The error for a value that cannot be kept."""
    text = repr(value)
    if len(text) > 60:
        text = f"{text[:59]}…"
    hint = ""
    if isinstance(value, str) and value.strip().replace(".", "", 1).isdecimal() and "number" in wanted:
        hint = "; write it without quotes"
    return ConfigurationError(f"{name} must be {wanted}, not {text}{hint}")


def nearest(word: str, known: Sequence[str]) -> str:
    """The known word most like another one, however unlike."""
    return get_close_matches(word, known, n=1, cutoff=0.0)[0]


# -- numbers ----------------------------------------------------------------------------


def whole(least: int) -> Check[int]:
    """A whole number."""

    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**53:
            raise must_be(name, f"a whole number of {least} or more", value)
        return value

    return check


def seconds(name: str, value: Any) -> float:
    """A time in seconds, above 0: a number or a timedelta."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise must_be(name, "a number of seconds or a timedelta", value)
    if not 0 < number <= LONGEST_S:
        raise must_be(name, "a number of seconds above 0 and at most 100 years", value)
    return number


def whole_seconds(name: str, value: Any) -> int:
    """A time in whole seconds, 1 or more, for what Redis counts in seconds."""
    number = seconds(name, value)
    if number != int(number):
        raise must_be(name, "a whole number of seconds", value)
    return int(number)


def flag_or_seconds(most: float) -> Check[bool | float]:
    """True, False, or a time in seconds up to `most`."""

    def check(name: str, value: Any) -> bool | float:
        if isinstance(value, bool):
            return value
        number = value.total_seconds() if isinstance(value, timedelta) else value
        if not isinstance(number, int | float) or not 0 < number <= most:
            raise must_be(name, f"true, false, or a number of seconds above 0 and at most {most:g}", value)
        return number

    return check


_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(KB|MB|GB)", re.IGNORECASE)
_UNITS = {"KB": 2**10, "MB": 2**20, "GB": 2**30}


def size(name: str, value: Any) -> int:
    """A size in bytes, a million or more: a whole number, or a text such as "512MB", of 1,024 KB each."""
    number = value
    if isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
        number = int(float(found[1]) * _UNITS[found[2].upper()])
    if isinstance(number, bool) or not isinstance(number, int) or not 10**6 <= number < 2**53:
        raise must_be(name, 'a size such as "512MB" or "1.5GB", 1 MB or more', value)
    return number


# -- words ------------------------------------------------------------------------------


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise must_be(name, "true or false", value)
    return value


def text(name: str, value: Any) -> str:
    """One line of text that is not empty."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise must_be(name, "one line of text", value)
    return value


def texts(name: str, value: Any) -> list[str]:
    """A list of texts without doubles, or a single text."""
    items = [value] if isinstance(value, str) else listed(name, "a list of texts", value)
    return list(dict.fromkeys(text(f"each of {name}", item) for item in items))


def paths(name: str, value: Any) -> list[str]:
    """A list of paths or dotted names, or a single one."""
    items = [value] if isinstance(value, str | os.PathLike) else listed(name, "a list of paths", value)
    return [
        text(f"each of {name}", os.fspath(item) if isinstance(item, os.PathLike) else item) for item in items
    ]


def choice(*words: str) -> Check[str]:
    """One of some words; a number stands for the word that it spells, as files write 8.1 for "8.1"."""

    def check(name: str, value: Any) -> str:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        word = str(value) if number else value
        if word in words:
            return str(word)
        meant = f"; did you mean {nearest(word, words)!r}?" if isinstance(word, str) and word else ""
        error = must_be(name, " or ".join(repr(word) for word in words), value)
        raise ConfigurationError(f"{error}{meant}")

    return check


def level(name: str, value: Any) -> str | int:
    """A log level by name, or by the numbers of `logging`."""
    try:
        number = parse_level(value)
    except ConfigurationError:
        raise must_be(name, "debug, info, warn, error, fatal or a number of logging", value) from None
    return value.strip().lower() if isinstance(value, str) else number


def address(name: str, value: Any) -> str:
    """Where to listen, as HOST:PORT; from a port alone, 127.0.0.1:PORT. Port 0 is any free one."""
    wanted = "HOST:PORT or a port, as in 127.0.0.1:7433"
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.isprintable():
        raise must_be(name, wanted, value)
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65_536) or set(host) & {" ", "/"}:
        raise must_be(name, wanted, value)
    return f"{host or '127.0.0.1'}:{int(port)}"


def listed(name: str, wanted: str, value: Any) -> list[Any]:
    """The items of a list, a tuple or a set."""
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
        raise must_be(name, wanted, value)
    return list(value)


# -- code -------------------------------------------------------------------------------


def called_with(*arguments: str, may_await: bool = False) -> Check[Callable[..., Any]]:
    """A callable that takes these arguments by position, and is no `async def` unless somebody awaits it."""
    shape = f"a callable that takes ({', '.join(arguments)})"

    def check(name: str, value: Any) -> Callable[..., Any]:
        if not callable(value) or not accepts(value, arguments):
            raise must_be(name, shape, value)
        if has_yield(value):
            raise must_be(name, "a function without `yield`, since to call it would run nothing", value)
        if is_async(value) and not may_await:
            raise must_be(name, "a plain function, since nothing would await an `async def`", value)
        return value  # type: ignore[no-any-return]

    return check


def instance_of(wanted: str, *kinds: type) -> Check[Any]:
    """An object of one of some classes."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kinds):
            raise must_be(name, wanted, value)
        return value

    return check


# -- combinations -----------------------------------------------------------------------


def optional(check: Check[T]) -> Check[T | None]:
    """None, or what the other check takes."""
    return lambda name, value: None if value is None else check(name, value)


def each(check: Check[T], wanted: str) -> Check[list[T]]:
    """A list of what the other check takes."""
    return lambda name, value: [check(f"each of {name}", item) for item in listed(name, wanted, value)]
