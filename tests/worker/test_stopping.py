"""Quiet, stop, the hard deadline, events."""

import asyncio
import threading

import pytest
from waiting import wait_until

from sidekiq_lua.errors import Shutdown


class Gate:
    """Jobs that begin, and end when they are let go."""

    def __init__(self):
        self.begun = []
        self.ended = []
        self.open = threading.Event()

    def through(self, name):
        self.begun.append(name)
        assert self.open.wait(10)
        self.ended.append(name)


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.open.set()


@pytest.fixture
def gated(make_app, gate):
    app = make_app(concurrency=2)

    class GateJob(app.Job):
        def perform(self, n):
            gate.through(n)

    return app, GateJob


def test_quiet_ends_fetching_and_running_jobs_go_on(gated, gate, run, redis):
    app, job = gated
    runner = run(app)
    job.perform_async(1)
    wait_until(lambda: gate.begun == [1])
    runner.quiet()
    job.perform_async(2)
    wait_until(lambda: redis.hget(runner.identity, "quiet") == b"true")
    gate.open.set()
    wait_until(lambda: gate.ended == [1])
    runner.stop()
    assert gate.begun == [1]
    assert redis.llen("queue:default") == 1


@pytest.mark.parametrize("busy", [False, True])
def test_a_quiet_worker_does_not_even_touch_a_job(gated, gate, run, redis, log, busy):
    app, job = gated
    # A long life, so that the moves do not end by themselves.
    app.config.update({"queues": ["default", "low"], "heartbeat_interval": 10, "heartbeat_ttl": 60})
    runner = run(app)
    if busy:
        job.perform_async(1)
        wait_until(lambda: gate.begun == [1])
    wait_until(lambda: redis.info("clients")["blocked_clients"] == 2)
    runner.quiet()
    wait_until(lambda: redis.info("clients")["blocked_clients"] == 0)
    redis.config_resetstat()
    for queue in app.config.queues:
        job.set(queue=queue).perform_async(2)
    assert redis.llen("queue:default") == redis.llen("queue:low") == 1
    gate.open.set()
    runner.stop()
    assert not {"cmdstat_blmove", "cmdstat_rpush"} & set(redis.info("commandstats"))
    assert "WARN" not in log.getvalue()


def test_stop_waits_for_running_jobs(gated, gate, run, redis):
    app, job = gated
    runner = run(app)
    job.perform_bulk([[1], [2], [3]])
    wait_until(lambda: len(gate.begun) == 2)
    stopper = threading.Thread(target=runner.stop)
    stopper.start()
    wait_until(lambda: redis.hget(runner.identity, "quiet") == b"true")
    gate.open.set()
    stopper.join(5)
    assert sorted(gate.ended) == [1, 2]
    assert redis.get("stat:processed") == b"2"
    assert redis.llen("queue:default") == 1
    assert not list(redis.scan_iter("lua:running:*"))
    assert not redis.exists("lua:owners")
    assert not redis.sismember("processes", runner.identity)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_at_the_deadline_jobs_go_back_and_are_interrupted(make_app, run, redis, log, kind):
    app = make_app(concurrency=2, timeout=0.2)
    begun, interrupted = [], []

    if kind == "sync":

        class LongJob(app.Job):
            def perform(self, n):
                begun.append(n)
                try:
                    for _ in range(2000):
                        threading.Event().wait(0.005)
                except Shutdown:
                    interrupted.append((n, self.interrupted()))
                    raise
    else:

        class LongJob(app.Job):
            async def perform(self, n):
                begun.append(n)
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    interrupted.append((n, self.interrupted()))
                    raise

    LongJob.perform_bulk([[1], [2], [3]])
    before = redis.lrange("queue:default", 0, -1)
    runner = run(app)
    wait_until(lambda: len(begun) == 2)
    runner.stop()
    assert sorted(interrupted) == [(1, True), (2, True)]
    assert redis.lrange("queue:default", 0, -1) == before
    assert redis.get("stat:processed") is None
    assert redis.zcard("retry") == 0
    assert not redis.exists("lua:owners")
    text = log.getvalue()
    for line in ("Terminating 2 busy threads", "Pushed 2 jobs back to Redis", "cut off: ", "Bye!"):
        assert line in text


def test_a_second_worker_takes_what_a_hard_stop_put_back(make_app, run, redis):
    apps = [make_app(concurrency=1, timeout=0.1), make_app(concurrency=1)]
    seen = []

    def define(app, hang):
        class HandedJob(app.Job):
            def perform(self):
                seen.append(hang)
                while hang:
                    threading.Event().wait(0.005)

        return HandedJob

    job = define(apps[0], True)
    define(apps[1], False)
    job.perform_async()
    first = run(apps[0])
    wait_until(lambda: seen == [True])
    run(apps[1])
    first.stop()
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert seen == [True, False]


def test_interrupted_tells_a_job_that_the_worker_stops(app, run):
    seen = []

    class PoliteJob(app.Job):
        def perform(self):
            seen.append(self.interrupted())
            while not self.interrupted():
                threading.Event().wait(0.005)
            seen.append(self.interrupted())

    PoliteJob.perform_async()
    runner = run(app)
    wait_until(lambda: seen)
    runner.stop()
    assert seen == [False, True]


def test_events_fire_once_and_in_order(app, run):
    seen = []
    for name in ("startup", "quiet", "shutdown", "exit", "heartbeat", "beat"):
        for number in (1, 2):
            app.config.on(name)(lambda name=name, number=number: seen.append(f"{name} {number}"))
    runner = run(app)
    wait_until(lambda: seen.count("beat 1") >= 3)
    runner.stop()
    assert [event for event in seen if not event.startswith("beat")] == [
        "startup 1", "startup 2", "heartbeat 1", "heartbeat 2",
        "quiet 2", "quiet 1", "shutdown 2", "shutdown 1", "exit 2", "exit 1",
    ]  # fmt: skip


def test_a_startup_handler_that_raises_stops_the_boot(app, redis):
    app.config.on("startup")(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        app.run()


def test_restart_begins_a_new_life(app, run, redis):
    seen = []

    class AgainJob(app.Job):
        def perform(self):
            seen.append(1)

    runner = run(app)
    first = runner.identity
    AgainJob.perform_async()
    wait_until(lambda: len(seen) == 1)
    runner.restart()
    AgainJob.perform_async()
    wait_until(lambda: len(seen) == 2)
    assert runner.identity != first


def test_settings_are_frozen_once_running(app, run):
    from sidekiq_lua.errors import FrozenConfig

    run(app)
    with pytest.raises(FrozenConfig):
        app.config.concurrency = 99


def test_signals_through_redis(app, run, redis, log):
    runner = run(app)
    send = app.store.processes.signal
    app.transport().run(send(runner.identity, "TTIN"))
    wait_until(lambda: "sidekiq.heartbeat" in log.getvalue())
    app.transport().run(send(runner.identity, "TSTP"))
    wait_until(lambda: redis.hget(runner.identity, "quiet") == b"true")
    app.transport().run(send(runner.identity, "TERM"))
    assert runner.wait(10)
    assert not redis.sismember("processes", runner.identity)
