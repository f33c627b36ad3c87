"""push_once.lua and schedule_once.lua: work comes in once, however often it is sent."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import NOW, STORE, job

from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.sent import TTL_S, PushLane, once, payloads

KEY = "lua:sent:sender:1"


def push(number: int, *jobs: bytes) -> Call[int]:
    return once(STORE.queues.push("low", list(jobs)), PushLane(STORE.keys.sent("sender", 1), number))


def schedule(number: int, *jobs: bytes) -> Call[int]:
    entries = [(NOW + n, raw) for n, raw in enumerate(jobs)]
    return once(STORE.queues.schedule(entries), PushLane(STORE.keys.sent("sender", 1), number))


def test_a_push_does_what_push_does_and_is_remembered(run: Any, put: Any, db: Any, redis: Any) -> None:
    put({"queue:low": [job(1)]})

    assert run(push(1, job(2), job(3))) == 3

    assert db() == {"queues": {"low"}, "queue:low": [job(3), job(2), job(1)], KEY: "1"}
    assert TTL_S - 1 <= redis.ttl(KEY) <= TTL_S


@pytest.mark.parametrize("number", [6, 7])
def test_what_came_before_is_not_pushed_again(run: Any, put: Any, db: Any, redis: Any, number: int) -> None:
    put({KEY: "7"})

    assert run(push(number, job(1))) == 0
    assert run(schedule(number, job(1))) == 0

    assert db() == {KEY: "7"}
    assert TTL_S - 1 <= redis.ttl(KEY) <= TTL_S


def test_a_higher_number_is_a_new_push_also_beyond_9(run: Any, put: Any, db: Any) -> None:
    put({KEY: "9"})

    assert run(push(10, job(1))) == 1
    assert run(schedule(11, job(2))) == 1

    assert db() == {
        "queues": {"low"},
        "queue:low": [job(1)],
        "schedule": [(job(2), NOW)],
        KEY: "11",
    }


@pytest.mark.parametrize("count", [1000, 1001, 9000])
def test_a_push_goes_in_slices_that_lua_can_unpack(run: Any, db: Any, count: int) -> None:
    jobs = [job(n) for n in range(count)]

    assert run(push(1, *jobs)) == count

    assert db()["queue:low"] == jobs[::-1]


def test_a_schedule_of_the_most_that_the_client_sends(run: Any, db: Any) -> None:
    jobs = [job(n) for n in range(100)]

    assert run(schedule(3, *jobs)) == 100

    assert db() == {"schedule": [(raw, NOW + n) for n, raw in enumerate(jobs)], KEY: "3"}


def test_the_jobs_of_a_call() -> None:
    jobs = [job(1), job(2)]
    assert payloads(STORE.queues.push("low", jobs)) == jobs
    assert payloads(STORE.queues.schedule([(NOW, raw) for raw in jobs])) == jobs
