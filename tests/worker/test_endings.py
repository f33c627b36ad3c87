"""What ends a thread, a loop or a process of the worker, or keeps it from making more, costs no other job."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from waiting import wait_until

from sidekiq_lua.errors import Shutdown
from sidekiq_lua.store import fault
from sidekiq_lua.worker.forked import end_fork


@pytest.mark.parametrize("how", ["exit", "interrupt", "stop"])
def test_a_job_that_ends_the_event_loop_ends_no_other_job(app, run, redis, how):
    """asyncio lets SystemExit of a task that a job has made leave the loop."""

    class LeaveJob(app.Job):
        sidekiq_options = {"retry": 0}

        async def perform(self):
            async def leave():
                if how == "stop":
                    asyncio.get_running_loop().stop()
                    raise ValueError
                raise SystemExit(2) if how == "exit" else KeyboardInterrupt

            await asyncio.wait_for(leave(), 10)

    class FineJob(app.Job):
        async def perform(self):
            await asyncio.sleep(0)

    run(app)
    for _ in range(3):
        LeaveJob.perform_async()
        FineJob.perform_async()
    wait_until(lambda: redis.get("stat:processed") == b"6")
    names = {"exit": "SystemExit", "interrupt": "KeyboardInterrupt", "stop": "ValueError"}
    assert [json.loads(raw)["error_class"] for raw in redis.zrange("dead", 0, -1)] == [names[how]] * 3


@pytest.mark.parametrize("allowed", [0, 2])
def test_where_no_thread_can_be_started_no_job_is_stuck(make_app, run, redis, log, monkeypatch, allowed):
    app = make_app(concurrency=5)
    start, refused, made = threading.Thread.start, threading.Event(), []

    def limited(thread):
        if thread.name.endswith("/processor") and not open_.is_set():
            if len(made) >= allowed:
                refused.set()
                raise RuntimeError("can't start new thread")
            made.append(thread)
        start(thread)

    class NapJob(app.Job):
        def perform(self):
            threading.Event().wait(0.02)

    open_ = threading.Event()
    monkeypatch.setattr(threading.Thread, "start", limited)
    runner = run(app)
    NapJob.perform_bulk([[] for _ in range(30)])
    assert refused.wait(10)
    if not allowed:
        open_.set()
    wait_until(lambda: redis.get("stat:processed") == b"30")
    runner.stop()
    assert not redis.exists("lua:owners")
    assert log.getvalue().count("can't start new thread") == 1


def test_an_async_job_is_tried_again_where_the_loop_could_not_be_started(make_app, run, redis, monkeypatch):
    """It had not begun: the dead set, where nobody would try it again, is no place for it."""
    app = make_app(concurrency=5)
    start, refused = threading.Thread.start, []

    def limited(thread):
        if thread.name.endswith("/loop") and not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    class NapJob(app.Job):
        async def perform(self):
            await asyncio.sleep(0)

    monkeypatch.setattr(threading.Thread, "start", limited)
    NapJob.perform_async()
    run(app)
    wait_until(lambda: redis.zcard("retry") == 1 or redis.zcard("dead"))
    (raw,) = redis.zrange("retry", 0, -1)
    assert json.loads(raw)["error_message"] == "can't start new thread"
    NapJob.perform_async()
    wait_until(lambda: redis.get("stat:processed") == b"2")
    assert redis.get("stat:failed") == b"1"


def test_a_failed_async_job_is_settled_once_where_no_thread_can_be_started(make_app, run, redis, monkeypatch):
    """The executor keeps in its queue what it could start no thread for."""
    app = make_app(concurrency=5)
    start, told, go_on = threading.Thread.start, [], threading.Event()

    def limited(thread):
        if "/settler_" in thread.name and not thread.name.endswith("_0"):
            raise RuntimeError("can't start new thread")
        start(thread)

    @app.config.error_handler
    def tell(error, context, config):
        told.append(context["job"]["args"][0])
        if "/settler_" in threading.current_thread().name:
            go_on.wait(10)

    class FailJob(app.Job):
        async def perform(self, n):
            raise ValueError

    monkeypatch.setattr(threading.Thread, "start", limited)
    run(app)
    for n in range(3):
        if n == 2:
            go_on.set()
        FailJob.perform_async(n)
        wait_until(lambda: n in told)  # noqa: B023
    assert told == [0, 1, 2]


FORKS = """
import os, sys
from sidekiq_lua import Sidekiq
app = Sidekiq(redis={url!r}, heartbeat_interval=0.2, heartbeat_ttl=2, recovery_interval=0.2)

