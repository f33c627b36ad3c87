"""What it costs to have a worker that has nothing to do, and to start a program that enqueues."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from .drain import settled
from .machine import PATH, Server, enqueue, running, wait, worker
from .rounds import Found, in_turns, medians, ratio

QUEUES = ["critical", "default", "low"]


def idle(seconds: int, rounds: int) -> Found:
    """Commands a second, share of a core, memory of an idle worker with 3 queues; import and --help times."""
    with Server() as server, running(process := worker(server, queues=QUEUES)):
        wait(lambda: server.client.smembers("processes"), 20, "the worker has booted")
        enqueue(server, "one", "NoopJob", 50)
        wait(lambda: settled(server) >= 50, 20, "fifty jobs have run")
        time.sleep(min(seconds / 2, 30))
        commands, cpu, began = server.commands(), process.cpu_s(), time.monotonic()
        beats = _beats(server)
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        # Two for each look of ours: INFO, and INFO again.
        used = server.commands() - commands - 2
        beating = _beats(server) - beats
        found: Found = {
            "commands/s": round(used / elapsed, 2),
            "beats/s": round(beating / elapsed, 3),
            "share of a core": round((process.cpu_s() - cpu) / elapsed, 5),
            "MB of each process": [round(size, 1) for size in process.rss_mb()],
        }
    times = in_turns(
        rounds,
        {
            "import sidekiq_lua": lambda: _start("import sidekiq_lua"),
            "import sidekiq_lua.Job, Client": lambda: _start("from sidekiq_lua import Job, Client"),
            "import redis": lambda: _start("import redis"),
            "python": lambda: _start("pass"),
            "sidekiq-lua --help": lambda: _start(
                "import sys; from sidekiq_lua.cli.main import main; sys.exit(main(['--help']))"
            ),
        },
    )
    found["ms"] = {name: round(value, 1) for name, value in medians(times).items()}
    found["import Job, Client / import redis"] = ratio(
        times, "import sidekiq_lua.Job, Client", "import redis"
    )
    return found


def _beats(server: Server) -> int:
    return int(server.client.info("commandstats").get("cmdstat_sadd", {"calls": 0})["calls"])


def _start(code: str) -> float:
    """Milliseconds until a Python that runs `code` has ended; the median of five."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": PATH},
        )
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)
