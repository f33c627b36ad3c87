"""A worker embedded in this process."""

from __future__ import annotations

import atexit
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
import setproctitle
from waiting import wait_until

from sidekiq_lua import ProcessSet, Sidekiq
from sidekiq_lua.errors import (
    AlreadyRunning,
    ConfigurationError,
    FrozenConfig,
    RedisUnavailable,
    SidekiqError,
    WrongProcess,
)
from sidekiq_lua.worker.embedded import Embedded
from sidekiq_lua.worker.marks import Marks

pytestmark = pytest.mark.own_keys


@pytest.fixture
def embed(app: Sidekiq) -> Any:
    """Embed the instance's worker; it is stopped at the end."""
    made = []

    def make(block: Any = None) -> Embedded:
        embedded = app.configure_embed(block)
        made.append(embedded)
        return embedded

    yield make
    for embedded in made:
        embedded.stop()


def test_it_runs_jobs_beside_the_clients_of_its_process(app: Sidekiq, embed: Any, redis: Any) -> None:
    ran = []

    class EchoJob(app.Job):  # type: ignore[misc, name-defined]
        def perform(self, text: str) -> None:
            ran.append(text)

    class SlowEchoJob(app.Job):  # type: ignore[misc, name-defined]
        async def perform(self, text: str) -> None:
            ran.append(text)

    EchoJob.perform_async("before")
    embedded = embed()
    title, handlers = (
        setproctitle.getproctitle(),
        [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)],
    )
    embedded.run()
    EchoJob.perform_async("after")
    SlowEchoJob.perform_async("async")
    wait_until(lambda: sorted(ran) == ["after", "async", "before"])
    [process] = ProcessSet(app)
    assert (process.identity, process.is_embedded) == (embedded.runner.identity, True)
    assert process["concurrency"] == 2
    with pytest.raises(SidekiqError, match="embedded"):
        process.stop()
    assert setproctitle.getproctitle() == title
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    embedded.stop()
    assert redis.smembers("processes") == set()
    assert EchoJob.perform_async("still a client")


def test_blocks_run_in_their_order_and_the_last_has_the_last_word(make_app: Any) -> None:
    app, order = make_app(), []
    app.configure_server(lambda config: order.append("server"))
    app.configure_client(lambda config: order.append("client"))

    @app.configure_embed
    def worker(config: Any) -> None:
        order.append("embed")
        assert config.concurrency == 2
        config.concurrency = 3

    app.configure_client(lambda config: order.append("late"))
    assert app.config.concurrency == 3
    assert isinstance(worker, Embedded)
    assert order == ["client", "server", "embed", "late"]


def test_a_concurrency_that_somebody_has_set_stays(make_app: Any) -> None:
    app = make_app(concurrency=5)
    app.configure_embed()
    assert app.config.concurrency == 5


def test_pools_made_before_have_room_for_both(app: Sidekiq, embed: Any) -> None:
    before = app.transport()
    assert before.size == 10
    embed(lambda config: config.update({"concurrency": 4})).run()
    assert app.transport() is before
    assert before.size == 24
    assert before._slots.qsize() >= 18  # the worker uses some of the 24


def test_twice_is_an_error_and_again_after_a_stop_is_not(embed: Any) -> None:
    embedded = embed()
    embedded.stop()
    embedded.quiet()
    assert embedded.runner is None
    embedded.run()
    first = embedded.runner.identity
    with pytest.raises(AlreadyRunning, match=f"{first} runs already"):
        embedded.run()
    embedded.quiet()
    embedded.stop()
    embedded.stop()
    assert embedded.runner is None
    with embedded:
        assert embedded.runner.identity != first
    assert embedded.runner is None


def test_after_a_start_it_is_too_late_to_configure_another(app: Sidekiq, embed: Any) -> None:
    embed().run()
    with pytest.raises(FrozenConfig, match="too late"):
        app.configure_embed()


def test_not_within_a_configure_block(make_app: Any) -> None:
    app = make_app()
    app.configure_client(lambda config: app.configure_embed())
    with pytest.raises(ConfigurationError, match="outside of configure blocks"):
        assert app.config.concurrency


