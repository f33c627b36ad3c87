"""The event loop on which async jobs run: what it keeps of them, and what one sees of another."""

import asyncio
import json
import re
import threading
from contextvars import ContextVar

from waiting import wait_until

from sidekiq_lua.context import tid
from sidekiq_lua.store import fault

seen = ContextVar("seen", default="nothing")


def test_jobs_have_short_names_and_nothing_of_them_is_kept(make_app, run, redis):
    app = make_app(concurrency=3)
    names = []

    class NoteJob(app.Job):
        async def perform(self, nap):
            names.append(tid())
            if nap:
                await asyncio.sleep(0)

    NoteJob.perform_bulk([[n % 2] for n in range(400)])
    runner = run(app)
    wait_until(lambda: redis.get("stat:processed") == b"400")

    assert len(set(names)) == 400
    assert all(re.fullmatch(r"[0-9a-z]+-[0-9a-z]+", name) for name in names), names[-1]
    (station,) = runner._launcher.stations
    assert not station.loop._tasks


def test_what_a_job_sets_is_seen_by_none_and_by_nothing_between_them(make_app, run, redis):
    found = []

    def load(text):
        found.append(seen.get())
        return json.loads(text)

    app = make_app(concurrency=2, load_json=load)

    class SetJob(app.Job):
        async def perform(self, n):
            found.append(seen.get())
            seen.set(n)
            await asyncio.sleep(0)

    SetJob.perform_bulk([[n] for n in range(300)])
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"300")

    assert len(found) >= 600
    assert set(found) == {"nothing"}


def test_jobs_that_are_cut_off_are_cancelled_wherever_they_are(make_app, run, redis):
    app = make_app(concurrency=3, timeout=0.1)
    ended = []

    class LongJob(app.Job):
        async def perform(self, n):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append(n)
                raise

    LongJob.perform_bulk([[n] for n in range(3)])
    runner = run(app)
    wait_until(lambda: runner.busy == 3)
    runner.stop()

    assert sorted(ended) == [0, 1, 2]
    assert redis.llen("queue:default") == 3


def test_what_was_put_back_before_the_loop_came_to_it_is_not_begun(make_app, run, redis):
    """A job keeps the loop from the others until the deadline: they run elsewhere by now."""
    app = make_app(concurrency=3, timeout=0.1)
    blocks, go_on, ran = threading.Event(), threading.Event(), []

    class BlockJob(app.Job):
        async def perform(self):
            blocks.set()
            assert go_on.wait(20)

    class NextJob(app.Job):
        async def perform(self, n):
            ran.append(n)

    BlockJob.perform_async()
    runner = run(app)
    assert blocks.wait(10)
    NextJob.perform_bulk([[n] for n in range(2)])
    wait_until(lambda: runner.busy == 3)
    stop = threading.Thread(target=runner.stop)
    stop.start()
    wait_until(lambda: redis.llen("queue:default") == 3)
    go_on.set()
    stop.join(20)

    assert ran == []
    assert runner.busy == 0


def test_a_stop_waits_for_the_retry_of_one_that_has_failed(make_app, run, redis, monkeypatch):
    app = make_app(concurrency=1)
    runner, retries = run(app), threading.Event()

    def at(stage, name):
        if (stage, name) == ("before", "retry"):
            retries.set()
            wait_until(lambda: runner._launcher.stations[0].manager._ended)
            threading.Event().wait(0.3)  # the stop goes on

    class FailJob(app.Job):
        async def perform(self):
            raise ValueError

    monkeypatch.setattr(fault, "at", at)
    FailJob.perform_async()
    assert retries.wait(10)
    runner.stop()

    assert redis.zcard("retry") == 1
    assert not redis.exists("lua:owners")