def fork(how):
    child = os.fork()
    if not child:
        if how == "exit":
            sys.exit(7)
        if how == "raise":
            raise ValueError("in the child")
        return
    app.transport().command("SET", "code", str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    app.transport().command("RENAME", "stat:processed", "early") if app.transport().command(
        "EXISTS", "stat:processed") else None

class SyncJob(app.Job):
    def perform(self, how):
        fork(how)

class AsyncJob(app.Job):
    async def perform(self, how):
        fork(how)

class ItemsJob(app.IterableJob):
    def build_enumerator(self, how, cursor):
        return ((n, n) for n in range(cursor or 0, 3))

    def each_iteration(self, n, how):
        app.transport().command("INCR", f"item:{{n}}")
        if n == 1:
            fork(how)

runner = app.run()
sys.stdin.readline()
runner.stop()
"""


@pytest.mark.own_keys
@pytest.mark.parametrize("kind", ["Sync", "Async", "Items"])
@pytest.mark.parametrize("how", ["return", "exit", "raise"])
def test_a_fork_that_comes_out_of_perform_ends_there(url, redis, kind, how):
    """It would settle its parent's job, and run others in the parent's name."""
    redis.lpush("queue:default", f'{{"class":"{kind}Job","args":["{how}"],"jid":"a"}}')
    worker = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORKS.format(url=url)], stdin=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: redis.get("stat:processed") == b"1", 20)
        worker.communicate(b"go\n", 20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
    assert redis.get("code") == {"return": b"0", "exit": b"7", "raise": b"1"}[how]
    assert not redis.exists("early", "retry", "stat:failed", "lua:owners")
    if kind == "Items":
        assert redis.mget("item:0", "item:1", "item:2") == [b"1", b"1", b"1"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (SystemExit(), 0), (SystemExit(3), 3), (SystemExit("no"), 1), (ValueError("x"), 1)],
)
def test_a_fork_leaves_with_the_code_of_a_program(error, code):
    child = os.fork()
    if not child:
        sys.stderr = io.StringIO()
        end_fork(error)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code


@pytest.mark.parametrize("stage", ["before", "sent", "after"])
def test_a_shutdown_in_the_middle_of_a_trip_loses_no_acknowledgement(
    app, run, redis, log, monkeypatch, stage
):
    """At the hard deadline it is raised into a thread whose job may have ended just before."""
    raised = []

    def at(now, name):
        mine = threading.current_thread().name.endswith("/processor")
        if mine and now == stage and name.startswith("ack") and not raised:
            raised.append(name)
            raise Shutdown

    monkeypatch.setattr(fault, "at", at)

    class FineJob(app.Job):
        def perform(self):
            pass

    runner = run(app)
    FineJob.perform_async()
    wait_until(lambda: redis.get("stat:processed") == b"1")
    runner.stop()
    assert raised
    assert not redis.exists("lua:owners")
    assert "settled elsewhere" not in log.getvalue()


def test_a_beat_handler_that_exits_does_not_end_the_heartbeat(app, run, redis):
    beats = []

    @app.config.on("beat")
    def leave():
        beats.append(1)
        sys.exit(1)

    run(app)
    wait_until(lambda: len(beats) > 2)


def test_handlers_that_exit_do_not_end_the_fetcher(app, run, redis, monkeypatch):
    """A job that could not be settled at once is settled, and its death told, in the fetcher's thread."""

    @app.config.death_handler
    @app.config.error_handler
    def leave(*told):
        sys.exit(1)

    refused = []

    def at(stage, name):
        if stage == "before" and name == "bury" and not refused:
            refused.append(name)
            raise OSError("away")

    monkeypatch.setattr(fault, "at", at)

    class DieJob(app.Job):
        sidekiq_options = {"retry": 0}

        def perform(self):
            raise ValueError

    class FineJob(app.Job):
        def perform(self):
            pass

    DieJob.perform_async()
    run(app)
    wait_until(lambda: redis.zcard("dead") == 1)
    for n in range(1, 3):
        FineJob.perform_async()
        wait_until(lambda n=n: redis.get("stat:processed") == str(n + 1).encode())
