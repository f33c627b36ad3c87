"""Writes rows of an outbox, takes jobs out of queues as workers would, and makes relays."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from waiting import wait_until

from sidekiq_lua import Sidekiq
from sidekiq_lua.contrib.outbox import DbApi, Outbox

Queued = Callable[..., list[Any]]


class Shop:
    """An outbox in a file, and one connection that writes to it."""

    def __init__(self, path: Path, app: Sidekiq, redis: Any, queued: Queued) -> None:
        self.path = path
        self.app = app
        self.redis = redis
        self.queued = queued
        self.ran: dict[str, list[Any]] = {}
        self.outbox = Outbox("shop", DbApi(self.connect), app)
        self._connection = self.connect()

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=5, check_same_thread=False)

    def write(self, n: Any, queue: str = "default", **more: Any) -> None:
        self.add(n, queue, **more)
        self._connection.commit()

    def add(self, n: Any, queue: str = "default", **more: Any) -> None:
        """Write a row, and do not commit it yet."""
        self.outbox.push({"class": "J", "args": [n], "queue": queue, **more}, self._connection)

    def rows(self) -> int:
        (count,) = self._connection.execute("SELECT count(*) FROM sidekiq_outbox").fetchone()
        self._connection.commit()
        return count

    def take(self, *queues: str) -> None:
        for queue in queues:
            self.ran.setdefault(queue, []).extend(self.queued(queue))
            self.redis.delete(f"queue:{queue}")

    def close(self) -> None:
        self._connection.close()
        self.outbox.database.close()


def passes(relay: Any, rows: Callable[[], int]) -> None:
    """Make passes until the table is empty."""
    wait_until(lambda: (relay.run_once() and False) or rows() == 0, what="an empty table")
    relay.close()
