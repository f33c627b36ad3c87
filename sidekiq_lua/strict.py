"""Do these arguments survive JSON unchanged? Names the first one that does not, and its path."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

_SCALARS = frozenset((str, int, bool, type(None)))
MAX_DEPTH = 96
"""Deeper nesting is refused: Ruby's JSON stops at 100 levels, and its poller loses a job that it cannot read.

Four levels may come on top: the payload, `args` or `cattr`, its pairs, and what ActiveJob adds to dicts.
"""


def unsafe(args: list[Any]) -> str | None:
    """A sentence on the first argument that would not come out of JSON as it went in, or None.

    Allowed are exactly str, int, float (finite), bool, None, list and dict with str keys; a subclass
    such as an enum would come out as something else.
    """
    for position, value in enumerate(args):
        if type(value) not in _SCALARS:
            found = _look(value, f"argument {position}")
            if found:
                return found
        elif type(value) is str and not value.isascii() and _has_surrogate(value):
            return f"argument {position}{_wrong(value)}"
    return None


def _look(argument: Any, name: str) -> str | None:
    """Depth first, without recursion: what is nested to the limit would exceed Python's own."""
    value = argument
    levels: list[Iterator[tuple[Any, Any]]] = []
    path: list[Any] = []
    while True:
        found = _wrong(value)
        if found:
            return f"{name}{''.join(f'[{key!r}]' for key in path)}{found}"
        kind = type(value)
        if kind is list or kind is dict:
            if len(levels) == MAX_DEPTH:
                return f"{name} is nested more than {MAX_DEPTH} levels deep"
            levels.append(enumerate(value) if kind is list else iter(value.items()))
            path.append(None)
        while levels:
            entry = next(levels[-1], None)
            if entry is not None:
                path[-1], value = entry
                break
            levels.pop()
            path.pop()
        else:
            return None


def _wrong(value: Any) -> str | None:
    """What is wrong with a value by itself, whatever is in it."""
    kind = type(value)
    if kind in _SCALARS:
        if kind is str and not value.isascii() and _has_surrogate(value):
            return f" holds a lone surrogate, which is not text: {_shorten(value)}"
        return None
    if kind is float:
        return None if math.isfinite(value) else f" is {value!r}, which JSON does not have"
    if kind is list:
        return None
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return f" has the key {_shorten(key)}, a {type(key).__name__}; JSON has only text as keys"
            if not key.isascii() and _has_surrogate(key):
                return f" has the key {_shorten(key)} with a lone surrogate, which is not text"
        return None
    return f" is {_shorten(value)}, a {kind.__name__}; {_advice(kind)}"


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _shorten(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # the refusal counts, not what is wrong with a stranger's repr
        return f"<{type(value).__name__}>"
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
