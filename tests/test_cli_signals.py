"""How signals reach a worker, and how it ends."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from commandline import JOBS, CommandLine, Running, cli, heartbeat, make_cli, notes, push
from waiting import wait_until

CLOSE = """
    class Close(Job):
        def perform(self):
            sys.stdout.close()
    class Replace(Job):
        def perform(self):
            sys.stdout = Lines()
    class Linger(Job):
        def perform(self):
            sys.stdout.close()
            threading.Thread(target=time.sleep, args=[60], daemon=False).start()
    class Lines:  # as some send to their log what is printed
        def write(self, text): return len(text)
        def flush(self): pass
"""
QUICK = "heartbeat_interval: 0.1\npoll_interval_average: 0.1\n"


@pytest.fixture
def busy(cli: CommandLine, redis: Any) -> Running:
    """A worker that runs a job, which waits for something in the list `gate`."""
    cli.write("jobs.py", JOBS)
    cli.write("sidekiq.yml", QUICK)
    running = cli.start("worker", "-r", "jobs", "-c", "2")
    push(redis, "Gate", 60)
    wait_until(lambda: notes(redis) == ["inside"])
    return running


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_a_signal_lets_the_running_job_finish(busy: Running, redis: Any, name: str) -> None:
    busy.signal(name)
    busy.wait_for("Pausing to allow jobs to finish")
    redis.rpush("gate", "open")
    assert busy.end() == 0
    assert notes(redis) == ["inside", "through"]
    assert redis.get("stat:processed") == b"1"
    assert redis.smembers("processes") == set()
    assert busy.output.rstrip().endswith("Bye!")


@pytest.mark.parametrize("options", [(), ("--processes", "2")])
def test_an_interrupt_that_is_swallowed_in_an_import_ends_it_all_the_same(
    cli: CommandLine, redis: Any, options: tuple[str, ...]
) -> None:
    """As Python drops one in a callback of its import locks, and as `except:` catches it."""
    swallow = "import contextlib, os, signal, time\n\nwith contextlib.suppress(KeyboardInterrupt):\n"
    swallow += "    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(10)\n"
    cli.write("jobs.py", swallow + JOBS)
    push(redis, "Note", "begun")
    done = cli.run("worker", "-r", "jobs", *options)
    assert done.returncode == 130
    assert done.stderr.rstrip().endswith("sidekiq-lua: interrupted")
    assert notes(redis) == []


@pytest.mark.parametrize("options", [(), ("--processes", "1")])
def test_signals_that_come_during_the_imports_wait_for_the_worker(
    cli: CommandLine, redis: Any, options: tuple[str, ...]
) -> None:
    """They stopped the process, which TERM could not end then, or ended it."""
    slow = "import time\n\nprint('importing', flush=True)\ntime.sleep(0.5)\n"
    cli.write("jobs.py", slow + dedent(JOBS))
    running = cli.start("worker", "-r", "jobs", *options, ready="importing")
    for name in ("USR1", "USR2", "TTIN", "TSTP"):
        running.signal(name)
    running.wait_for("Scheduler exiting...")
    running.signal("TERM")
    assert running.end() == 0
    assert all(running.output.count(f"Got {name}") == 1 for name in ("USR1", "USR2", "TTIN", "TSTP"))


@pytest.mark.parametrize(("first", "second"), [("INT", "INT"), ("TERM", "INT"), ("INT", "TERM")])
def test_a_second_signal_forces_the_exit(busy: Running, redis: Any, first: str, second: str) -> None:
    busy.signal(first)
    busy.wait_for("Pausing to allow jobs to finish")

    def ended() -> bool:
        busy.signal(second)
        return busy.process.poll() is not None

    wait_until(ended)
    assert busy.end() == 1
    assert f"Got {second} while stopping: forced exit, 1 running" in busy.output
    assert notes(redis) == ["inside"]
    (kept,) = redis.keys("lua:running:*")
    assert redis.llen(kept) == 1


def test_signals_that_arrive_together_are_one(busy: Running, redis: Any) -> None:
    for name in ("INT", "TERM", "INT", "TERM"):
        busy.signal(name)
    busy.wait_for("Pausing to allow jobs to finish")
    redis.rpush("gate", "open")
    assert busy.end() == 0
    assert notes(redis) == ["inside", "through"]


def test_jobs_that_outlast_the_time_out_go_back(cli: CommandLine, redis: Any) -> None:
    cli.write("jobs.py", JOBS)
    running = cli.start("worker", "-r", "jobs", "-t", "0.2")
    push(redis, "Gate", 2)
    wait_until(lambda: notes(redis) == ["inside"])
    running.signal("TERM")
    assert running.end() == 0
    assert redis.llen("queue:default") == 1


def test_tstp_stops_fetching_and_shows_in_redis(busy: Running, redis: Any) -> None:
    assert heartbeat(redis)["quiet"] == "false"
    busy.signal("TSTP")
    wait_until(lambda: heartbeat(redis)["quiet"] == "true")
    push(redis, "Note", "too late")
    redis.rpush("gate", "open")
    wait_until(lambda: heartbeat(redis)["busy"] == "0" and notes(redis) == ["inside", "through"])
    assert redis.llen("queue:default") == 1
    busy.signal("TERM")
    assert busy.end() == 0
    assert redis.llen("queue:default") == 1


def test_nobody_reads_the_log(cli: CommandLine, redis: Any) -> None:
    cli.write("jobs.py", JOBS)
    reader, writer = os.pipe()
    os.close(reader)
    running = cli.start("worker", "-r", "jobs", ready="the log cannot be written", stdout=writer)
    os.close(writer)
    push(redis, "Note", "done")
    wait_until(lambda: notes(redis) == ["done"])
    running.signal("TERM")
    assert running.end() == 0
    assert running.output.count("\n") == 1, running.output


@pytest.mark.parametrize("options", [(), ("--processes", "1")])
@pytest.mark.parametrize("job", ["Close", "Replace", "Linger"])
def test_a_job_has_closed_the_standard_output(
    cli: CommandLine, redis: Any, job: str, options: tuple[str, ...]
) -> None:
    """Or has put something else in its place, or has left a thread behind, too."""
    cli.write("jobs.py", "    import sys, threading, time\n" + JOBS + CLOSE)
    running = cli.start("worker", "-r", "jobs", *options, ready="Booted")
    push(redis, job)
    wait_until(lambda: redis.get("stat:processed") == b"1")
    push(redis, "Note", "done")
    wait_until(lambda: notes(redis) == ["done"])
    running.signal("TERM")
    assert running.end() == 0
    assert "Traceback" not in running.output
    assert "exit code" not in running.output


def test_ttin_logs_every_thread(busy: Running) -> None:
    busy.signal("TTIN")
    busy.wait_for("sidekiq.heartbeat")
    busy.wait_for("in perform")
    assert busy.process.poll() is None


@pytest.mark.parametrize(("sent", "code"), [("TERM", 0), ("TSTP", None)])
def test_a_signal_through_redis(busy: Running, redis: Any, sent: str, code: int | None) -> None:
    (identity,) = redis.smembers("processes")
    redis.lpush(f"{identity.decode()}-signals", sent)
    busy.wait_for(f"Got {sent} through Redis")
    redis.rpush("gate", "open")
    if code is None:
        wait_until(lambda: heartbeat(redis)["quiet"] == "true")
        busy.signal("TERM")
    assert busy.end() == 0
    assert notes(redis) == ["inside", "through"]


def test_a_child_of_a_job_keeps_its_signals_to_itself(cli: CommandLine, redis: Any) -> None:
    cli.write(
        "jobs.py",
        f"""{JOBS}
    import os, signal

    class Fork(Job):
        def perform(self):
            for _ in range(30):
                child = os.fork()
                if not child:
                    signal.pause()
                    os._exit(7)
                os.kill(child, signal.SIGTERM)
                note(str(os.waitpid(child, 0)[1]))
    """,
    )
    running = cli.start("worker", "-r", "jobs", PYTHONWARNINGS="ignore")
    push(redis, "Fork")
    push(redis, "Note", "still here")
    wait_until(lambda: len(notes(redis)) == 31)
    assert sorted(notes(redis)) == [str(int(signal.SIGTERM))] * 30 + ["still here"]
    assert "Got TERM" not in running.output
    running.signal("TERM")
    assert running.end() == 0


POOLS = f"""{JOBS}
    import asyncio, atexit
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

    POOL = ThreadPoolExecutor()

    @sidekiq.configure_server
    def configure(config):
        config.on("startup", lambda: POOL.submit(int).result())
        atexit.register(print, "an orderly end", flush=True)

    class Stuck(Job):
        async def perform(self):
            note("inside")
            await asyncio.to_thread(time.sleep, 60)

    class Forked(Job):
        async def perform(self):
            pool = ProcessPoolExecutor(1)
            await asyncio.get_running_loop().run_in_executor(pool, int)
            note(next(iter(pool._processes)))
            await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 60)
