"""Jobs that run: arguments, contexts, async, order, counters."""

import asyncio
import contextvars
import threading

from waiting import wait_until

from sidekiq_lua import Context
from sidekiq_lua.payload import Codec


def processed(redis):
    return int(redis.get("stat:processed") or 0)


def test_a_job_runs_with_its_arguments_and_leaves_only_counters(make_app, run, redis, dump):
    app = make_app(metrics=False)
    seen = []

    class EchoJob(app.Job):
        def perform(self, *args):
            seen.append((self.jid, args))

    jid = EchoJob.perform_async(1, "é", [None, {"k": 1.5}])
    runner = run(app)
    wait_until(lambda: processed(redis) == 1)
    runner.stop()
    assert seen == [(jid, (1, "é", [None, {"k": 1.5}]))]
    left = dump()
    del left["lua:scripts"], left["lua:script_counts"]
    left.pop(runner.identity, None)  # it may have expired by now
    day = app.clock.day()
    assert left == {"queues": ["default"], "stat:processed": "1", f"stat:processed:{day}": "1"}


def test_async_jobs_run_concurrently_on_one_thread(make_app, run, redis):
    app = make_app(concurrency=20)
    threads = set()
    running, most = 0, 0
    gate = []

    class WaitJob(app.Job):
        async def perform(self, n):
            nonlocal running, most
            threads.add(threading.get_ident())
            running += 1
            most = max(most, running)
            if running == 20:
                gate.append(True)
            while not gate:
                await asyncio.sleep(0.005)
            running -= 1

    WaitJob.perform_bulk([[n] for n in range(20)])
    run(app)
    wait_until(lambda: processed(redis) == 20)
    assert most == 20
    assert len(threads) == 1


def test_never_more_jobs_than_slots(make_app, run, redis):
    app = make_app(concurrency=3)
    lock = threading.Lock()
    running, most = 0, 0

    class SlotJob(app.Job):
        def perform(self):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            threading.Event().wait(0.01)
            with lock:
                running -= 1

    class AsyncSlotJob(app.Job):
        async def perform(self):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            await asyncio.sleep(0.01)
            with lock:
                running -= 1

    SlotJob.perform_bulk([[]] * 20)
    AsyncSlotJob.perform_bulk([[]] * 20)
    run(app)
    wait_until(lambda: processed(redis) == 40)
    assert most == 3


def test_what_one_job_sets_in_its_context_the_next_does_not_see(make_app, run, redis):
    app = make_app(concurrency=1)
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    class SetJob(app.Job):
        def perform(self, value):
            seen.append((variable.get(), Context.current().get("mine")))
            variable.set(value)
            Context.add("mine", value)

    class AsyncSetJob(app.Job):
        async def perform(self, value):
            seen.append((variable.get(), Context.current().get("mine")))
            variable.set(value)
            Context.add("mine", value)

    for job in (SetJob, AsyncSetJob):
        job.perform_bulk([["a"], ["b"]])
    run(app)
    wait_until(lambda: processed(redis) == 4)
    assert seen == [("unset", None)] * 4


def test_queues_in_strict_order_are_emptied_one_after_the_other(make_app, run, redis):
    app = make_app(concurrency=1, queues=["high", "low"])
    seen = []

    class NameJob(app.Job):
        def perform(self, name):
            seen.append(name)

    NameJob.set(queue="low").perform_bulk([["low"]] * 3)
    NameJob.set(queue="high").perform_bulk([["high"]] * 3)
    run(app)
    wait_until(lambda: processed(redis) == 6)
    assert seen == ["high"] * 3 + ["low"] * 3


def test_a_queue_is_first_in_first_out(make_app, run, redis):
    app = make_app(concurrency=1)
    seen = []

    class NumberJob(app.Job):
        def perform(self, n):
            seen.append(n)

    NumberJob.perform_bulk([[n] for n in range(500)])
    run(app)
    wait_until(lambda: processed(redis) == 500)
    assert seen == list(range(500))


