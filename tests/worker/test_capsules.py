"""Several groups of queues in one worker."""

import json
import threading

import pytest
from waiting import wait_until

from sidekiq_lua import ProcessSet, Queue, Stats


@pytest.fixture
def gate():
    made = threading.Event()
    yield made
    made.set()


@pytest.fixture
def serial(make_app):
    """An instance with a capsule of one slot on the queues `one` and `two`."""
    app = make_app(concurrency=4)
    app.config.capsule("serial", queues=["one", "two"], concurrency=1)
    return app


def test_a_capsule_of_one_slot_runs_one_job_at_a_time_while_others_go_on(serial, run, gate):
    now, most, ended, others = set(), [], [], []

    class SerialJob(serial.Job):
        def perform(self, n):
            now.add(n)
            most.append(len(now))
            assert gate.wait(10)
            now.remove(n)
            ended.append(n)

    class OtherJob(serial.Job):
        def perform(self, n):
            others.append((n, threading.current_thread().name))

    SerialJob.set(queue="two").perform_bulk([[n] for n in range(20)])
    SerialJob.set(queue="one").perform_bulk([[n] for n in range(20, 40)])
    run(serial)
    wait_until(lambda: most)
    OtherJob.perform_bulk([[n] for n in range(50)])
    wait_until(lambda: len(others) == 50)
    assert len(now) == 1
    gate.set()
    wait_until(lambda: len(ended) == 40)
    assert set(most) == {1}
    assert ended[1:] == [*range(21, 40), *range(20)]  # strict: `one` first, but for what was fetched at once
    assert {name for _, name in others} == {"sidekiq.default/processor"}


def test_async_jobs_of_a_capsule_count_too(serial, run):
    now, most, ended = set(), [], []

    class WaitJob(serial.Job):
        async def perform(self, n):
            import asyncio

            now.add(n)
            most.append(len(now))
            await asyncio.sleep(0.001)
            now.remove(n)
            ended.append(n)

    WaitJob.set(queue="one").perform_bulk([[n] for n in range(30)])
    run(serial)
    wait_until(lambda: len(ended) == 30)
    assert set(most) == {1}


def test_the_middleware_of_one_does_not_see_the_jobs_of_the_other(serial, run):
    seen = {"all": [], "serial": []}

    class Watch:
        def __init__(self, whose):
            self.whose = whose

        def call(self, job, payload, queue, next):
            seen[self.whose].append(queue)
            return next()

    class WatchSerial(Watch):
        pass

    serial.config.server_middleware.use(Watch, "all")
    serial.config.capsule("serial").server_middleware.use(WatchSerial, "serial")
    serial.config.capsule("bare", queues=["three"]).server_middleware.clear()
    done = []

    class EchoJob(serial.Job):
        def perform(self):
            done.append(self.jid)

    class EchoAsyncJob(serial.Job):
        async def perform(self):
            done.append(self.jid)

    for job in (EchoJob, EchoAsyncJob):
        for queue in ("default", "one", "three"):
            job.set(queue=queue).perform_async()
    run(serial)
    wait_until(lambda: len(done) == 6)
    assert sorted(seen["all"]) == ["default", "default", "one", "one"]
    assert seen["serial"] == ["one", "one"]


def test_the_heartbeat_shows_them(serial, run, redis):
    runner = run(serial)
    [process] = ProcessSet(serial)
    assert process.capsules == {
        "default": {"concurrency": 4, "mode": "strict", "weights": {"default": 0}},
        "serial": {"concurrency": 1, "mode": "strict", "weights": {"one": 0, "two": 0}},
    }
    assert (process.queues, process["concurrency"], runner.concurrency) == (["default", "one", "two"], 5, 5)
    info = json.loads(redis.hget(runner.identity, "info"))
    assert info["weights"] == [{"default": 0}, {"one": 0, "two": 0}]


def test_a_paused_queue_of_one_does_not_stop_the_other(serial, run, redis):
    done = []

    class EchoJob(serial.Job):
        def perform(self, n):
            done.append(n)

    Queue("one", serial).pause()
    run(serial)
    EchoJob.set(queue="one").perform_async(1)
    EchoJob.set(queue="two").perform_async(2)
    EchoJob.perform_async(3)
    wait_until(lambda: sorted(done) == [2, 3])
    assert redis.llen("queue:one") == 1


def test_quiet_and_stop_go_for_all(serial, run, redis, gate):
    begun, ended = [], []

    class GateJob(serial.Job):
        def perform(self, n):
            begun.append(n)
            assert gate.wait(10)
            ended.append(n)

    runner = run(serial)
    GateJob.perform_async(1)
    GateJob.set(queue="one").perform_async(2)
    wait_until(lambda: sorted(begun) == [1, 2])
    assert runner.busy == 2
    runner.quiet()
    GateJob.perform_async(3)
    GateJob.set(queue="one").perform_async(4)
    wait_until(lambda: redis.hget(runner.identity, "quiet") == b"true")
    gate.set()
    wait_until(lambda: sorted(ended) == [1, 2])
    runner.stop()
    assert (redis.llen("queue:default"), redis.llen("queue:one"), sorted(begun)) == (1, 1, [1, 2])
    assert redis.hlen("lua:owners") == 0
    assert not list(redis.scan_iter("lua:running:*"))


def test_the_hard_stop_puts_back_the_jobs_of_all(make_app, run, redis, gate):
    app = make_app(timeout=0.2)
    app.config.capsule("serial", queues=["one"], concurrency=1)
    begun = []

    class GateJob(app.Job):
        def perform(self, n):
            begun.append(n)
            for _ in range(1000):
                gate.wait(0.01)

    runner = run(app)
    GateJob.perform_async(1)
    GateJob.set(queue="one").perform_async(2)
    wait_until(lambda: sorted(begun) == [1, 2])
    runner.stop()
    assert (redis.llen("queue:default"), redis.llen("queue:one")) == (1, 1)
    assert not list(redis.scan_iter("lua:running:*"))


def test_two_capsules_that_serve_one_queue_run_each_job_once(make_app, run, redis):
    app = make_app(concurrency=2)
    app.config.capsule("also", queues=["default"], concurrency=3)
    done = []

    class EchoJob(app.Job):
        def perform(self, n):
            done.append(n)

    EchoJob.perform_bulk([[n] for n in range(500)])
    runner = run(app)
    wait_until(lambda: Stats(app).processed == 500)
    runner.stop()
    assert sorted(done) == list(range(500))
    assert not list(redis.scan_iter("lua:running:*"))


def test_sync_jobs_need_sync_middleware_in_every_capsule(serial):
    from sidekiq_lua.errors import ConfigurationError

    class Async:
        async def call(self, job, payload, queue, next):
            return await next()

    class EchoJob(serial.Job):
        def perform(self):
            pass

    serial.config.capsule("serial").server_middleware.use(Async)
    with pytest.raises(ConfigurationError, match="works for async jobs only"):
        serial.run()