def test_a_start_without_redis_fails_leaves_nothing_and_may_be_tried_again(
    make_app: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, closed = make_app(redis="redis://127.0.0.1:1/0"), []
    monkeypatch.setattr(Marks, "close", lambda marks: closed.append(marks))
    embedded = app.configure_embed()
    threads = threading.active_count()
    with pytest.raises(RedisUnavailable):
        embedded.run()
    assert embedded.runner is None
    assert (threading.active_count(), len(closed)) == (threads, 1)
    monkeypatch.undo()
    app.redirect = lambda pool: url
    app.close()
    with embedded:
        assert embedded.runner.identity


def test_a_stop_puts_back_what_does_not_end_in_time(make_app: Any, redis: Any) -> None:
    app = make_app(timeout=0.3)
    inside, go = threading.Event(), threading.Event()

    class HoldJob(app.Job):  # type: ignore[misc, name-defined]
        def perform(self) -> None:
            inside.set()
            go.wait(20)

    HoldJob.perform_async()
    embedded = app.configure_embed()
    embedded.run()
    assert inside.wait(10)
    stopping = threading.Thread(target=embedded.stop)
    stopping.start()
    wait_until(lambda: redis.llen("queue:default"))
    go.set()
    embedded.stop()
    stopping.join(10)
    assert not stopping.is_alive()
    assert redis.llen("queue:default") == 1
    assert not list(redis.scan_iter("lua:running:*"))


def test_a_class_that_is_not_there_yet_is_said(make_app: Any, log: Any) -> None:
    with make_app().configure_embed():
        assert "WARN" in log.getvalue()
        assert "no job class of this instance is defined yet" in log.getvalue()


FORKED = """
import os, sys, threading
from sidekiq_lua import Formatters, Sidekiq, SidekiqLogger
from sidekiq_lua.errors import WrongProcess

app = Sidekiq(redis={url!r}, heartbeat_interval=0.2, heartbeat_ttl=2, recovery_interval=0.2)

class WhoJob(app.Job):
    def perform(self):
        app.transport().command("RPUSH", "who", str(os.getpid()))

worker = app.configure_embed()
worker.run()
child = os.fork()
if not child:
    for call in (worker.stop, worker.quiet):
        try:
            call()
        except WrongProcess as error:
            print(error, flush=True)
    assert worker.runner is None
    if {start}:
        worker.run()
    sys.stdin.readline()
    worker.stop() if {start} else None
    sys.exit(0)
app.transport().command("SET", "child", str(child))
_, status = os.waitpid(child, 0)
print("ended", status, len(app.transport().command("SMEMBERS", "processes")), flush=True)
worker.stop()
"""


@pytest.mark.parametrize("start", [False, True])
def test_a_fork_of_a_running_one_is_said_and_does_not_touch_it(url: str, redis: Any, start: bool) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORKED.format(url=url, start=start)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: len(redis.smembers("processes")) == 1 + start, 20)
        for n in range(20):
            redis.lpush("queue:default", f'{{"class":"WhoJob","args":[],"jid":"{n}"}}')
        wait_until(lambda: redis.llen("who") == 20)
        output, _ = process.communicate("go\n", 30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert output.count("forks while its embedded worker runs") == 1
    assert output.count(f"runs in pid {process.pid}, from which this process") == 2
    assert "ended 0 1" in output
    ran_in = {int(pid) for pid in redis.lrange("who", 0, -1)}
    assert ran_in <= {process.pid, int(redis.get("child"))}
    assert start or ran_in == {process.pid}
    assert redis.smembers("processes") == set()
    assert redis.get("stat:processed") == b"20"


LEFT = """
import asyncio, threading, time
from sidekiq_lua import ProcessSet, Sidekiq

app = Sidekiq(redis={url!r}, timeout=0.5)

class HoldJob(app.Job):
    def perform(self):
        app.transport().command("RPUSH", "inside", "1")
        for _ in range(2000):
            time.sleep(0.01)

class FailJob(app.Job):
    async def perform(self):
        app.transport().command("RPUSH", "inside", "1")
        await asyncio.sleep(0.2)
        raise ValueError

app.configure_embed().run()
HoldJob.perform_async()
FailJob.perform_async()
while app.transport().command("LLEN", "inside") < 2:
    time.sleep(0.01)
"""


def test_a_process_that_ends_without_a_stop_leaves_no_job_behind(url: str, redis: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT.format(url=url)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "Pushed 1 jobs back to Redis" in done.stdout
    assert (redis.llen("queue:default"), redis.zcard("retry")) == (1, 1)
    assert redis.smembers("processes") == set()
    assert not list(redis.scan_iter("lua:fallen:*"))


EXECUTORS = """
import asyncio, threading, time
from sidekiq_lua import Sidekiq

app = Sidekiq(redis={url!r}, timeout=5, poll_interval_average=0.1)
go = threading.Event()

class PooledJob(app.Job):
    sidekiq_options = {{"retry": False}}

    async def perform(self, n):
        app.transport().command("RPUSH", "inside", str(n))
        await asyncio.to_thread(go.wait, 0.3)
        await asyncio.to_thread(go.wait, 0.3)
        app.transport().command("RPUSH", "done", str(n))

app.configure_embed().run()
for n in range(5):
    PooledJob.perform_async(n)
while app.transport().command("LLEN", "inside") < 2:
    time.sleep(0.01)
if {served}:
    def serve():
        time.sleep(0.5)
        app.transport().command("SET", "busy", str(len(app.transport().command("SMEMBERS", "processes"))))
    threading.Thread(target=serve).start()
"""


def test_what_jobs_do_in_executors_is_finished_when_a_process_ends_without_a_stop(
    url: str, redis: Any
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXECUTORS.format(url=url, served=False)],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert redis.get("stat:failed") is None
    assert redis.llen("done") + redis.llen("queue:default") == 5
    assert redis.llen("done") >= 2


def test_the_worker_goes_on_as_long_as_a_thread_of_its_process(url: str, redis: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXECUTORS.format(url=url, served=True)],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert redis.get("busy") == b"1"
    assert redis.smembers("processes") == set()


def test_nothing_is_left_to_do_at_exit_after_a_stop(embed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda function: calls.append(("on", function)))
    monkeypatch.setattr(atexit, "unregister", lambda function: calls.append(("off", function)))
    embedded = embed()
    embedded.run()
    embedded.stop()
    assert calls == [("on", embedded._at_exit), ("off", embedded._at_exit)]


def test_wrong_process_is_an_error_of_ours() -> None:
    assert issubclass(WrongProcess, SidekiqError)
