"""Reading a table page by page along a unique key, which is what all enumerators of rows do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import ConfigurationError

Read = Callable[[Any, bool], Sequence[tuple[Any, Any]]]
"""A page of (row, key), ordered by key: from the key given (None: the first), or after it if True."""


def keyset(read: Read, cursor: Any, size: int) -> Iterator[list[tuple[Any, Any]]]:
    """Pages from the row at the cursor on, or from what has come after it. No page is empty.

    Raises ConfigurationError for a row without a key.
    """
    page = read(cursor, False)
    while page:
        if any(key is None or (isinstance(key, tuple) and None in key) for _, key in page):
            raise ConfigurationError("rows are read along a unique key, and one has none (NULL)")
        yield list(page)
        if len(page) < size:
            return
        page = read(page[-1][1], True)


def rows(pages: Iterator[list[tuple[Any, Any]]], text: Callable[[Any], Any]) -> Iterator[tuple[Any, Any]]:
    """(row, cursor) pairs; `text` makes a cursor of a key."""
    return ((row, text(key)) for page in pages for row, key in page)


def batches(pages: Iterator[list[tuple[Any, Any]]], text: Callable[[Any], Any]) -> Iterator[tuple[Any, Any]]:
    """(rows of a page, cursor of its first row) pairs."""
    return (([row for row, _ in page], text(page[0][1])) for page in pages)
