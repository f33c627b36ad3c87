"""CSV files, by row or by batch."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

from .sequences import batched, counted_enumerator, position, whole

Source = str | os.PathLike[str] | IO[str]
Row = dict[str, str] | list[str]


def csv_enumerator(
    source: Source, *, cursor: int | None, headers: bool = True, encoding: str = "utf-8", **form: Any
) -> Iterator[tuple[Any, int]]:
    """The rows of a CSV file: dicts, or lists where it has no headers; the cursor is the row's number from 0.

    `source` is a path, or a text file open at its beginning. `form` is what `csv.reader` takes, such as
    `delimiter=";"`. Rows before the cursor are read and passed over. Raises InvalidCursor.
    """
    position(cursor)
    return _enumerate(source, cursor, headers, encoding, form, None)


def csv_batches_enumerator(
    source: Source,
    *,
    cursor: int | None,
    batch_size: int = 100,
    headers: bool = True,
    encoding: str = "utf-8",
    **form: Any,
) -> Iterator[tuple[Any, int]]:
    """Lists of `batch_size` rows; the cursor is the batch's number from 0, so keep the size. See above."""
    position(cursor)
    return _enumerate(source, cursor, headers, encoding, form, whole(batch_size, "batch_size"))


def _enumerate(
    source: Source, cursor: int | None, headers: bool, encoding: str, form: Any, size: int | None
) -> Iterator[tuple[Any, int]]:
    with _opened(source, encoding) as file:
        rows: Iterator[Any] = csv.DictReader(file, **form) if headers else csv.reader(file, **form)
        yield from counted_enumerator(rows if size is None else batched(rows, size), cursor=cursor)


def _opened(source: Source, encoding: str) -> AbstractContextManager[IO[str]]:
    if isinstance(source, str | os.PathLike):
        return Path(source).open(encoding=encoding, newline="")
    return nullcontext(source)
