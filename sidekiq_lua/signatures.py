"""What callables take, and what classes declare, also where type checkers alone know the names."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

if sys.version_info >= (3, 14):
    from annotationlib import Format, get_annotations


def signature(function: Any) -> inspect.Signature:
    """Raises ValueError for what tells none, as some C code."""
    if sys.version_info >= (3, 14):
        # A name known to type checkers only must not raise here.
        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def annotated(cls: type) -> dict[str, Any]:
    """The names that the class itself annotates."""
    if sys.version_info >= (3, 14):
        return get_annotations(cls, format=Format.FORWARDREF)
    return inspect.get_annotations(cls)


def accepts(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> bool:
    """Whether a callable takes these arguments. True for what tells no signature."""
    try:
        taken = signature(function)
    except (ValueError, TypeError):  # a Mock of a function passes for one, and has none of its code
        return callable(function)
    try:
        taken.bind(*args, **(kwargs or {}))
    except TypeError:
        return False
    return True


def is_async(function: Any) -> bool:
    """Whether to call it runs none of it, but answers what has to be awaited."""
    return _is_any(function, inspect.iscoroutinefunction, inspect.isasyncgenfunction)


def has_yield(function: Any) -> bool:
    """Whether to call it runs none of it, but answers a generator."""
    return _is_any(function, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def _is_any(function: Any, *kinds: Callable[[Any], bool]) -> bool:
    try:
        return any(is_kind(made) for made in (function, type(function).__call__) for is_kind in kinds)
    except TypeError:  # a Mock of a function
        return False
