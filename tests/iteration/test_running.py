"""Iterable jobs in a worker of this process: the loop, hooks, cancellation, interruption, failures."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace

import pytest
from waiting import wait_until

from sidekiq_lua.enumerators import array_enumerator
from sidekiq_lua.errors import InvalidJob


class Seen:
    """What jobs did, and gates at which their items wait."""

    def __init__(self):
        self.events = []
        self.gates = {}

    def gate(self, item):
        return self.gates.setdefault(item, SimpleNamespace(came=threading.Event(), go=threading.Event()))

    def wait(self, item):
        assert self.gate(item).came.wait(10), f"{item} was not reached: {self.events}"

    def open(self):
        for gate in self.gates.values():
            gate.go.set()

    def pass_by(self, item):
        if item in self.gates:
            self.gates[item].came.set()
            assert self.gates[item].go.wait(10)

    @property
    def items(self):
        return [event for event in self.events if type(event) is int]


@pytest.fixture
def seen():
    made = Seen()
    yield made
    made.open()


@pytest.fixture(params=["sync", "async"])
def define(request, seen):
    """`define(app, n, state_flush_interval=0)`: a job class over range(n) that writes down what happens."""

    def make(app, n=5, fails=(), **body):
        left = list(fails)

        class Hooks(app.IterableJob):
            abstract = True

            def build_enumerator(self, *args, cursor):
                seen.events.append(("from", cursor))
                return array_enumerator(range(n), cursor=cursor)

            def on_start(self):
                seen.events.append("start")

            def on_resume(self):
                seen.events.append("resume")

            def on_stop(self):
                seen.events.append("stop")

            def on_cancel(self):
                seen.events.append("cancel")

            def on_complete(self):
                seen.events.append("complete")

            def do(self, item):
                seen.events.append(item)
                if item in left:
                    left.remove(item)
                    raise ValueError(item)

        def each_iteration(self, item, *args):
            seen.pass_by(item)
            self.do(item)

        async def each_iteration_async(self, item, *args):
            if item in seen.gates:
                await asyncio.to_thread(seen.pass_by, item)
            self.do(item)

        method = each_iteration if request.param == "sync" else each_iteration_async
        return type("CountJob", (Hooks,), {"each_iteration": method, **body})

    return make


def state(redis, jid):
    return {name.decode(): value.decode() for name, value in redis.hgetall(f"it-{jid}").items()}


def test_every_item_in_order_and_nothing_is_left(app, run, redis, seen, define):
    job = define(app)
    jid = job.perform_async("x")
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.events == [("from", None), "start", 0, 1, 2, 3, 4, "stop", "complete"]
    assert state(redis, jid) == {}
    assert not list(redis.scan_iter("lua:running:*"))
    assert redis.get("stat:failed") is None


def test_stop_interrupts_between_items_and_another_worker_goes_on(make_app, run, redis, seen, define):
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
    found = state(redis, jid)
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
    assert state(redis, jid) == {}


def test_quiet_interrupts_as_in_ruby(app, run, redis, seen, define):
    job = define(app)
    seen.gate(1)
    jid = job.perform_async()
    runner = run(app)
    seen.wait(1)
    runner.quiet()
    seen.open()
    wait_until(lambda: redis.llen("queue:default") == 1)
    assert state(redis, jid)["c"] == "2"
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
    wait_until(lambda: redis.llen("queue:default") == 2)
    assert [json.loads(raw)["jid"] for raw in redis.lrange("queue:default", 0, -1)] == [jid, other]


@pytest.mark.parametrize("where", ["setting", "class"])
def test_max_iteration_runtime_makes_room(make_app, run, redis, seen, define, where):
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
    assert state(redis, jid) == {}


def test_a_run_with_a_little_time_gets_on(make_app, run, redis, seen, define):
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
    assert state(redis, jid) == {}


def test_a_failed_item_is_retried_and_nothing_before_it(app, run, redis, seen, define):
    job = define(app, 5, fails=[3])
    jid = job.perform_async()
    run(app)
    wait_until(lambda: redis.zcard("retry") == 1)
    assert {name: state(redis, jid)[name] for name in ("ex", "c")} == {"ex": "1", "c": "3"}
    redis.zadd("retry", {redis.zrange("retry", 0, 0)[0]: 1})
    wait_until(lambda: redis.get("stat:processed") == b"2")
    assert seen.items == [0, 1, 2, 3, 3, 4]
    assert redis.get("stat:failed") == b"1"
    assert "stop" not in seen.events[: seen.events.index("resume")]
    assert state(redis, jid) == {}


def test_cancelled_before_it_starts(app, run, redis, seen, define):
    job = define(app)
    jid = job.perform_async()
    assert app.client.cancel(jid) is True
    assert app.client.cancel(jid) is False
    assert {**state(redis, jid), "cancelled": ""} == {"ex": "0", "c": "null", "rt": "0", "cancelled": ""}
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.events == [("from", None), "start", "cancel", "stop", "complete"]
    assert state(redis, jid) == {}


def test_cancelled_while_it_runs(app, run, redis, seen, define):
    job = define(app, 5, state_flush_interval=0)
    seen.gate(2)
    jid = job.perform_async()
    run(app)
    seen.wait(2)
    assert asyncio.run(cancel_async(app, jid)) is True
    seen.open()
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen.events[-5:] == [1, 2, "cancel", "stop", "complete"]
    assert state(redis, jid) == {}


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


def test_one_that_cancels_itself_and_fails_is_cancelled_still(app, run, redis, seen, define):
    def do(self, item):
        seen.events.append(item)
        self.cancel()
        raise ValueError

    job = define(app, 5, do=do)
    jid = job.perform_async()
    run(app)
    wait_until(lambda: redis.zcard("retry") == 1)
    assert int(state(redis, jid)["cancelled"]) > 1_700_000_000
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


def test_middleware_that_swallows_the_interruption_loses_nothing(make_app, run, redis, seen, define, request):
    app = make_app(concurrency=1)
    if "async" in request.node.callspec.id:

        class Swallow:
            async def call(self, job, payload, queue, next):
                try:
                    await next()
                except BaseException as error:
                    seen.events.append(type(error).__name__)

    else:

        class Swallow:
            def call(self, job, payload, queue, next):
                try:
                    next()
                except BaseException as error:
                    seen.events.append(type(error).__name__)

    app.config.server_middleware.add(Swallow)
    job = define(app)
    seen.gate(1)
    jid = job.perform_async()
    runner = run(app)
    seen.wait(1)
    runner.quiet()
    seen.open()
    wait_until(lambda: redis.llen("queue:default") == 1)
    assert seen.events[-2:] == ["stop", "Interrupted"]
    assert state(redis, jid)["c"] == "2"


def test_a_job_that_was_recovered_meanwhile_stops_and_writes_nothing(app, run, redis, seen, define, log):
    job = define(app, 5, state_flush_interval=0)
    seen.gate(2)
    jid = job.perform_async()
    run(app)
    seen.wait(2)
    [held] = redis.scan_iter("lua:running:*")
    redis.delete(held)  # as recovery does, which puts it in its queue elsewhere
    redis.hset(f"it-{jid}", mapping={"ex": 2, "c": "4", "rt": "9"})
    seen.open()
    wait_until(lambda: "settled elsewhere" in log.getvalue())
    assert seen.items == [0, 1, 2]
    assert state(redis, jid) == {"ex": "2", "c": "4", "rt": "9"}
    assert not redis.exists("queue:default", "retry", "stat:processed")


def test_a_job_without_an_id_has_one_once_it_is_interrupted(app, run, redis, seen, define):
    define(app)
    seen.gate(1)
    redis.lpush("queue:default", b'{"class":"CountJob","args":[]}')
    runner = run(app)
    seen.wait(1)
    runner.quiet()
    seen.open()
    wait_until(lambda: redis.llen("queue:default") == 1)
    jid = json.loads(redis.lindex("queue:default", 0))["jid"]
    assert state(redis, jid)["c"] == "2"


@pytest.mark.parametrize("jid", ["", None, 7])
def test_what_is_no_id_is_not_cancelled(app, jid):
    with pytest.raises(InvalidJob, match="cancelled by its id"):
        app.client.cancel(jid)
