"""The transactional outbox: a job is a row that commits with the data, and a relay takes it to Redis.

::

    outbox = Outbox("shop", DbApi(lambda: sqlite3.connect("shop.db")))
    outbox.push({"class": ChargeJob, "args": [order_id]}, connection)  # in the connection's transaction
    outbox.relay().run()                                               # in a process or thread of its own

No crash loses a committed job or doubles it. `name` names the table among all that share the Redis; two
tables must not have one name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..app import App
from ..client import BaseClient, shared
from ..errors import ConfigurationError
from ..instance import sidekiq
from .databases import Database, DbApi, checked_name, ddl
from .held import Held, Holder, faked
from .relay import Relay

__all__ = ["Database", "DbApi", "Outbox", "OutboxClient", "Relay", "ddl"]

_ROWS = 1000


class Outbox(Holder):
    """Writes jobs into a table of the user's database, in the user's transaction.

    `push` and `push_bulk` take what those of a client take, and answer jids at once; `where` names the
    transaction, as the Database says. They raise InvalidJob and what the database raises; a jid that the
    table still has is refused by the database. Redis is not needed.
    """

    def __init__(
        self, name: str, database: Database, app: App | None = None, *, table: str = "sidekiq_outbox"
    ) -> None:
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name, re.ASCII):
            raise ConfigurationError(f"an outbox's name is made of letters, digits, _, . and -, not {name!r}")
        super().__init__(app or sidekiq)
        self.name = name
        self.database = database
        self.table = checked_name(table)
        self._insert = f"INSERT INTO {table} (jid, pool, payload) VALUES (?, ?, ?)"

    def push(self, item: Mapping[str, Any], where: Any = None) -> str | None:
        """Write one job. None: client middleware stopped it."""
        held = self._made(item)
        if held is None:
            return None
        self._write([held], where)
        return held.payload["jid"]  # type: ignore[no-any-return]

    def push_bulk(self, item: Mapping[str, Any], where: Any = None) -> list[str | None]:
        """Write many jobs of one class."""
        made = self._made_bulk(item)
        self._write([held for held in made if held is not None], where)
        return [None if held is None else held.payload["jid"] for held in made]

    def _write(self, jobs: list[Held], where: Any) -> None:
        dump = self._app.codec.dump
        rows = [(payload["jid"], pool, dump(payload).decode()) for payload, pool in jobs]
        for first in range(0, len(rows), _ROWS):
            self.database.insert(self._insert, rows[first : first + _ROWS], where)

    def relay(self, app: App | None = None, **options: Any) -> Relay:
        """What takes the rows to Redis; `options` are those of Relay."""
        return Relay(app or self._app, self.database, self.name, self.table, **options)


class OutboxClient(BaseClient):
    """A client that writes into an outbox: `client_class = partial(OutboxClient, outbox=outbox)`."""

    def __init__(self, app: App | None = None, pool: str | None = None, *, outbox: Outbox) -> None:
        super().__init__(app or sidekiq, pool)
        self._outbox = outbox

    @shared
    def push(self, item: Mapping[str, Any]) -> str | None:
        """See `Outbox.push`; in the present transaction."""
        if faked():
            return super().push(item)
        return self._outbox.push(self._routed(item))

    @shared
    def push_bulk(self, item: Mapping[str, Any]) -> list[str | None]:
        """See `Outbox.push_bulk`; in the present transaction."""
        if faked():
            return super().push_bulk(item)
        return self._outbox.push_bulk(self._routed(item))

    def _routed(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        pool = self._route(item)
        return {**item, "pool": pool} if pool is not None and isinstance(item, Mapping) else item
