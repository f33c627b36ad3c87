"""Where an outbox's table is: the few things that it asks of a database, and the one for a DB-API driver."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..errors import ConfigurationError

Values = Sequence[Any]

_COLUMNS = {
    "sqlite": ("INTEGER PRIMARY KEY AUTOINCREMENT", "TEXT", ""),
    "postgresql": ("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "TEXT", ""),
    "mysql": ("BIGINT AUTO_INCREMENT PRIMARY KEY", "LONGTEXT", " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"),
}


class Database(ABC):
    """A database with an outbox's table. SQL comes with `?` where values go; see `spelled`."""

    @abstractmethod
    def insert(self, sql: str, rows: Sequence[tuple[Any, ...]], where: Any = None) -> None:
        """Run `sql` for each row in the user's transaction, without ending it.

        `where` names that transaction; without it, the present one is meant.
        """

    @abstractmethod
    def read(self, sql: str, values: Values) -> list[tuple[Any, ...]]:
        """The rows, seen by a transaction of the relay's own that is over when they are answered."""

    @abstractmethod
    def write(self, sql: str, values: Values) -> None:
        """Run and commit, in a transaction of the relay's own."""

    @abstractmethod
    def close(self) -> None:
        """Close the relay's own connection; the next use opens another."""


class DbApi(Database):
    """An outbox's table by a DB-API driver: `DbApi(lambda: sqlite3.connect("shop.db"))`.

    `connect()` answers a new connection for the relay; `paramstyle` is that of the driver's module. A user's
    transaction is named by its connection or cursor, or by `with database.on(connection):`.
    """

    def __init__(self, connect: Callable[[], Any], paramstyle: str = "qmark") -> None:
        if paramstyle not in ("qmark", "format", "pyformat", "numeric"):
            raise ConfigurationError(
                f"paramstyle must be qmark, format, pyformat or numeric, not {paramstyle!r}"
            )
        self._connect = connect
        self._style = paramstyle
        self._connection: Any = None
        self._present: ContextVar[Any] = ContextVar("outbox_connection", default=None)

    @contextmanager
    def on(self, connection: Any) -> Iterator[None]:
        """Jobs that are made in this block by an OutboxClient go into this connection's transaction."""
        before = self._present.get()
        self._present.set(connection)
        try:
            yield
        finally:
            self._present.set(before)

    def insert(self, sql: str, rows: Sequence[tuple[Any, ...]], where: Any = None) -> None:
        where = where if where is not None else self._present.get()
        if where is None:
            raise ConfigurationError(
                "the outbox does not know in which transaction to write: "
                "name its connection, or use `with database.on(connection):`"
            )
        cursor = where if hasattr(where, "executemany") and not hasattr(where, "cursor") else where.cursor()
        cursor.executemany(spelled(sql, self._style), rows)

    def read(self, sql: str, values: Values) -> list[tuple[Any, ...]]:
        with self._own() as connection:
            cursor = connection.cursor()
            cursor.execute(spelled(sql, self._style), tuple(values))
            found = [tuple(row) for row in cursor.fetchall()]
            connection.rollback()
        return found

    def write(self, sql: str, values: Values) -> None:
        with self._own() as connection:
            connection.cursor().execute(spelled(sql, self._style), tuple(values))
            connection.commit()

    @contextmanager
    def _own(self) -> Iterator[Any]:
        if self._connection is None:
            self._connection = self._connect()
        try:
            yield self._connection
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def spelled(sql: str, style: str) -> str:
    """SQL with its `?` as a driver wants them (PEP 249's paramstyle; "named" numbers them :p0, :p1, …)."""
    first, *rest = sql.split("?")
    marks = {"qmark": "?", "format": "%s", "pyformat": "%s", "numeric": ":{}", "named": ":p{}"}
    mark, start = marks[style], 1 if style == "numeric" else 0
    return first + "".join(mark.format(start + n) + text for n, text in enumerate(rest))


def ddl(dialect: str, table: str = "sidekiq_outbox") -> str:
    """The statement that makes an outbox's table: for "sqlite", "postgresql" or "mysql" (also MariaDB).

    Raises ConfigurationError.
    """
    if dialect not in _COLUMNS:
        raise ConfigurationError(f"dialect must be sqlite, postgresql or mysql, not {dialect!r}")
    key, text, more = _COLUMNS[dialect]
    return (
        f"CREATE TABLE {checked_name(table)} (id {key}, jid VARCHAR(255) NOT NULL UNIQUE, "
        f"pool VARCHAR(255), payload {text} NOT NULL){more}"
    )


def checked_name(table: str) -> str:
    """Raises ConfigurationError for what is no table's name."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", table, re.ASCII):
        raise ConfigurationError(f"{table!r} is no name of a table (letters, digits, _ and one dot)")
    return table
