"""No more jobs run at the same time than a capsule has slots, however many were fetched ahead."""

import asyncio
import threading

import pytest
from waiting import wait_until

from sidekiq_lua.worker.pace import HISTORY


class Running:
    """How many jobs run, and how many ran at most."""

    def __init__(self):
        self._lock = threading.Lock()
        self.now = self.most = 0

    def __enter__(self):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *error):
        with self._lock:
            self.now -= 1


@pytest.fixture
def jobs(make_app):
    """Jobs of both kinds that last a moment, and some that end at once, which teach that jobs are short."""

    def make(concurrency):
        app = make_app(concurrency=concurrency)
        app.running, app.gate, app.at_gate = Running(), threading.Event(), 0

        class QuickJob(app.Job):
            async def perform(self):
                with app.running:
                    pass

        class AsyncJob(app.Job):
            async def perform(self):
                with app.running:
                    await asyncio.sleep(0.0005)

        class SyncJob(app.Job):
            def perform(self):
                with app.running:
                    threading.Event().wait(0.0005)

        class GateJob(app.Job):
            async def perform(self):
                with app.running:
                    app.at_gate += 1
                    while not app.gate.is_set():
                        await asyncio.sleep(0.005)

        def push(job_class, n):
            app.client.push_bulk({"class": job_class, "args": [[] for _ in range(n)]})

        app.push, app.classes = push, (QuickJob, AsyncJob, SyncJob, GateJob)
        return app

    return make


@pytest.mark.parametrize("concurrency", [1, 2, 5])
def test_async_jobs_and_sync_ones(jobs, run, redis, concurrency):
    app = jobs(concurrency)
    quick, coroutine, function, _ = app.classes
    app.push(quick, 3 * HISTORY)
    for _ in range(20):
        app.push(coroutine, 7)
        app.push(function, 3)
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"500", 30)

    assert app.running.most == concurrency


def test_async_jobs_that_all_become_long_at_once(jobs, run, redis):
    """Those beyond the slots go back to the queue, and run when there is a slot again."""
    app = jobs(2)
    quick, _, _, gate = app.classes
    app.push(quick, 3 * HISTORY)
    app.push(gate, 10)
    app.push(quick, 100)
    run(app)

    wait_until(lambda: app.at_gate == 2)
    wait_until(lambda: redis.llen("queue:default") == 108)
    assert app.at_gate == 2
    app.gate.set()
    wait_until(lambda: redis.get("stat:processed") == b"410")
    assert app.running.most == 2
