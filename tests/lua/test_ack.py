"""ack.lua, ack_and_fetch.lua and lib/count.lua: jobs succeeded."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_py
from keyspace import DAY, DAY_TTL_S, ME, MINE, REGISTERED, RUNNING, RUNNING_LOW, STORE, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.running import Fetched

BOTH = ["default", "low"]
TODAY = f"stat:processed:{DAY}"


def test_ack_removes_jobs_and_counts_them(run: Any, put: Any, db: Any, redis: redis_py.Redis) -> None:
    put({RUNNING: [job(3), job(2), job(1)], RUNNING_LOW: [job(9)], "stat:processed": 40})

    assert run(MINE.ack([("default", job(2)), ("low", job(9)), ("default", job(1))], DAY)) == Fetched()

    assert db() == {RUNNING: [job(3)], "stat:processed": "43", TODAY: "3"}
    assert redis.ttl("stat:processed") == -1
    assert DAY_TTL_S - 5 <= redis.ttl(TODAY) <= DAY_TTL_S


def test_the_day_s_counter_is_kept_longer_with_the_first_count_only(
    run: Any, put: Any, redis: redis_py.Redis
) -> None:
    put({RUNNING: [job(2), job(1)]})
    run(MINE.ack([("default", job(1))], DAY))
    redis.expire(TODAY, 50)

    run(MINE.ack([("default", job(2))], DAY))

    assert redis.get(TODAY) == b"2"
    assert redis.ttl(TODAY) <= 50


def test_ack_tells_what_was_gone_and_does_not_count_it(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2)]})

    done = [("default", job(1)), ("default", job(2)), ("low", job(2))]
    assert run(MINE.ack(done, DAY)).gone == [0, 2]

    assert db() == {"stat:processed": "1", TODAY: "1"}


def test_ack_of_nothing_but_gone_jobs_writes_nothing(run: Any, db: Any) -> None:
    assert run(MINE.ack([("default", job(1))], DAY)).gone == [0]

    assert db() == {}


def test_ack_again_does_nothing_more(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)]})
    run(MINE.ack([("default", job(1))], DAY))
    after = db()

    assert run(MINE.ack([("default", job(1))], DAY)).gone == [0]

    assert db() == after


def test_equal_payloads_are_settled_one_by_one(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1), job(1), job(1)]})

    assert run(MINE.ack([("default", job(1)), ("default", job(1))], DAY)).gone == []

    assert db() == {RUNNING: [job(1)], "stat:processed": "2", TODAY: "2"}


def test_ack_takes_the_most_that_one_call_carries(run: Any, put: Any, db: Any) -> None:
    jobs = [job(n) for n in range(200)]
    put({RUNNING: jobs})

    assert run(MINE.ack([("default", raw) for raw in jobs], DAY)).gone == []

    assert db() == {"stat:processed": "200", TODAY: "200"}


def test_an_epoch_does_not_settle_the_jobs_of_another(run: Any, put: Any, db: Any) -> None:
    """A woken zombie fetched its own recovered job: the stale thread's list is another one."""
    later = STORE.running(ME.identity, "9f9f")
    before = {later.list("default"): [job(1)]}
    put(before)

    assert run(MINE.ack([("default", job(1))], DAY)).gone == [0]

    assert db() == before


# -- ack_and_fetch ------------------------------------------------------------------------


def test_ack_and_fetch_does_both(run: Any, put: Any, db: Any, redis: redis_py.Redis) -> None:
    put(REGISTERED, {RUNNING: [job(2), job(1)], RUNNING_LOW: [job(5)]})
    put({"queue:default": [job(4), job(3)], "queue:low": [job(6)]})

    done = [("low", job(5)), ("default", job(1))]
    assert run(MINE.ack_and_fetch(BOTH, 2, done, DAY)) == Fetched([("default", job(3)), ("default", job(4))])

    assert db() == {
        **REGISTERED,
        RUNNING: [job(4), job(3), job(2)],
        "queue:low": [job(6)],
        "stat:processed": "2",
        TODAY: "2",
    }
    assert redis.ttl(TODAY) > DAY_TTL_S - 5


