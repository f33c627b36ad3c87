"""SQLAlchemy selects, ORM or Core, by row or by batch."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Select, TypeDecorator, tuple_
from sqlalchemy.sql.elements import ColumnElement

from ..errors import ConfigurationError, InvalidCursor
from ..payload import shorten
from . import pages
from .sequences import whole

_FROM_TEXT: dict[type, Callable[[str], Any]] = {
    uuid.UUID: uuid.UUID,
    decimal.Decimal: decimal.Decimal,
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.date: datetime.date.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
}


def sqlalchemy_enumerator(
    session: Any, select: Select[Any], *, key: Any, cursor: Any, batch_size: int = 1000
) -> Iterator[tuple[Any, Any]]:
    """The results of a select in the order of `key`, read `batch_size` at a time; the cursor is the key.

    `session` is a Session or a Connection; `key` a column such as `User.id`, or several, unique together and
    never NULL. UUIDs, dates, Decimals and members of an Enum become text in the cursor. A select of one
    entity or column gives that, others give tuples. The select's own order is not used, and it has no limit
    or offset. Raises ConfigurationError and InvalidCursor.
    """
    return pages.rows(_pages(session, select, _columns(key), cursor, batch_size), _cursor)


def sqlalchemy_batches_enumerator(
    session: Any, select: Select[Any], *, key: Any, cursor: Any, batch_size: int = 1000
) -> Iterator[tuple[Any, Any]]:
    """Lists of `batch_size` results; the cursor is the key of the first. See `sqlalchemy_enumerator`."""
    return pages.batches(_pages(session, select, _columns(key), cursor, batch_size), _cursor)


def _columns(key: Any) -> list[Any]:
    columns = list(key) if isinstance(key, list | tuple) else [key]
    if not columns or not all(hasattr(column, "asc") and hasattr(column, "type") for column in columns):
        raise ConfigurationError(f"key must be a column such as User.id, not {shorten(key)}")
    return columns


def _pages(
    session: Any, select: Select[Any], columns: list[Any], cursor: Any, batch_size: int
) -> Iterator[list[tuple[Any, Any]]]:
    size = whole(batch_size, "batch_size")
    if any(getattr(select, f"_{name}_clause", None) is not None for name in ("limit", "offset", "fetch")):
        raise ConfigurationError(
            "the select has a limit or an offset, which would hold for each page: put it in a subquery"
        )
    parts = len(select.column_descriptions)
    ordered = select.add_columns(*columns).order_by(None).order_by(*columns).limit(size)

    def read(start: Any, after: bool) -> list[tuple[Any, Any]]:
        page = ordered if start is None else ordered.where(_bound(columns, start, after))
        found = [(row[:parts], tuple(row[parts:])) for row in session.execute(page)]
        return [(row[0] if parts == 1 else row, key) for row, key in found]

    return pages.keyset(read, None if cursor is None else _start(columns, cursor), size)


def _bound(columns: list[Any], start: tuple[Any, ...], after: bool) -> ColumnElement[bool]:
    left = columns[0] if len(columns) == 1 else tuple_(*columns)
    right = start[0] if len(columns) == 1 else start
    bound: ColumnElement[bool] = left > right if after else left >= right
    return bound


def _start(columns: list[Any], cursor: Any) -> tuple[Any, ...]:
    values = list(cursor) if isinstance(cursor, list | tuple) else [cursor]
    if len(values) != len(columns):
        raise InvalidCursor(f"the cursor has no value for each of {len(columns)} columns: {shorten(cursor)}")
    return tuple(_thawed(column, value) for column, value in zip(columns, values, strict=True))


def _thawed(column: Any, value: Any) -> Any:
    """A value of a cursor as the column's type binds it."""
    kind = _kind(column.type)
    named = kind is not None and issubclass(kind, enum.Enum)
    read = kind.__getitem__ if named else _FROM_TEXT.get(kind)
    if read is None or not isinstance(value, str):
        return value
    try:
        return read(value)
    except (ValueError, ArithmeticError, KeyError) as error:
        raise InvalidCursor(f"the cursor does not fit {column}: {shorten(value)}") from error


def _kind(of: Any) -> Any:
    """The class of a type's values; None if it does not say. A TypeDecorator's are its impl's."""
    try:
        kind = of.python_type
    except NotImplementedError:  # SQLAlchemy 2.0
        kind = object
    if kind is not object:
        return kind
    return _kind(of.impl_instance) if isinstance(of, TypeDecorator) else None


def _cursor(key: tuple[Any, ...]) -> Any:
    values = [_frozen(value) for value in key]
    return values[0] if len(values) == 1 else values


def _frozen(value: Any) -> Any:
    """As JSON has it. What its text does not give back, as of bytes or a timedelta, is refused."""
    if isinstance(value, enum.Enum):
        return value.name
    return value if type(value) in (int, str, float, bool, bytes, datetime.timedelta) else str(value)
