"""pause, unpause, delete_job, clear_queue: what a person does to a queue."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import BURIAL, DAY, ME, MINE, REGISTERED, RUNNING, STORE, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.owners import Orphan

QUEUES = STORE.queues
WAITING = {"queue:default": [job(2), job(1)], "queue:low": [job(3)], "queues": {"default", "low"}}


def test_a_paused_queue_is_passed_over_until_it_goes_on(run: Any, put: Any, db: Any) -> None:
    put(REGISTERED, WAITING)

    assert run(QUEUES.pause("default"))
    assert not run(QUEUES.pause("default"))
    fetched = run(MINE.fetch(["default", "low"], 5))
    assert (fetched.jobs, fetched.paused) == ([("low", job(3))], {"default"})

    assert run(QUEUES.unpause("default"))
    assert not run(QUEUES.unpause("default"))
    fetched = run(MINE.fetch(["default", "low"], 5))
    assert (fetched.jobs, fetched.paused) == ([("default", job(1)), ("default", job(2))], frozenset())


def test_a_paused_queue_takes_pushes_and_jobs_that_come_back(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)]})
    run(QUEUES.pause("default"))

    run(QUEUES.push("default", [job(2)]))
    run(MINE.requeue("default", [job(1)]))

    assert db() == {"paused": {"default"}, "queues": {"default"}, "queue:default": [job(2), job(1)]}


def test_delete_takes_the_newest_of_equal_jobs(run: Any, put: Any, db: Any) -> None:
    put({"queue:default": [job(1), job(2), job(1)]})

    assert run(QUEUES.delete("default", job(1)))
    assert db() == {"queue:default": [job(2), job(1)]}

    assert not run(QUEUES.delete("default", job(9)))
    assert db() == {"queue:default": [job(2), job(1)]}


def test_clear_deletes_the_jobs_and_forgets_the_name(run: Any, put: Any, db: Any) -> None:
    put(WAITING, {RUNNING: [job(4)], "paused": {"default"}})

    assert run(QUEUES.clear("default")) == 2
    assert run(QUEUES.clear("default")) == 0

    assert db() == {
        "queue:low": [job(3)],
        "queues": {"low"},
        RUNNING: [job(4)],
        "paused": {"default"},
    }


def test_a_job_that_comes_back_makes_a_cleared_queue_known_again(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(3), job(2), job(1)], "queues": {"default"}, "paused": {"default"}}, REGISTERED)
    run(QUEUES.clear("default"))
    assert "queues" not in db()

    assert run(MINE.admit("default", job(3))) == "BACK"
    assert db()["queues"] == {"default"}
    run(QUEUES.clear("default"))

    run(MINE.requeue("default", [job(1)]))
    assert db()["queues"] == {"default"}

    run(QUEUES.clear("default"))
    run(STORE.owners.recover(ME, "default", [Orphan(job(2), "", False, b"")], 3, 60, BURIAL))
    assert (db()["queues"], db()["queue:default"]) == ({"default"}, [job(2)])


@pytest.mark.parametrize("foreign", ["a string", {"a": "hash"}])
def test_a_foreign_key_is_no_queue_to_clear(run: Any, put: Any, db: Any, foreign: Any) -> None:
    before = {"queue:default": foreign, "queues": {"default"}}
    put(before)

    with pytest.raises(ScriptError, match="WRONGTYPE"):
        run(QUEUES.clear("default"))

    assert db() == before


def test_an_acknowledgement_is_not_disturbed_by_a_clear(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)], "queue:default": [job(1)]})
    run(QUEUES.clear("default"))

    assert run(MINE.ack([("default", job(1))], DAY)).gone == []

    assert db() == {"stat:processed": "1", f"stat:processed:{DAY}": "1"}
