"""Somebody always comes for a job that has ended, whoever is on a trip to Redis at that moment."""

import asyncio
import sys
import threading
from types import SimpleNamespace

import pytest
from waiting import wait_until

from sidekiq_lua.store import fault
from sidekiq_lua.worker import waiter
from sidekiq_lua.worker.exchange import Exchange
from sidekiq_lua.worker.manager import Manager, Seat
from sidekiq_lua.worker.pace import HISTORY
from sidekiq_lua.worker.station import Station


@pytest.fixture
def scene(monkeypatch):
    """Exchanges that have learnt that jobs are short, and so take more of them than they have free slots; and
    a moment in the middle of a trip, at which `scene.go_on` is set and all that runs ends and rests."""
    made = SimpleNamespace(go_on=threading.Event(), exchanges=[], trips=[], who="")
    init = Exchange.__init__

    def experienced(self, *args):
        init(self, *args)
        for _ in range(HISTORY):
            self.pace.ran(0.0001)
        made.exchanges.append(self)

    def at(stage, call):
        if (stage, call) == ("sent", "ack") and threading.current_thread().name.endswith(made.who):
            made.trips.append(call)
            made.go_on.set()
            wait_until(lambda: not made.exchanges[0].active)
            wait_until(rests)

    def rests():
        """Whether a thread rests, and has made sure that there is nothing to do."""
        return any(frame.f_code is Seat.wait.__code__ for frame in sys._current_frames().values())

    def calm():
        """Whether the waiter waits as well."""
        fetcher = next(t for t in threading.enumerate() if t.name.endswith("/fetcher"))
        selects = sys._current_frames()[fetcher.ident].f_code.co_name == "select"
        return rests() and selects and not made.exchanges[0].alarm.__self__._rung

    made.calm = calm
    monkeypatch.setattr(waiter, "REARM_S", 30)  # nor shall that help out
    monkeypatch.setattr(waiter, "STALE_S", 30)  # on a busy machine the second job would go back to its queue
    monkeypatch.setattr(Exchange, "__init__", experienced)
    monkeypatch.setattr(fault, "at", at)
    return made


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_a_job_that_ends_while_the_waiter_is_on_a_trip(make_app, run, redis, scene, ends):
    """Its thread finds the trip taken and rests. Nothing is waited for then, so no push would help."""
    app = make_app(concurrency=1)
    scene.who = "/fetcher"

    class AsyncJob(app.Job):
        async def perform(self):
            while not scene.calm():  # else the thread might acknowledge it
                await asyncio.sleep(0.005)

    class SyncJob(app.Job):
        def perform(self):
            scene.exchanges[0].alarm()
            assert scene.go_on.wait(10)
            if ends == "badly":
                raise ValueError

    AsyncJob.perform_async()
    SyncJob.set(retry=False).perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"2", 5)
    assert scene.trips
    AsyncJob.perform_async()
    wait_until(lambda: redis.get("stat:processed") == b"3", 5)


def test_the_last_jobs_fail_while_a_thread_is_on_a_trip(make_app, run, redis, scene):
    """They leave nothing to acknowledge, and the trip had no free slot to fetch for."""
    app = make_app(concurrency=2)
    scene.who = "/processor"

    class GoodJob(app.Job):
        def perform(self):
            # The other thread shall not make the trip before the third one has begun.
            wait_until(lambda: len(scene.exchanges[0].active) == 2 and scene.calm())

    class BadJob(app.Job):
        async def perform(self):
            while not scene.go_on.is_set():
                await asyncio.sleep(0.005)
            raise ValueError

    for job in (GoodJob, BadJob, BadJob):
        job.set(retry=False).perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"3", 5)
    assert scene.trips
    BadJob.set(retry=False).perform_async()
    wait_until(lambda: redis.get("stat:processed") == b"4", 5)


def test_the_last_job_fails_while_the_waiter_is_on_its_second_trip_in_a_row(
    make_app, run, redis, scene, monkeypatch
):
    """The first one left it something to acknowledge; the second had no free slot to fetch for."""
    app = make_app(concurrency=1)
    scene.who = "/fetcher"
    begun, end_second = threading.Event(), threading.Event()
    at = fault.at

    def twice(stage, call):
        if (stage, call) == ("sent", "ack") and not end_second.is_set():
            end_second.set()
            assert begun.wait(10)
        else:
            at(stage, call)

    class FirstJob(app.Job):
        async def perform(self):
            while not scene.calm():
                await asyncio.sleep(0.005)

    class SecondJob(app.Job):
        def perform(self):
            scene.exchanges[0].alarm()
            assert end_second.wait(10)

    class BadJob(app.Job):
        def perform(self):
            begun.set()
            assert scene.go_on.wait(10)
            raise ValueError

    for job in (FirstJob, SecondJob, BadJob):
        job.set(retry=False).perform_async()
    monkeypatch.setattr(fault, "at", twice)
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"3", 5)
    assert scene.trips
    FirstJob.perform_async()
    wait_until(lambda: redis.get("stat:processed") == b"4", 5)


def test_an_async_job_fails_while_the_only_thread_is_about_to_rest(make_app, run, redis, monkeypatch):
    """Its trip had no slot to fetch for, it cannot be woken before it rests, and nothing is waited for."""
    app = make_app(concurrency=1)
    resting, fail, failed = threading.Event(), threading.Event(), threading.Event()
    rest, slot_freed = Manager._rest, Station._slot_freed

    def slow_rest(self, seat):
        if self._exchange.active and not failed.is_set():
            resting.set()
            assert failed.wait(10)
        rest(self, seat)

    def heard(self):
        slot_freed(self)
        failed.set()

    class AsyncJob(app.Job):
        async def perform(self):
            while not fail.is_set():
                await asyncio.sleep(0.005)
            raise ValueError

    class SyncJob(app.Job):
        def perform(self):
            pass

    monkeypatch.setattr(Manager, "_rest", slow_rest)
    monkeypatch.setattr(Station, "_slot_freed", heard)
    monkeypatch.setattr(waiter, "REARM_S", 30)
    monkeypatch.setattr(waiter, "ABOUND_S", 30)  # so that the thread is woken beside the job that begins
    run(app)
    wait_until(lambda: redis.info("clients")["blocked_clients"] == 1)
    AsyncJob.set(retry=False).perform_async()
    assert resting.wait(10)
    SyncJob.perform_async()
    fail.set()
    wait_until(lambda: redis.get("stat:processed") == b"2", 5)