def test_a_paused_queue_waits_and_goes_on(make_app, run, redis):
    app = make_app(concurrency=1, queues=["default", "other"])
    seen = []

    class PausedJob(app.Job):
        def perform(self, n):
            seen.append(n)

    redis.sadd("paused", "default")
    PausedJob.perform_async(1)
    run(app)
    PausedJob.set(queue="other").perform_async(2)
    wait_until(lambda: processed(redis) == 1)
    PausedJob.perform_async(3)
    assert seen == [2]
    redis.srem("paused", "default")
    wait_until(lambda: processed(redis) == 3)
    assert seen == [2, 1, 3]


def test_a_queue_paused_while_the_worker_waits_for_it(app, run, redis):
    seen = []

    class LaterJob(app.Job):
        def perform(self, n):
            seen.append(n)

    run(app)
    LaterJob.perform_async(1)
    wait_until(lambda: processed(redis) == 1)
    redis.sadd("paused", "default")
    LaterJob.perform_async(2)
    wait_until(lambda: redis.llen("queue:default") == 1 and not list(redis.scan_iter("lua:running:*")))
    assert seen == [1]
    redis.srem("paused", "default")
    wait_until(lambda: seen == [1, 2])


def test_a_job_enqueued_by_another_language_runs_by_its_ruby_name(app, run, redis):
    seen = []

    class ChargeJob(app.Job):
        sidekiq_class = "Billing::ChargeJob"

        def perform(self, cents):
            seen.append(cents)

    raw = b'{"class": "Billing::ChargeJob", "args": [5], "jid": "x", "unknown": {"a": [1]}}'
    redis.lpush("queue:default", raw)
    run(app)
    wait_until(lambda: processed(redis) == 1)
    assert seen == [5]


def test_two_equal_payloads_are_two_jobs(app, run, redis):
    seen = []

    class TwinJob(app.Job):
        def perform(self):
            seen.append(self.jid)

    redis.lpush("queue:default", *[Codec().dump({"class": "TwinJob", "args": [], "jid": "same"})] * 3)
    runner = run(app)
    wait_until(lambda: processed(redis) == 3)
    runner.stop()
    assert seen == ["same"] * 3
    assert not list(redis.scan_iter("lua:running:*"))


def test_server_middleware_goes_around_sync_and_async_jobs(app, run, redis):
    seen = []

    class Around:
        def __init__(self, name):
            self.name = name

        def call(self, job, payload, queue, next):
            seen.append((self.name, "before", payload["class"], queue))
            try:
                return next()
            finally:
                seen.append((self.name, "after", payload["class"], queue))

    app.config.server_middleware.add(Around, "outer")

    class SyncJob(app.Job):
        def perform(self):
            seen.append("sync")

    class AsyncJob(app.Job):
        async def perform(self):
            await asyncio.sleep(0.01)
            seen.append("async")

    SyncJob.perform_async()
    run(app)
    wait_until(lambda: processed(redis) == 1)
    AsyncJob.perform_async()
    wait_until(lambda: processed(redis) == 2)
    expected = []
    for name in ("SyncJob", "AsyncJob"):
        expected += [
            ("outer", "before", name, "default"),
            name.removesuffix("Job").lower(),
            ("outer", "after", name, "default"),
        ]
    assert seen == expected


def test_changes_of_middleware_do_not_reach_the_retry(app, run, redis):
    class Changes:
        def call(self, job, payload, queue, next):
            payload["args"].append("changed")
            payload["extra"] = 1
            return next()

    app.config.server_middleware.add(Changes)

    class FailJob(app.Job):
        def perform(self, *args):
            raise ValueError(args)

    FailJob.perform_async("a")
    app.config.poll_interval_average = 60
    run(app)
    (raw,) = wait_until(lambda: redis.zrange("retry", 0, -1))
    stored = Codec().load(raw)
    assert stored["args"] == ["a"]
    assert "extra" not in stored
    assert stored["error_message"] == "('a', 'changed')"
