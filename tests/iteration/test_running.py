"""Iterable jobs in a worker of this process: the loop, interruption, failures."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from waiting import wait_until


def test_every_item_in_order_and_nothing_is_left(app, run, redis, seen, define, state):
    job = define(app)
    jid = job.perform_async("x")
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.events == [("from", None), "start", 0, 1, 2, 3, 4, "stop", "complete"]
    assert state(jid) == {}
    assert not list(redis.scan_iter("lua:running:*"))
    assert redis.get("stat:failed") is None


def test_stop_interrupts_between_items_and_another_worker_goes_on(make_app, run, redis, seen, define, state):
    first, second = make_app(concurrency=1), make_app(concurrency=1)
    job = define(first)
    define(second)
    seen.gate(2)
    jid = job.perform_async("x", 7)
    [before] = redis.lrange("queue:default", 0, -1)
    runner = run(first)
    seen.wait(2)
    stopper = threading.Thread(target=runner.stop)
    stopper.start()
    wait_until(lambda: redis.hget(runner.identity, "quiet") == b"true")
    seen.open()
    stopper.join(10)

    assert seen.events == [("from", None), "start", 0, 1, 2, "stop"]
    found = state(jid)
    assert {name: found[name] for name in ("ex", "c")} == {"ex": "1", "c": "3"}
    assert float(found["rt"]) > 0
    assert 2_591_000 < redis.ttl(f"it-{jid}") <= 2_592_000
    [after] = map(json.loads, redis.lrange("queue:default", 0, -1))
    before = json.loads(before)
    assert after["enqueued_at"] > before["enqueued_at"]
    assert {**after, "enqueued_at": 0} == {**before, "enqueued_at": 0}
    assert not redis.exists("stat:processed", "stat:failed", "retry", "lua:owners")

    run(second)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.events[6:] == [("from", 3), "resume", 3, 4, "stop", "complete"]
    assert state(jid) == {}


def test_quiet_interrupts_as_in_ruby(app, run, redis, seen, define, state):
    job = define(app)
    seen.gate(1)
    jid = job.perform_async()
    runner = run(app)
    seen.wait(1)
    runner.quiet()
    seen.open()
    wait_until(lambda: redis.llen("queue:default") == 1)
    assert state(jid)["c"] == "2"
    assert seen.items == [0, 1]


def test_an_interrupted_job_queues_behind_those_that_wait(app, run, redis, seen, define):
    job = define(app)
    seen.gate(0)
    jid = job.perform_async()
    runner = run(app)
    seen.wait(0)
    runner.quiet()
    other = app.client.push({"class": "OtherJob", "args": []})
    seen.open()

    def waiting():
        return [json.loads(raw)["jid"] for raw in redis.lrange("queue:default", 0, -1)]

    # A blocking move that was on its way when quiet came brings the other, which goes back at once.
    wait_until(lambda: waiting() == [jid, other])


@pytest.mark.parametrize("where", ["setting", "class"])
def test_max_iteration_runtime_makes_room(make_app, run, redis, seen, define, where, state):
    app = make_app(concurrency=1, **({"max_iteration_runtime": 0.00001} if where == "setting" else {}))
    body = {"max_iteration_runtime": 0.0} if where == "class" else {}
    job = define(app, 3, **body)
    jid = job.perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    # However little time it has, each run gets one item further.
    assert seen.items == [0, 1, 2]
    assert [event[1] for event in seen.events if type(event) is tuple] == [None, 1, 2]
    assert seen.events.count("resume") == 2
    assert seen.events.count("complete") == 1
    assert state(jid) == {}


def test_a_run_with_a_little_time_gets_on(make_app, run, redis, seen, define, state):
    app = make_app(concurrency=1, max_iteration_runtime=0.05)
    job = define(app, 4)
    inner = job.each_iteration

    if asyncio.iscoroutinefunction(inner):

        async def each_iteration(self, item):
            await inner(self, item)
            await asyncio.sleep(0.03)

    else:

        def each_iteration(self, item):
            inner(self, item)
            threading.Event().wait(0.03)

    job.each_iteration = each_iteration
    jid = job.perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.items == [0, 1, 2, 3]
    assert "resume" in seen.events
    assert state(jid) == {}


def test_a_failed_item_is_retried_and_nothing_before_it(app, run, redis, seen, define, state):
    job = define(app, 5, fails=[3])
    jid = job.perform_async()
    run(app)
    wait_until(lambda: redis.zcard("retry") == 1)
    assert {name: state(jid)[name] for name in ("ex", "c")} == {"ex": "1", "c": "3"}
    redis.zadd("retry", {redis.zrange("retry", 0, 0)[0]: 1})
    wait_until(lambda: redis.get("stat:processed") == b"2")
    assert seen.items == [0, 1, 2, 3, 3, 4]
    assert redis.get("stat:failed") == b"1"
    assert "stop" not in seen.events[: seen.events.index("resume")]
    assert state(jid) == {}
