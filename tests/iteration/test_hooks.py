"""Cancelling, what a job does to itself, and its hooks."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

import pytest
from waiting import hurry, wait_until


def test_cancelled_before_it_starts(app, run, redis, seen, define, state):
    job = define(app)
    jid = job.perform_async()
    assert app.client.cancel(jid) is True
    assert app.client.cancel(jid) is False
    assert {**state(jid), "cancelled": ""} == {"ex": "0", "c": "null", "rt": "0", "cancelled": ""}
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.events == [("from", None), "start", "cancel", "stop", "complete"]
    assert state(jid) == {}


def test_cancelled_while_it_runs(app, run, redis, seen, define, state):
    job = define(app, 5, state_flush_interval=0)
    seen.gate(2)
    jid = job.perform_async()
    run(app)
    seen.wait(2)
    assert asyncio.run(cancel_async(app, jid)) is True
    seen.open()
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.events[-5:] == [1, 2, "cancel", "stop", "complete"]
    assert state(jid) == {}


async def cancel_async(app, jid):
    async with app.async_client() as client:
        return await client.cancel(jid)


def test_a_job_cancels_itself(app, run, redis, seen, define):
    def do(self, item):
        seen.events.append(item)
        if item == 1:
            assert not self.cancelled()
            self.cancel()
            assert self.cancelled()

    job = define(app, 5, do=do)
    job.perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.items == [0, 1]
    assert seen.events[-3:] == ["cancel", "stop", "complete"]


def test_one_that_cancels_itself_and_fails_is_cancelled_still(app, run, redis, seen, define, state):
    def do(self, item):
        seen.events.append(item)
        self.cancel()
        raise ValueError

    job = define(app, 5, do=do)
    jid = job.perform_async()
    run(app)
    wait_until(lambda: redis.zcard("retry") == 1)
    assert int(state(jid)["cancelled"]) > 1_700_000_000
    redis.zadd("retry", {redis.zrange("retry", 0, 0)[0]: 1})
    wait_until(lambda: redis.get("stat:processed") == b"2")
    assert seen.events[-4:] == ["resume", "cancel", "stop", "complete"]


def test_a_job_makes_room_for_a_while(app, run, redis, seen, define):
    def do(self, item):
        seen.events.append(item)
        if item == 1:
            self.interrupt(60)

    job = define(app, 3, do=do)
    jid = job.perform_async()
    run(app)
    wait_until(lambda: redis.zcard("schedule") == 1)
    [(raw, due)] = redis.zrange("schedule", 0, 0, withscores=True)
    assert app.clock.now() + 50 < due < app.clock.now() + 61
    assert json.loads(raw)["jid"] == jid
    redis.zadd("schedule", {raw: 1})
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.items == [0, 1, 2]


@pytest.mark.parametrize("wait", [timedelta(days=45), 1e15])
def test_a_job_that_makes_room_for_long_keeps_its_state_for_that_time_too(
    app, run, redis, seen, define, wait
):
    def do(self, item):
        seen.events.append(item)
        if item == 1:
            self.interrupt(wait)

    jid = define(app, 3, do=do).perform_async()
    run(app)
    wait_until(lambda: redis.zcard("schedule") == 1)
    assert redis.ttl(f"it-{jid}") > timedelta(days=74).total_seconds()


@pytest.mark.parametrize("queue", [{}, {"queue": "default"}])
def test_a_job_that_makes_room_for_a_while_comes_back_to_the_queue_it_ran_in(
    make_app, run, redis, seen, define, queue
):
    def do(self, item):
        seen.events.append(item)
        if item == 1:
            self.interrupt(0.01)

    app = make_app(queues=["low"])
    define(app, 3, do=do)
    redis.lpush("queue:low", json.dumps({"class": "CountJob", "args": [], "jid": "a", **queue}))
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1" or redis.exists("queue:default"))
    assert seen.items == [0, 1, 2]
    assert not redis.exists("queue:default")


def test_abort_is_the_end(app, run, redis, seen, define):
    def do(self, item):
        seen.events.append(item)
        if item == 1:
            self.abort()

    job = define(app, 5, do=do)
    job.perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.events[-4:] == [0, 1, "stop", "complete"]


def test_abort_is_the_end_also_where_errors_are_caught(app, run, redis, seen, define):
    def do(self, item):
        seen.events.append(item)
        try:
            self.abort()
        except Exception:
            seen.events.append("caught")

    define(app, do=do).perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.events[-3:] == [0, "stop", "complete"]


def test_abort_before_the_first_item(app, run, redis, seen, define):
    define(app, on_start=lambda self: self.abort()).perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.events == [("from", None), "stop", "complete"]
    assert not redis.exists("retry")


def test_a_job_that_fails_after_its_last_item_repeats_that(app, run, redis, seen, define):
    def on_complete(self):
        seen.events.append("complete")
        if seen.events.count("complete") == 1:
            raise ValueError

    define(app, 3, on_complete=on_complete).perform_async()
    run(app)
    wait_until(lambda: redis.zcard("retry"))
    hurry(redis)
    wait_until(lambda: redis.get("stat:processed") == b"2")
    assert seen.items == [0, 1, 2, 2]


def test_what_a_job_sees_of_itself(app, run, redis, define):
    found = []

    def do(self, item):
        found.append((item, self.cursor, self.current_object, self.arguments, len(self.jid)))

    def on_complete(self):
        found.append((self.cursor, self.current_object))

    job = define(app, 2, do=do, on_complete=on_complete)
    job.perform_async("a", [1])
    run(app)
    wait_until(lambda: len(found) == 3)
    assert found == [(0, 0, 0, ("a", [1]), 24), (1, 1, 1, ("a", [1]), 24), (1, 1)]


def test_around_each_item(app, run, redis, seen, define, request):
    @contextmanager
    def around(self):
        seen.events.append("in")
        yield
        seen.events.append("out")

    job = define(app, 2, around_iteration=around)
    job.perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.events[2:8] == ["in", 0, "out", "in", 1, "out"]


def test_async_hooks_and_async_generators(app, run, redis):
    seen = []

    class AsyncJob(app.IterableJob):
        async def build_enumerator(self, *, cursor):
            async def pairs():
                try:
                    for n in range(cursor or 0, 3):
                        yield n, n
                finally:
                    seen.append("closed")

            return pairs()

        async def on_start(self):
            seen.append("start")

        async def on_complete(self):
            seen.append("complete")

        @asynccontextmanager
        async def around_iteration(self):
            seen.append("in")
            yield

        async def each_iteration(self, item):
            seen.append(item)
            if item == 1:
                self.cancel()

    AsyncJob.perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen == ["start", "in", 0, "in", 1, "closed", "complete"]


def test_nothing_to_do(app, run, redis, log, define):
    job = define(app, 0)
    job.perform_async()
    none = type("NoneJob", (job,), {"build_enumerator": lambda self, cursor: None})
    none.perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"2")
    assert "there is nothing to do" in log.getvalue()
