"""A supervisor with short intervals, and how to find its processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from commandline import JOBS, CommandLine, Running

UP = "run under this supervisor"
QUICK = "crash_limit: 0\n"
QUICK += "heartbeat_interval: 0.2\nheartbeat_ttl: 3\npoll_interval_average: 0.1\nrecovery_interval: 0.2\n"
WHO = f"""{JOBS}
    import os, time

    class Who(Job):
        def perform(self):
            note(str(os.getpid()))

    class Nap(Job):
        def perform(self, text):
            time.sleep(0.05)
            note(text)

    class Grow(Job):
        def perform(self, megabytes):
            global kept
            kept = bytearray(os.urandom(1)) * (megabytes << 20)
            note(str(os.getpid()))
"""

Start = Callable[..., Running]


@pytest.fixture
def start(cli: CommandLine) -> Start:
    """Start a supervisor with short intervals; `start("--processes", "2")`."""
    cli.write("jobs.py", WHO)
    cli.write("sidekiq.yml", QUICK)

    def begin(*args: str, ready: str = UP, **env: str) -> Running:
        return cli.start("worker", "-r", "jobs", "-c", "2", *args, ready=ready, **env)

    return begin


def pids(redis: Any) -> set[int]:
    """The processes that have a heartbeat."""
    return {int(name.split(b":")[1]) for name in redis.smembers("processes") if redis.exists(name)}


def quiet(redis: Any, pid: int) -> bool:
    """Whether a process shows that it takes no more jobs."""
    return any(
        redis.hget(name, "quiet") == b"true"
        for name in redis.smembers("processes")
        if f":{pid}:" in name.decode()
    )


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
