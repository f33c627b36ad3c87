"""Rows of any DB-API connection, by a SELECT and a unique key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import ConfigurationError, InvalidCursor
from ..payload import shorten
from . import pages
from .sequences import whole


def sql_enumerator(
    connection: Any,
    select: str,
    parameters: Sequence[Any] = (),
    *,
    key: str | Sequence[str],
    cursor: Any,
    batch_size: int = 1000,
    placeholder: str = "?",
) -> Iterator[tuple[Any, Any]]:
    """The rows of a SELECT in the order of `key`, read `batch_size` at a time; the cursor is the row's key.

    `key` is a column of the result, or several, that are unique together and never NULL; of types that JSON
    has. The SELECT itself has no ORDER BY and no LIMIT. `placeholder` is how the driver marks a positional
    parameter: "?" (sqlite3), "%s" (psycopg, PyMySQL). Nothing stays open between two pages.
    Raises ConfigurationError and InvalidCursor, and what the driver raises.
    """
    found = _pages(connection, select, parameters, key, cursor, batch_size, placeholder)
    return pages.rows(found, _cursor)


def sql_batches_enumerator(
    connection: Any,
    select: str,
    parameters: Sequence[Any] = (),
    *,
    key: str | Sequence[str],
    cursor: Any,
    batch_size: int = 1000,
    placeholder: str = "?",
) -> Iterator[tuple[Any, Any]]:
    """Lists of `batch_size` rows; the cursor is the key of the first row. See `sql_enumerator`."""
    found = _pages(connection, select, parameters, key, cursor, batch_size, placeholder)
    return pages.batches(found, _cursor)


def _pages(
    connection: Any, select: str, parameters: Sequence[Any], key: str | Sequence[str], cursor: Any,
    batch_size: int, placeholder: str,
) -> Iterator[list[tuple[Any, Any]]]:  # fmt: skip
    names = [key] if isinstance(key, str) else list(key)
    for name in names:
        if not name.isidentifier():
            raise ConfigurationError(f"key must be a column of the result, not {name!r}")
    if not names:
        raise ConfigurationError("key must name a column")
    size = whole(batch_size, "batch_size")
    if cursor is not None:
        start = tuple(cursor) if isinstance(cursor, list | tuple) else (cursor,)
        if len(start) != len(names):
            raise InvalidCursor(f"the cursor has no value for each of {names}: {shorten(cursor)}")
        cursor = start
    columns = ", ".join(names)
    marks = ", ".join([placeholder] * len(names))

    def read(key: Any, after: bool) -> list[tuple[Any, Any]]:
        where = f" WHERE ({columns}) {'>' if after else '>='} ({marks})" if key is not None else ""
        query = f"SELECT * FROM ({select}) AS page{where} ORDER BY {columns} LIMIT {size}"
        reader = connection.cursor()
        try:
            reader.execute(query, (*parameters, *(key or ())))
            found = [column[0] for column in reader.description]
            at = _positions(found, names)
            return [(row, _key(row, found, at)) for row in reader.fetchall()]
        finally:
            reader.close()

    return pages.keyset(read, cursor, size)


def _positions(columns: list[str], names: list[str]) -> list[int]:
    lower = [column.lower() for column in columns]
    return [lower.index(name.lower()) for name in names]


def _key(row: Any, columns: list[str], at: list[int]) -> tuple[Any, ...]:
    return tuple(row[columns[n]] if isinstance(row, Mapping) else row[n] for n in at)


def _cursor(key: tuple[Any, ...]) -> Any:
    return key[0] if len(key) == 1 else list(key)
