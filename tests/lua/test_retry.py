"""retry.lua and drop.lua: jobs failed, and are tried again or forgotten."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_py
from keyspace import DAY, DAY_TTL_S, MINE, NOW, RUNNING, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.running import Settled

FAILED = job(1, ',"retry_count":0,"error_message":"é/"')
COUNTED = {
    "stat:processed": "1",
    f"stat:processed:{DAY}": "1",
    "stat:failed": "1",
    f"stat:failed:{DAY}": "1",
}


def retry(due: float = NOW) -> Any:
    return MINE.retry("default", job(1), FAILED, due, DAY)


def test_retry_moves_the_job_and_counts_it(run: Any, put: Any, db: Any, redis: redis_py.Redis) -> None:
    put({RUNNING: [job(2), job(1)], "retry": [(job(3), 5.0)]})

    assert run(retry(1755400000.123456)) == Settled(moved=True)

    assert db() == {RUNNING: [job(2)], "retry": [(job(3), 5.0), (FAILED, 1755400000.123456)], **COUNTED}
    assert redis.ttl(f"stat:failed:{DAY}") > DAY_TTL_S - 5
    assert redis.ttl(f"stat:processed:{DAY}") > DAY_TTL_S - 5


def test_retry_of_a_job_that_is_gone_does_nothing(run: Any, put: Any, db: Any) -> None:
    before = {RUNNING: [job(2)]}
    put(before)

    assert run(retry()) == Settled(moved=False)

    assert db() == before


def test_retry_again_does_nothing_more(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)]})
    run(retry())
    after = db()

    assert run(retry()) == Settled(moved=False)

    assert db() == after


def test_of_equal_payloads_one_is_retried(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1), job(1)]})

    run(retry())

    assert db() == {RUNNING: [job(1)], "retry": [(FAILED, NOW)], **COUNTED}


@pytest.mark.parametrize("due", [NOW, float("nan")])
def test_a_retry_set_that_cannot_take_the_job_loses_nothing(run: Any, put: Any, db: Any, due: float) -> None:
    """Remove, then put, would lose the job here: the put fails."""
    before = {RUNNING: [job(2), job(1)], "retry": "a string"} if due == NOW else {RUNNING: [job(1)]}
    put(before)

    with pytest.raises(ScriptError, match=r"^retry\.lua:\d+: "):
        run(retry(due))

    assert db() == before


def test_a_user_who_may_not_write_the_retry_set_loses_nothing(
    redis: redis_py.Redis, put: Any, db: Any, transport_as: Any
) -> None:
    before = {RUNNING: [job(1)]}
    put(before)

    with pytest.raises(ScriptError, match=r"^retry\.lua:\d+: "):
        transport_as("+@all", "-zadd").run(retry())

    assert db() == before


def test_drop_removes_the_job_and_counts_it(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2), job(1), job(1)]})

    assert run(MINE.drop("default", job(1), DAY)) == Settled(moved=True)

    assert db() == {RUNNING: [job(2), job(1)], **COUNTED}


def test_drop_of_a_job_that_is_gone_does_nothing(run: Any, put: Any, db: Any) -> None:
    before = {RUNNING: [job(2)]}
    put(before)

    assert run(MINE.drop("default", job(1), DAY)) == Settled(moved=False)

    assert db() == before


@pytest.mark.parametrize("call", [retry(), MINE.drop("default", job(1), DAY)], ids=["retry", "drop"])
@pytest.mark.parametrize("counter", COUNTED)
def test_a_foreign_counter_does_not_stop_the_move(
    run: Any, put: Any, db: Any, call: Any, counter: str
) -> None:
    put({RUNNING: [job(1)], counter: "abc"})

    settled = run(call)

    assert settled.moved
    assert "not an integer" in settled.problem
    moved = {"retry": [(FAILED, NOW)]} if call.script.name == "retry" else {}
    assert db() == {**moved, **COUNTED, counter: "abc"}
