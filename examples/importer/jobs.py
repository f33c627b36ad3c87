"""Imports a CSV file into SQLite, batch by batch, and can be stopped and killed while it does.

sidekiq-lua worker -r examples/importer/jobs.py
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sidekiq_lua import IterableJob, JobOptions
from sidekiq_lua.enumerators import csv_batches_enumerator, sql_batches_enumerator

Rows = list[dict[str, str]]
DATABASE = os.environ.get("IMPORTER_DATABASE", "importer.sqlite3")


def connect() -> sqlite3.Connection:
    connection = sqlite3.connect(DATABASE, timeout=30, isolation_level=None)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS people (id INTEGER PRIMARY KEY, email TEXT, greeted INTEGER)"
    )
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield


class ImportPeople(IterableJob):
    """A hundred rows at a time. They may come twice, if the worker was killed: that changes nothing."""

    sidekiq_options: JobOptions = {"queue": "default", "retry": 5}

    def build_enumerator(
        self, path: str, *, cursor: int | None
    ) -> Iterator[tuple[list[dict[str, str]], int]]:
        self.db = connect()
        return csv_batches_enumerator(path, cursor=cursor)

    def each_iteration(self, rows: Rows, path: str) -> None:
        with transaction(self.db):
            for row in rows:
                self.db.execute(
                    "INSERT OR IGNORE INTO people VALUES (?, ?, 0)", (int(row["id"]), row["email"])
                )

    def on_stop(self) -> None:
        self.db.close()

    def on_complete(self) -> None:
        # Only when every row is in, and not if somebody has cancelled the import.
        if not self.cancelled():
            GreetPeople.perform_async()


class GreetPeople(IterableJob):
    """A hundred people at a time, along their ids; after a minute it lets other jobs go first."""

    max_iteration_runtime = 60

    def build_enumerator(self, *, cursor: int | None) -> Iterator[tuple[list[tuple[int, str]], int]]:
        self.db = connect()
        return sql_batches_enumerator(
            self.db, "SELECT id, email FROM people WHERE greeted = 0", key="id", cursor=cursor, batch_size=100
        )

    def each_iteration(self, people: list[tuple[int, str]]) -> None:
        with transaction(self.db):
            ids = [(person,) for person, _ in people]
            self.db.executemany("UPDATE people SET greeted = 1 WHERE id = ?", ids)

    def on_stop(self) -> None:
        self.db.close()
