"""The example of iterable jobs: stopped and killed in the middle, it imports every row once."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from waiting import wait_until

from sidekiq_lua import Sidekiq

JOBS = Path(__file__).parents[2] / "examples" / "importer" / "jobs.py"
ROWS = 6_000


@pytest.fixture
def count(tmp_path, monkeypatch):
    database = tmp_path / "people.sqlite3"
    monkeypatch.setenv("IMPORTER_DATABASE", str(database))

    def ask(condition="1"):
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            found = connection.execute(f"SELECT count(*) FROM people WHERE {condition}").fetchone()
        return found[0]

    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, greeted INTEGER)")
    ask.database = database
    return ask


@contextmanager
def locked(database):
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def test_every_row_is_imported_and_greeted(tmp_path, url, redis, start_worker, count):
    path = tmp_path / "people.csv"
    path.write_text("id,email\n" + "".join(f"{n},p{n}@example.org\n" for n in range(ROWS)), "utf-8")
    app = Sidekiq(redis=url)
    app.client.push({"class": "ImportPeople", "args": [str(path)]})
    app.close()

    # While the table is locked, a job comes to the middle of its first item and no further.
    with locked(count.database):
        first = start_worker("first", "-r", str(JOBS))
        wait_until(lambda: "class=ImportPeople: start" in first.text(), 20)
        first.signal(signal.SIGTERM)
        wait_until(lambda: "Terminating quiet threads" in first.text(), 20)
    assert first.stop() == 0
    assert count() < ROWS
    with locked(count.database):
        second = start_worker("second", "-r", str(JOBS))
        wait_until(lambda: "class=ImportPeople: start" in second.text(), 20)
        second.kill()
    assert count() < ROWS
    third = start_worker("third", "-r", str(JOBS))
    wait_until(lambda: redis.get("stat:processed") == b"2", 20)
    third.stop()

    assert count() == count("greeted = 1") == ROWS
    assert redis.get("stat:failed") is None
    assert not list(redis.scan_iter("it-*"))
