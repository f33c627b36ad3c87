"""Do these arguments survive JSON unchanged? Names the first one that does not, and its path."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

_SCALARS = frozenset((str, int, bool, type(None)))
MAX_DEPTH = 500
"""Deeper nesting is refused: JSON parsers, ours among them, stop somewhere above this."""


def unsafe(args: list[Any]) -> str | None:
    """A sentence on the first argument that would not come out of JSON as it went in, or None.

    Allowed are exactly str, int, float (finite), bool, None, list and dict with str keys; a subclass
    such as an enum would come out as something else.
    """
    for position, value in enumerate(args):
        if type(value) not in _SCALARS:
            found = _look(value, f"argument {position}", 1)
            if found:
                return found
        elif type(value) is str and not value.isascii() and _has_surrogate(value):
            return f"argument {position} holds a lone surrogate, which is not text: {value!r}"
    return None


def _look(value: Any, path: str, depth: int) -> str | None:
    kind = type(value)
    if kind in _SCALARS:
        if kind is str and not value.isascii() and _has_surrogate(value):
            return f"{path} holds a lone surrogate, which is not text: {value!r}"
        return None
    if kind is float:
        return None if math.isfinite(value) else f"{path} is {value!r}, which JSON does not have"
    if depth > MAX_DEPTH:
        return f"{path} is nested more than {MAX_DEPTH} levels deep"
    if kind is list:
        return _first(((item, f"{path}[{n}]") for n, item in enumerate(value)), depth)
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return f"{path} has the key {key!r}, a {type(key).__name__}; JSON has only text as keys"
            if not key.isascii() and _has_surrogate(key):
                return f"{path} has the key {key!r} with a lone surrogate, which is not text"
        return _first(((item, f"{path}[{key!r}]") for key, item in value.items()), depth)
    return f"{path} is {_shorten(value)}, a {kind.__name__}; {_advice(kind)}"


def _first(items: Iterable[tuple[Any, str]], depth: int) -> str | None:
    for item, path in items:
        found = _look(item, path, depth + 1)
        if found:
            return found
    return None


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _advice(kind: type) -> str:
    advice = {
        "tuple": "pass a list",
        "set": "pass a list",
        "frozenset": "pass a list",
        "bytes": "pass text, or base64 of it",
        "datetime": "pass .isoformat() or .timestamp()",
        "date": "pass .isoformat()",
        "timedelta": "pass .total_seconds()",
        "Decimal": "pass str() of it",
        "UUID": "pass str() of it",
    }
    return advice.get(kind.__name__, "pass str, int, float, bool, None, list or dict")
