"""The scripts of iterable jobs: their state, and how they go back to a queue."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import DAY, MINE, NOW, RUNNING, STORE, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.iterations import STATE_TTL_S, RunningJob, Saved, State
from sidekiq_lua.store.running import Settled

CALLS = STORE.iterations
JOB = RunningJob(MINE, "default", job(1), "abc")
STATE = State(2, b'["a",7]', 4.25)
FIELDS = {"ex": "2", "c": '["a",7]', "rt": "4.25"}
BEFORE = {"ex": "1", "c": "3", "rt": "1.5"}
AGAIN = job(1, ',"enqueued_at":7')


def test_a_state_is_read_as_it_was_saved(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2), job(1)]})

    assert run(CALLS.save(JOB, STATE)) == Saved(held=True, cancelled=False)

    assert db() == {RUNNING: [job(2), job(1)], "it-abc": FIELDS}
    assert run(CALLS.read(["abc", "none"])) == [STATE, None]


def test_a_state_of_ruby_is_read(run: Any, put: Any) -> None:
    """A first save writes `rt` as 0, and a job that was cancelled before it ran has nothing else."""
    put({"it-abc": {"ex": "1", "c": "34", "rt": "0"}, "it-old": {"cancelled": "1795488881"}})

    found = run(CALLS.read(["abc", "old"]))

    assert found == [State(1, b"34", 0.0), State(0, b"null", 0.0, 1795488881)]


def test_foreign_text_reads_as_nothing(run: Any, put: Any) -> None:
    put({"it-abc": {"ex": "x", "c": "{", "rt": "nan", "cancelled": "inf"}})

    assert run(CALLS.read(["abc"])) == [State(0, b"{", 0.0, 0)]


def test_a_save_keeps_the_state_for_another_30_days(run: Any, put: Any, redis: Any) -> None:
    put({RUNNING: [job(1)], "it-abc": BEFORE})
    redis.expire("it-abc", 10)

    run(CALLS.save(JOB, STATE))

    assert redis.ttl("it-abc") == STATE_TTL_S


def test_a_save_tells_of_a_cancellation_and_keeps_it(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)], "it-abc": {**BEFORE, "cancelled": "5"}})

    assert run(CALLS.save(JOB, STATE)).cancelled
    assert run(CALLS.save(JOB, STATE._replace(cancelled_at=9))).cancelled

    assert db()["it-abc"] == {**FIELDS, "cancelled": "5"}


def test_a_job_that_cancels_itself_is_cancelled(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)]})

    assert run(CALLS.save(JOB, STATE._replace(cancelled_at=9))).cancelled

    assert db()["it-abc"] == {**FIELDS, "cancelled": "9"}


@pytest.mark.parametrize(
    "call",
    [
        CALLS.save(JOB, STATE),
        CALLS.interrupt(JOB, STATE, AGAIN, None),
        CALLS.interrupt(JOB, STATE, AGAIN, NOW),
        CALLS.finish(JOB, DAY),
    ],
    ids=["save", "interrupt", "interrupt for a while", "finish"],
)
def test_who_no_longer_holds_the_job_changes_nothing(run: Any, put: Any, db: Any, call: Any) -> None:
    put({RUNNING: [job(2)], "queue:default": [job(1)], "it-abc": BEFORE})
    before = db()

    reply = run(call)

    assert reply in (Saved(held=False, cancelled=False), Settled(False))
    assert db() == before


def test_an_interrupted_job_is_the_newest_in_its_queue(run: Any, put: Any, db: Any, redis: Any) -> None:
    put({RUNNING: [job(2), job(1)], "queue:default": [job(4), job(3)], "it-abc": BEFORE})

    assert run(CALLS.interrupt(JOB, STATE, AGAIN, None)) == Settled(True)

    assert db() == {
        RUNNING: [job(2)],
        "queue:default": [AGAIN, job(4), job(3)],
        "queues": {"default"},
        "it-abc": FIELDS,
    }
    assert redis.ttl("it-abc") == STATE_TTL_S


def test_one_that_waits_goes_to_the_schedule(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)]})

    assert run(CALLS.interrupt(JOB, STATE, AGAIN, NOW)) == Settled(True)

    assert db() == {"schedule": [(AGAIN, NOW)], "it-abc": FIELDS}


def test_of_two_jobs_of_the_same_bytes_one_is_interrupted(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1), job(1)]})

    run(CALLS.interrupt(JOB, STATE, AGAIN, None))

    assert db()[RUNNING] == [job(1)]
    assert db()["queue:default"] == [AGAIN]


@pytest.mark.parametrize("key", ["queue:default", "schedule", "it-abc", "queues"])
def test_a_wrong_type_leaves_the_job_where_it_was(run: Any, put: Any, db: Any, key: str) -> None:
    put({RUNNING: [job(2), job(1)], key: "a string"})

    with pytest.raises(ScriptError, match="WRONGTYPE"):
        run(CALLS.interrupt(JOB, STATE, AGAIN, None))

    after = db()
    assert after[RUNNING] == [job(2), job(1)]
    assert after[key] == "a string"


def test_an_ended_job_takes_its_state_along(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2), job(1)], "it-abc": {**BEFORE, "cancelled": "5"}})

    assert run(CALLS.finish(JOB, DAY)) == Settled(True)

    assert db() == {RUNNING: [job(2)], "stat:processed": "1", f"stat:processed:{DAY}": "1"}


def test_a_counter_of_a_wrong_type_holds_no_job_back(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)], "it-abc": BEFORE, "stat:processed": ["a list"]})

    settled = run(CALLS.finish(JOB, DAY))

    assert settled.moved
    assert "WRONGTYPE" in settled.problem
    assert RUNNING not in db()


def test_the_first_cancellation_counts(run: Any, db: Any, redis: Any) -> None:
    assert run(CALLS.cancel("abc", NOW)) is True
    assert run(CALLS.cancel("abc", NOW + 60)) is False

    # Ruby fails on a state without a cursor.
    assert db() == {"it-abc": {"cancelled": str(int(NOW)), "ex": "0", "c": "null", "rt": "0"}}
    assert redis.ttl("it-abc") == STATE_TTL_S


def test_a_cancellation_leaves_the_rest_of_a_state(run: Any, put: Any, db: Any, redis: Any) -> None:
    put({"it-abc": BEFORE})
    redis.expire("it-abc", 10)

    run(CALLS.cancel("abc", NOW))

    assert db() == {"it-abc": {**BEFORE, "cancelled": str(int(NOW))}}
    assert redis.ttl("it-abc") == 10
