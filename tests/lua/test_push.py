"""push.lua and schedule.lua: work comes in."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import NOW, STORE, job

from sidekiq_lua.errors import ScriptError


def test_push_puts_jobs_oldest_first_and_makes_the_queue_known(run: Any, put: Any, db: Any) -> None:
    put({"queue:low": [job(1)]})

    assert run(STORE.queues.push("low", [job(2), job(3)])) == 3

    # The left end is the newest, and the right end is taken first.
    assert db() == {"queues": {"low"}, "queue:low": [job(3), job(2), job(1)]}


def test_push_writes_the_bytes_it_was_given(run: Any, db: Any) -> None:
    raw = '{"args":["/","é","\u2028","\x7f"]}'.encode() + b"\x00\xff\r\n"

    run(STORE.queues.push("größe:1 2", [raw]))

    assert db() == {"queues": {"größe:1 2"}, "queue:größe:1 2": [raw]}


@pytest.mark.parametrize("count", [1000, 1001, 9000])
def test_push_goes_in_slices_that_lua_can_unpack(run: Any, db: Any, count: int) -> None:
    jobs = [job(n) for n in range(count)]

    assert run(STORE.queues.push("default", jobs)) == count

    assert db() == {"queues": {"default"}, "queue:default": jobs[::-1]}


@pytest.mark.parametrize("key", ["queues", "queue:default"])
def test_push_on_a_key_of_a_wrong_type_writes_nothing(run: Any, put: Any, db: Any, key: str) -> None:
    put({key: "a string"})

    with pytest.raises(ScriptError, match=r"^push\.lua:\d+: WRONGTYPE"):
        run(STORE.queues.push("default", [job(1)]))

    assert db() == {key: "a string"}


def test_schedule_adds_by_due_time_and_keeps_every_digit(run: Any, put: Any, db: Any) -> None:
    put({"schedule": [(job(1), 1.0)]})

    assert run(STORE.queues.schedule([(1755400000.123456, job(2)), (NOW, job(3))])) == 2

    # `queues` is left alone: the queue is made known when the job gets there, as Ruby does.
    assert db() == {"schedule": [(job(1), 1.0), (job(2), 1755400000.123456), (job(3), NOW)]}


def test_schedule_takes_the_most_that_the_client_sends(run: Any, db: Any) -> None:
    entries = [(NOW + n, job(n)) for n in range(100)]

    assert run(STORE.queues.schedule(entries)) == 100

    assert db() == {"schedule": [(raw, due) for due, raw in entries]}


def test_schedule_refuses_a_time_that_is_no_number_as_a_whole(run: Any, db: Any) -> None:
    with pytest.raises(ScriptError, match=r"^schedule\.lua:\d+: value is not a valid float"):
        run(STORE.queues.schedule([(1.0, job(1)), (float("nan"), job(2))]))

    assert db() == {}


def test_schedule_on_a_key_of_a_wrong_type_writes_nothing(run: Any, put: Any, db: Any) -> None:
    put({"schedule": ["x"]})

    with pytest.raises(ScriptError, match="WRONGTYPE"):
        run(STORE.queues.schedule([(NOW, job(1))]))

    assert db() == {"schedule": [b"x"]}
