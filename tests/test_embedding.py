"""Embedded workers in real servers: gunicorn with threads, Python's own, an asyncio loop."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import os
import re
import signal
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commandline import CommandLine, Running, cli, make_cli, notes
from servers import free_port
from waiting import wait_until

EXAMPLE = Path(__file__).parents[1] / "examples" / "embedded"
QUICK = "heartbeat_interval=0.2, heartbeat_ttl=3, recovery_interval=0.2, poll_interval_average=0.1"
WEB = f"""
import os, time
from sidekiq_lua import Job, sidekiq

sidekiq.preset(dict({QUICK}, timeout=0.3))

@sidekiq.configure_embed
def worker(config):
    config.concurrency = 3

def note(text):
    sidekiq.transport().command("RPUSH", "notes", text)

class Gate(Job):
    def perform(self, n):
        note(f"in {{n}} {{os.getpid()}}")
        while not sidekiq.transport().command("EXISTS", "open"):
            time.sleep(0.01)
        note(f"out {{n}} {{os.getpid()}}")

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(Gate.perform_async(int(environ["PATH_INFO"][1:]))).encode()]
"""
HOOKS = (EXAMPLE / "gunicorn.conf.py").read_text()

Serve = Callable[..., tuple[Running, str]]


@pytest.fixture
def serve(cli: CommandLine) -> Serve:
    """Start gunicorn with one process of four threads; its server and the URL it listens at."""

    def begin(*args: str, hooks: str = HOOKS) -> tuple[Running, str]:
        cli.write("gunicorn.conf.py", hooks)
        cli.command = [sys.executable, "-W", "ignore", "-m", "gunicorn"]
        running = cli.start("-b", "127.0.0.1:0", *args, "web:application", ready="Listening at: ")
        url = wait_until(lambda: re.search(r"Listening at: (http://\S+)", running.output))[1]
        return running, url

    return begin


def get(url: str, method: str = "GET") -> str:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as reply:
        return str(reply.read().decode())


def pid_of(note: str) -> int:
    return int(note.split()[2])


def test_a_web_process_that_is_killed_leaves_its_jobs_to_the_next(
    cli: CommandLine, serve: Serve, redis: Any
) -> None:
    cli.write("web.py", WEB)
    running, url = serve()
    for n in range(3):
        get(f"{url}/{n}")
    wait_until(lambda: len(notes(redis)) == 3, 20)
    killed = pid_of(notes(redis)[0])
    assert {pid_of(note) for note in notes(redis)} == {killed} != {running.process.pid}
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(notes(redis)) == 6, 20, "the same jobs in another process")
    redis.set("open", 1)
    wait_until(lambda: redis.get("stat:processed") == b"3")
    outs = [note for note in notes(redis) if note.startswith("out")]
    assert sorted(note.split()[1] for note in outs) == ["0", "1", "2"]
    assert killed not in {pid_of(note) for note in outs}
    running.signal("TERM")
    assert running.end() == 0
    assert redis.smembers("processes") == set()


def test_a_server_that_ends_puts_back_what_does_not_end_in_time(
    cli: CommandLine, serve: Serve, redis: Any
) -> None:
    cli.write("web.py", WEB)
    running, url = serve()
    get(f"{url}/1")
    get(f"{url}/2")
    wait_until(lambda: len(notes(redis)) == 2, 20)
    running.signal("TERM")
    assert running.end() == 0
    assert "Pushed 2 jobs back to Redis" in running.output
    assert redis.llen("queue:default") == 2
    assert redis.smembers("processes") == set()
    assert not [*redis.scan_iter("lua:running:*"), *redis.scan_iter("lua:fallen:*")]
    assert redis.exists("retry", "stat:processed") == 0


@pytest.mark.slow  # one server more; the fork itself is tested in tests/worker/test_embedded.py
def test_under_preload_a_worker_that_starts_too_early_stays_where_it_is_and_says_so(
    cli: CommandLine, serve: Serve, redis: Any
) -> None:
    cli.write("web.py", WEB + "\nworker.run()\n")
    redis.set("open", 1)
    running, url = serve("--preload", hooks="threads = 2\n")
    get(f"{url}/1")
    wait_until(lambda: len(notes(redis)) == 2, 20)
    assert {pid_of(note) for note in notes(redis)} == {running.process.pid}
    assert running.output.count("forks while its embedded worker runs") == 1
    running.signal("TERM")
    assert running.end() == 0
    assert redis.smembers("processes") == set()


@pytest.mark.slow  # one server more; the fork itself is tested in tests/worker/test_embedded.py
def test_under_preload_with_the_hooks_each_process_has_its_own(
    cli: CommandLine, serve: Serve, redis: Any
) -> None:
    cli.write("web.py", WEB)
    running, _ = serve("--preload", "--workers", "2")
    wait_until(lambda: len(redis.smembers("processes")) == 2, 20)
    found = {int(identity.split(b":")[1]) for identity in redis.smembers("processes")}
    assert running.process.pid not in found
    assert "forks while" not in running.output
    running.signal("TERM")
    assert running.end() == 0
    assert redis.smembers("processes") == set()


BESIDE = f"""
import asyncio, sys, threading
from sidekiq_lua import AsyncClient, Sidekiq

app = Sidekiq({QUICK})
worker = app.configure_embed()

class WhereJob(app.Job):
    async def perform(self, n):
        app.transport().command("RPUSH", "notes", threading.current_thread().name)

async def main():
    ticks = 0
    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1
    ticking = asyncio.create_task(tick())
    await asyncio.to_thread(worker.run)
    started, ticks = ticks, 0
    async with AsyncClient(app) as client:
        for n in range(10):
            await client.push({{"class": "WhereJob", "args": [n]}})
    while app.transport().command("LLEN", "notes") < 10:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(worker.stop)
    ticking.cancel()
    print("went round while it started:", started > 0, "and after that:", ticks > 0)

asyncio.run(main())
"""


def test_beside_an_asyncio_loop(cli: CommandLine, redis: Any) -> None:
    cli.command = [sys.executable, "-c", BESIDE]
    done = cli.run()
    assert done.returncode == 0, done.stderr
    assert "went round while it started: True and after that: True" in done.stdout
    assert set(notes(redis)) == {"sidekiq.default/loop"}
    assert redis.get("stat:processed") == b"10"
    assert redis.smembers("processes") == set()


@pytest.mark.parametrize("kind", ["gunicorn", "python"])
def test_the_example(cli: CommandLine, serve: Serve, redis: Any, kind: str) -> None:
    cli.write("web.py", (EXAMPLE / "web.py").read_text())
    if kind == "gunicorn":
        running, url = serve()
    else:
        cli.command = [sys.executable, "web.py"]
        port = str(free_port())
        running = cli.start(ready="Listening on ", PORT=port)
        url = f"http://127.0.0.1:{port}"
    get(f"{url}/mail/ada@example.org", "POST")
    running.wait_for("has mailed ada@example.org")
    wait_until(lambda: get(url) == "1 jobs have run\n")
    running.signal("INT")
    assert running.end() == 0
    assert redis.smembers("processes") == set()


def test_the_docs_show_the_example_s_hooks() -> None:
    page = (EXAMPLE.parents[1] / "docs" / "embedding.md").read_text("utf-8")
    assert HOOKS.partition("\n\n\ndef")[2].strip() in page
    assert "examples/embedded" in page
