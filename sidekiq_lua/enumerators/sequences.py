"""Sequences, and any iterable that can be read again from its beginning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from ..errors import ConfigurationError, InvalidCursor
from ..payload import shorten

T = TypeVar("T")


def array_enumerator(items: Sequence[T], *, cursor: int | None) -> Iterator[tuple[T, int]]:
    """The items of a list, tuple or range; the cursor is an item's index.

    Raises ConfigurationError for what is no sequence, InvalidCursor for a cursor that is no index.
    """
    if not isinstance(items, Sequence) or isinstance(items, str | bytes):
        raise ConfigurationError(f"array_enumerator takes a list, a tuple or a range, not {shorten(items)}")
    first = position(cursor)
    return ((items[number], number) for number in range(first, len(items)))


def counted_enumerator(items: Iterable[T], *, cursor: int | None) -> Iterator[tuple[T, int]]:
    """The items of any iterable; the cursor counts them, and those before it are read and passed over.

    The iterable has to give the same items again in each run. Raises InvalidCursor.
    """
    first = position(cursor)
    return ((item, number) for number, item in enumerate(islice(items, first, None), first))


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def position(cursor: Any) -> int:
    """A cursor that counts. Raises InvalidCursor."""
    if cursor is None:
        return 0
    if type(cursor) is not int or cursor < 0:
        raise InvalidCursor(f"the cursor of this enumerator is a number from 0 on, not {shorten(cursor)}")
    return cursor


def whole(value: Any, name: str) -> int:
    """A number of rows. Raises ConfigurationError."""
    if type(value) is not int or value < 1:
        raise ConfigurationError(f"{name} must be a number of rows, not {value!r}")
    return value
