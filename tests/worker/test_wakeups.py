"""Somebody always comes for a job that has ended, whoever is on a trip to Redis at that moment."""

import asyncio
import threading

import pytest
from waiting import wait_until

from sidekiq_lua.store import fault
from sidekiq_lua.worker import waiter
from sidekiq_lua.worker.exchange import Exchange


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_a_job_that_ends_while_the_waiter_is_on_a_trip(make_app, run, redis, monkeypatch, ends):
    """Its thread finds the trip taken and rests. Nothing is waited for then, so no push would help."""
    app = make_app(concurrency=1)
    go_on = threading.Event()
    exchanges, runners, trips = [], [], []

    class AsyncJob(app.Job):
        async def perform(self):
            pass

    class SyncJob(app.Job):
        def perform(self):
            assert go_on.wait(10)
            if ends == "badly":
                raise ValueError

    init = Exchange.__init__

    def experienced(self, *args):
        """It has learnt that jobs are short: so it takes two for its one slot."""
        init(self, *args)
        self._runs = len(self._run_times)
        exchanges.append(self)

    def at(stage, call):
        """The waiter acknowledges the async job; meanwhile the other one ends, and its thread rests."""
        if (stage, call) == ("sent", "ack") and threading.current_thread().name.endswith("/fetcher"):
            trips.append(call)
            go_on.set()
            wait_until(lambda: not exchanges[0].active)
            wait_until(lambda: runners and runners[0]._launcher.stations[0].manager._idle)

    monkeypatch.setattr(waiter, "STALE_S", 30)  # on a busy machine the second job would go back to its queue
    monkeypatch.setattr(Exchange, "__init__", experienced)
    monkeypatch.setattr(fault, "at", at)
    AsyncJob.perform_async()
    SyncJob.set(retry=False).perform_async()
    runners.append(run(app))
    wait_until(lambda: redis.get("stat:processed") == b"2", 5)
    assert trips
    AsyncJob.perform_async()
    wait_until(lambda: redis.get("stat:processed") == b"3", 5)


def test_the_last_jobs_fail_while_a_thread_is_on_a_trip(make_app, run, redis, monkeypatch):
    """They leave nothing to acknowledge, and the trip had no free slot to fetch for."""
    app = make_app(concurrency=2)
    go_on = threading.Event()
    exchanges, runners, trips = [], [], []

    class GoodJob(app.Job):
        def perform(self):
            wait_until(lambda: len(exchanges[0].active) == 3)

    class AsyncJob(app.Job):
        async def perform(self):
            while not go_on.is_set():
                await asyncio.sleep(0.005)
            raise ValueError

    class BadJob(app.Job):
        def perform(self):
            assert go_on.wait(10)
            raise ValueError

    init = Exchange.__init__

    def experienced(self, *args):
        init(self, *args)
        self._runs = len(self._run_times)
        exchanges.append(self)

    def at(stage, call):
        if (stage, call) == ("sent", "ack") and threading.current_thread().name.endswith("/processor"):
            trips.append(call)
            go_on.set()
            wait_until(lambda: not exchanges[0].active)
            wait_until(lambda: runners and runners[0]._launcher.stations[0].manager._idle)

    monkeypatch.setattr(waiter, "STALE_S", 30)  # on a busy machine the second job would go back to its queue
    monkeypatch.setattr(Exchange, "__init__", experienced)
    monkeypatch.setattr(fault, "at", at)
    for job in (AsyncJob, GoodJob, BadJob):
        job.set(retry=False).perform_async()
    runners.append(run(app))
    wait_until(lambda: redis.get("stat:processed") == b"3", 5)
    assert trips
    AsyncJob.set(retry=False).perform_async()
    wait_until(lambda: redis.get("stat:processed") == b"4", 5)
