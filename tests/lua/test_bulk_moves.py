"""enqueue_entries, bury_entries, delete_entries, trim: what a person does to many entries at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from keyspace import BURIAL, NOW, STORE, job

from sidekiq_lua.store.bulk import MOVE_BYTES, MOVES, Return, slices
from sidekiq_lua.store.entries import Entry, SetName

BULK = STORE.bulk
AGAIN = job(1, ',"retry_count":4')
SETS: list[SetName] = ["retry", "schedule", "dead"]
FOUND = [(job(1), 5.0), (job(2), 5.0), (job(3), 6.0)]
STALE = [Entry(job(1), 5.5), Entry(job(9), 5.0)]


def back(entry: Entry, queue: str = "low", payload: bytes = AGAIN) -> Return:
    return Return(entry, queue, payload, str(int(entry.raw[-26:-2])))


@pytest.mark.parametrize("name", SETS)
def test_enqueue_pushes_in_order_and_leaves_what_is_stale(run: Any, put: Any, db: Any, name: SetName) -> None:
    put({name: FOUND, "queue:low": [job(8)], "lua:crashes:1": "2", "lua:crashes:9": "2"})

    states = run(
        BULK.enqueue(
            name,
            [
                *map(back, STALE),
                back(Entry(job(1), 5.0)),
                back(Entry(job(2), 5.0), "other", job(2)),
                back(Entry(job(3), 6.0), "low", job(3)),
            ],
        )
    )

    assert states == [0, 0, 1, 1, 1]
    # Out of the dead set a poison pill has all its lives again.
    crashes = {"lua:crashes:9": "2"} if name == "dead" else {"lua:crashes:1": "2", "lua:crashes:9": "2"}
    assert db() == {
        "queues": {"low", "other"},
        "queue:low": [job(3), AGAIN, job(8)],
        "queue:other": [job(2)],
        **crashes,
    }


def test_what_middleware_stopped_is_forgotten(run: Any, put: Any, db: Any) -> None:
    put({"retry": FOUND})

    assert run(BULK.enqueue("retry", [back(Entry(job(1), 5.0), "", b"")])) == [1]

    assert db() == {"retry": FOUND[1:]}


def test_a_queue_of_a_wrong_type_holds_up_nobody_else(run: Any, put: Any, db: Any) -> None:
    put({"retry": FOUND, "queue:bad": "a string"})

    states = run(
        BULK.enqueue("retry", [back(Entry(job(1), 5.0), "bad"), back(Entry(job(2), 5.0), "low", job(2))])
    )

    assert states == [-1, 1]
    assert (db()["retry"], db()["queue:low"]) == ([FOUND[0], FOUND[2]], [job(2)])


@pytest.mark.parametrize("name", ["retry", "schedule"])
def test_bury_keeps_the_bytes_and_trims(run: Any, put: Any, db: Any, name: Any) -> None:
    put({name: FOUND, "dead": [(job(8), NOW - 9)]})
    entries = [*STALE, Entry(job(1), 5.0), Entry(job(3), 6.0)]

    assert run(BULK.bury(name, entries, replace(BURIAL, limit=3))) == [0, 0, 1, 1]

    assert db() == {name: [FOUND[1]], "dead": [(job(1), NOW), (job(3), NOW)]}


@pytest.mark.parametrize("name", SETS)
def test_delete_takes_the_very_entries(run: Any, put: Any, db: Any, name: SetName) -> None:
    put({name: FOUND})

    assert run(BULK.delete(name, [*STALE, Entry(job(1), 5.0), Entry(job(3), 6.0)])) == [0, 0, 1, 1]

    assert db() == {name: [FOUND[1]]}


def test_a_call_carries_so_many_entries_of_so_many_bytes() -> None:
    small = [Entry(b"x", float(k)) for k in range(2 * MOVES + 1)]
    assert [len(part) for part in slices(small)] == [MOVES, MOVES, 1]
    large = [Entry(b"x" * (MOVE_BYTES // 2), 1.0), Entry(b"x" * (MOVE_BYTES // 2), 1.0), Entry(b"x", 1.0)]
    assert [len(part) for part in slices([*large, Entry(b"x" * 2 * MOVE_BYTES, 1.0)])] == [2, 1, 1]
    assert list(slices([])) == []


def test_trim_drops_the_oldest_and_then_no_more(run: Any, put: Any, db: Any) -> None:
    old = [(job(n), BURIAL.cutoff - n) for n in (7, 8)]
    put({"dead": [*old, *((job(n), NOW - n) for n in (11, 12, 13))]})

    assert run(STORE.entries.trim(replace(BURIAL, limit=3))) == 3
    assert run(STORE.entries.trim(replace(BURIAL, limit=3))) == 0

    assert db() == {"dead": [(job(12), NOW - 12), (job(11), NOW - 11)]}
