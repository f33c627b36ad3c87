"""replace_entry, replace_job, move_job: another text, or another queue, for a job that waits."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import STORE, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.entries import Entry, SetName

QUEUES, ENTRIES = STORE.queues, STORE.entries
NEW = job(1, ',"a":1')


def test_a_job_keeps_its_place_in_the_queue(run: Any, put: Any, db: Any) -> None:
    put({"queue:default": [job(3), job(1), job(2), job(1)]})

    assert run(QUEUES.replace("default", job(1), NEW))
    assert db() == {"queue:default": [job(3), NEW, job(2), job(1)]}

    assert not run(QUEUES.replace("default", job(9), NEW))
    assert db() == {"queue:default": [job(3), NEW, job(2), job(1)]}


def test_a_job_moves_to_the_waiting_end_of_another_queue(run: Any, put: Any, db: Any) -> None:
    put({"queue:default": [job(3), job(1), job(2), job(1)], "queue:low": [job(4)]})

    assert run(QUEUES.move("default", job(1), "low", NEW))
    after = {"queue:default": [job(3), job(2), job(1)], "queue:low": [NEW, job(4)], "queues": {"low"}}
    assert db() == after

    assert not run(QUEUES.move("default", job(9), "low", NEW))
    assert db() == after


def test_a_queue_of_a_wrong_type_gets_nothing(run: Any, put: Any, db: Any) -> None:
    before = {"queue:default": [job(1)], "queue:low": "a string"}
    put(before)

    with pytest.raises(ScriptError, match="WRONGTYPE"):
        run(QUEUES.move("default", job(1), "low", NEW))

    assert db() == before


@pytest.mark.parametrize("name", ["retry", "schedule", "dead"])
def test_an_entry_keeps_its_time(run: Any, put: Any, db: Any, name: SetName) -> None:
    put({name: [(job(1), 5.123456), (job(2), 5.123456)]})

    for stale in (Entry(job(1), 5.2), Entry(job(9), 5.123456)):
        assert not run(ENTRIES.replace(name, stale, NEW))
    assert run(ENTRIES.replace(name, Entry(job(1), 5.123456), NEW))

    assert db() == {name: [(NEW, 5.123456), (job(2), 5.123456)]}


def test_an_entry_never_melts_into_another(run: Any, put: Any, db: Any) -> None:
    before = {"retry": [(job(1), 5.0), (job(2), 6.0)]}
    put(before)

    assert not run(ENTRIES.replace("retry", Entry(job(1), 5.0), job(2)))
    assert not run(ENTRIES.replace("retry", Entry(job(1), 5.0), job(1)))

    assert db() == before
