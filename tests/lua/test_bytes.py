"""Calls that read stop at a number of bytes, too: some payloads are as large as a thousand others."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import NOW, STORE, job

from sidekiq_lua.store.entries import DUE_BYTES
from sidekiq_lua.store.queues import PAGE_BYTES


def large(n: int, size: int) -> bytes:
    return job(n, ',"x":"' + "x" * size + '"')


def test_due_reads_large_entries_one_by_one(run: Any, put: Any) -> None:
    put({"retry": [(large(n, DUE_BYTES), n) for n in range(3)], "schedule": [(job(n), n) for n in range(30)]})

    read = run(STORE.entries.due(NOW, 20, {}))

    assert read == {"retry": [large(0, DUE_BYTES)], "schedule": [job(n) for n in range(20)]}
    assert run(STORE.entries.due(NOW, 20, {"retry": 1, "schedule": 20})) == {
        "retry": [large(1, DUE_BYTES)],
        "schedule": [job(n) for n in range(20, 30)],
    }


def test_due_overshoots_by_ten_entries_at_most(run: Any, put: Any) -> None:
    put({"retry": [(job(0), 0.0), *((large(n, DUE_BYTES), float(n)) for n in range(1, 50))]})

    assert len(run(STORE.entries.due(NOW, 100, {}))["retry"]) == 11


@pytest.mark.parametrize("there", [0, 1, 2, 9, 10, 11, 12, 99, 100, 101, 150])
def test_due_reads_all_there_is_and_no_more_than_asked_for(run: Any, put: Any, there: int) -> None:
    put({"schedule": [(job(n), float(n)) for n in range(there)]} if there else {})

    assert run(STORE.entries.due(NOW, 100, {}))["schedule"] == [job(n) for n in range(min(there, 100))]


def test_queue_sizes_stops_after_the_queue_that_was_too_much(run: Any, put: Any) -> None:
    names = ["a", "b", "c"]
    put({f"queue:{name}": [large(1, PAGE_BYTES // 2)] for name in names})

    assert [queue.name for queue in run(STORE.queues.sizes(names))] == ["a", "b"]
    assert [(queue.name, queue.size) for queue in run(STORE.queues.sizes(["c", "d"]))] == [("c", 1), ("d", 0)]
