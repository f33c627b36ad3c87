"""Comparing what a test expects with what it got, and telling where they differ."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from ..payload import shorten


class Unknown(str):
    """A line for a place where a function raised instead of saying yes or no."""


def differences(expected: Any, found: Any, path: str) -> Iterator[str]:
    """One line for each place where they differ; nothing where they match.

    What is expected may be a value, anything with an `==` of its own (ANY, approx), a type (an instance of it
    will do), a function that says yes or no, or a list or dict of these. True is not 1.
    """
    if isinstance(expected, type):
        if not isinstance(found, expected) or (isinstance(found, bool) and expected is not bool):
            yield f"{path}: {shorten(found)} is no {expected.__name__}"
    elif isinstance(expected, Mapping) and isinstance(found, Mapping):
        yield from _of_mappings(expected, found, path)
    elif isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        yield from _of_sequences(expected, found, path)
    elif _is_predicate(expected):
        yield from _of_predicate(expected, found, path)
    elif _is_number_beside_bool(expected, found) or not bool(expected == found):
        yield f"{path}: {shorten(found)}, expected {show(expected)}"


def show(expected: Any) -> str:
    """What is expected, for a message; functions and types by their name."""
    if isinstance(expected, list | tuple):
        text = f"[{', '.join(show(item) for item in expected)}]"
        return text if len(text) <= 200 else text[:197] + "..."
    name: str | None = getattr(expected, "__qualname__", None)
    return name if name is not None else shorten(expected)


def _is_predicate(expected: Any) -> bool:
    """Functions; and other callables, but for those that say themselves what they equal."""
    by_identity = type(expected).__eq__ is cast("object", object.__eq__)
    return inspect.isroutine(expected) or (callable(expected) and by_identity)


def _is_number_beside_bool(expected: Any, found: Any) -> bool:
    return isinstance(found, bool) is not isinstance(expected, bool) and isinstance(expected, int | float)


def _of_mappings(expected: Mapping[Any, Any], found: Mapping[Any, Any], path: str) -> Iterator[str]:
    for key in [*expected, *(key for key in found if key not in expected)]:
        where = f"{path}[{key!r}]"
        if key not in found:
            yield f"{where}: missing, expected {show(expected[key])}"
        elif key not in expected:
            yield f"{where}: {shorten(found[key])}, expected nothing"
        else:
            yield from differences(expected[key], found[key], where)


def _of_sequences(expected: Sequence[Any], found: Sequence[Any], path: str) -> Iterator[str]:
    for place in range(max(len(expected), len(found))):
        where = f"{path}[{place}]"
        if place >= len(found):
            yield f"{where}: missing, expected {show(expected[place])}"
        elif place >= len(expected):
            yield f"{where}: {shorten(found[place])}, expected nothing"
        else:
            yield from differences(expected[place], found[place], where)


def _of_predicate(predicate: Callable[[Any], Any], found: Any, path: str) -> Iterator[str]:
    name = getattr(predicate, "__qualname__", repr(predicate))
    try:
        holds = predicate(found)
    except Exception as error:
        # It was written for the job that should be there, and this may be another one.
        yield Unknown(f"{path}: {name}({shorten(found)}) raised {error!r}")
        return
    if not holds:
        yield f"{path}: {name}({shorten(found)}) is false"