"""


@pytest.mark.parametrize("options", [(), ("--processes", "1")])
def test_idle_threads_of_an_executor_are_ended(cli: CommandLine, options: tuple[str, ...]) -> None:
    """They were waited for, and cut off together with what `atexit` had."""
    cli.write("jobs.py", POOLS)
    running = cli.start("worker", "-r", "jobs", *options, ready="Booted")
    running.signal("TERM")
    assert running.end() == 0
    assert "cut off" not in running.output
    assert running.output.count("an orderly end") == len(options[:1]) + 1


def test_an_executor_that_a_job_left_busy_does_not_keep_the_process(cli: CommandLine, redis: Any) -> None:
    """After "Bye!" it ended no sooner than the call, whatever signals came."""
    cli.write("jobs.py", POOLS)
    running = cli.start("worker", "-r", "jobs", "-t", "0.5")
    push(redis, "Stuck")
    wait_until(lambda: notes(redis) == ["inside"])
    running.signal("TERM")
    assert running.end() == 0
    assert "These threads do not end, and are cut off: asyncio_0" in running.output


@pytest.mark.parametrize("options", [(), ("--processes", "1")])
def test_nor_does_a_pool_of_processes(cli: CommandLine, redis: Any, options: tuple[str, ...]) -> None:
    """Nor do they outlive it: they would wait for work for ever, and their job runs elsewhere by now."""
    cli.write("jobs.py", POOLS)
    running = cli.start("worker", "-r", "jobs", "-t", "0.5", *options, ready="Booted")
    push(redis, "Forked")
    wait_until(lambda: len(notes(redis)) == 1)
    running.signal("TERM")
    assert running.end(10) == 0
    assert "These threads do not end, and are cut off: " in running.output
    wait_until(lambda: not _runs(notes(redis)[0]))


def _runs(pid: str) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # of a zombie it is empty
    return False


def test_a_thread_that_a_job_left_behind_does_not_keep_the_process(cli: CommandLine, redis: Any) -> None:
    cli.write(
        "jobs.py",
        f"""{JOBS}
    import threading

    class Leave(Job):
        def perform(self):
            threading.Thread(target=threading.Event().wait, name="left-over", daemon=False).start()
    """,
    )
    running = cli.start("worker", "-r", "jobs")
    push(redis, "Leave")
    wait_until(lambda: redis.llen("queue:default") == 0)
    running.wait_for(": done")
    running.signal("TERM")
    assert running.end() == 0
    assert "cut off: left-over" in running.output