def test_ack_and_fetch_of_an_owner_that_was_reaped_does_neither(run: Any, put: Any, db: Any) -> None:
    before = {RUNNING: [job(1)], "queue:default": [job(2)]}
    put(before)

    assert run(MINE.ack_and_fetch(BOTH, 2, [("default", job(1))], DAY)) == Fetched(reaped=True)

    assert db() == before


def test_ack_and_fetch_tells_gone_and_paused(run: Any, put: Any, db: Any) -> None:
    put(REGISTERED, {"paused": {"low"}, RUNNING: [job(1)], "queue:low": [job(6)]})

    done = [("default", job(7)), ("default", job(1)), ("low", job(1))]
    assert run(MINE.ack_and_fetch(BOTH, 2, done, DAY)) == Fetched([], [0, 2], "", frozenset({"low"}))

    assert db() == {
        **REGISTERED,
        "paused": {"low"},
        "queue:low": [job(6)],
        "stat:processed": "1",
        TODAY: "1",
    }


def test_ack_and_fetch_settles_equal_payloads_one_by_one(run: Any, put: Any, db: Any) -> None:
    put(REGISTERED, {RUNNING: [job(1), job(1), job(1)]})

    done = [("default", job(1)), ("default", job(1))]
    assert run(MINE.ack_and_fetch(BOTH, 5, done, DAY)) == Fetched()

    assert db() == {**REGISTERED, RUNNING: [job(1)], "stat:processed": "2", TODAY: "2"}


def test_ack_and_fetch_without_a_free_slot_takes_nothing(run: Any, put: Any, db: Any) -> None:
    put(REGISTERED, {RUNNING: [job(1)], "queue:default": [job(2)]})

    assert run(MINE.ack_and_fetch(BOTH, 0, [("default", job(1))], DAY)) == Fetched()

    assert db() == {**REGISTERED, "queue:default": [job(2)], "stat:processed": "1", TODAY: "1"}


def test_ack_and_fetch_stops_at_its_limit_of_bytes(run: Any, put: Any, db: Any) -> None:
    big = [job(n, f',"pad":"{"x" * 600_000}"') for n in range(3)]
    put(REGISTERED, {"queue:default": big[::-1]})

    assert run(MINE.ack_and_fetch(BOTH, 9, [], DAY)).jobs == [("default", raw) for raw in big[:2]]

    assert db() == {**REGISTERED, RUNNING: big[1::-1], "queue:default": big[2:]}


# -- foreign counters -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("foreign", "left"),
    [
        ({"stat:processed": "abc"}, {TODAY: "1"}),
        ({TODAY: "abc"}, {"stat:processed": "1"}),
        ({"stat:processed": "abc", TODAY: ["x"]}, {}),
    ],
)
def test_a_foreign_counter_does_not_stop_the_moves(
    run: Any, put: Any, db: Any, foreign: dict[str, Any], left: dict[str, Any]
) -> None:
    """The reply would be lost after the moves, and the process would never see its jobs."""
    put(REGISTERED, {RUNNING: [job(1)], "queue:default": [job(2)]}, foreign)

    fetched = run(MINE.ack_and_fetch(BOTH, 1, [("default", job(1))], DAY))

    assert (fetched.jobs, fetched.gone) == ([("default", job(2))], [])
    assert "not an integer" in fetched.problem or "WRONGTYPE" in fetched.problem
    kept = {key: [b"x"] if value == ["x"] else value for key, value in foreign.items()}
    assert db() == {**REGISTERED, RUNNING: [job(2)], **kept, **left}


def test_a_foreign_counter_does_not_stop_ack(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)], "stat:processed": "abc"})

    settled = run(MINE.ack([("default", job(1))], DAY))

    assert settled.gone == []
    assert "not an integer" in settled.problem
    assert db() == {"stat:processed": "abc", TODAY: "1"}


def test_ack_on_a_running_list_of_a_wrong_type_counts_nothing(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: "a string"})

    with pytest.raises(ScriptError, match=r"^ack\.lua:\d+: WRONGTYPE"):
        run(MINE.ack([("default", job(1))], DAY))

    assert db() == {RUNNING: "a string"}
