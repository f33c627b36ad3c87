"""How fast a full queue is emptied."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .machine import Server, enqueue, running, wait, worker
from .rounds import Found, bare, in_turns, medians, ratio


def settled(server: Server) -> int:
    return int(server.client.get("stat:processed") or 0)


def drained_s(server: Server, jobs: int, concurrency: int, log: Path | None = None, **settings: Any) -> float:
    """Seconds that a new worker would take for `jobs` jobs, from the first acknowledgement that is seen."""
    server.client.set("stat:processed", 0)
    with running(process := worker(server, concurrency, log, **settings)):
        wait(lambda: settled(server) or not process.alive(), 20, "a job is acknowledged", 0.001)
        began, first = time.perf_counter(), settled(server)
        wait(lambda: settled(server) >= jobs or not process.alive(), 120, "the queue is empty", 0.002)
        elapsed = time.perf_counter() - began
    return elapsed * jobs / max(jobs - first, 1)


def drain(jobs: int, rounds: int, concurrency: int, log: bool = False) -> Found:
    """No-op jobs a second of one process, and of a bare loop with as many threads."""
    with Server() as server:

        def fill() -> None:
            server.client.flushall()
            enqueue(server, "bulk", "NoopJob", jobs)

        def loop() -> float:
            fill()
            return bare("drain", server.url, jobs, concurrency)

        def ours(**options: Any) -> float:
            fill()
            return jobs / drained_s(server, jobs, concurrency, **options)

        contenders = {"bare loop": loop, "sidekiq-lua": ours}
        if log:
            contenders["sidekiq-lua, job log to a file"] = lambda: ours(log=server.dir / "job.log")
        found = in_turns(rounds, contenders)
    return {
        "jobs": jobs,
        "concurrency": concurrency,
        "jobs/s": {name: round(rate) for name, rate in medians(found).items()},
        "rounds": {name: [round(rate) for rate in rates] for name, rates in found.items()},
        "ratio": ratio(found, "sidekiq-lua", "bare loop"),
    }


def metrics(jobs: int, rounds: int) -> Found:
    """No-op jobs a second with `metrics` on and off, and the worker's microseconds of CPU per job."""
    micros: dict[str, list[float]] = {"metrics on": [], "metrics off": []}
    with Server() as server:

        def ours(name: str, on: bool) -> float:
            server.client.flushall()
            enqueue(server, "bulk", "NoopJob", jobs)
            with running(process := worker(server, 10, metrics=on)):
                wait(lambda: settled(server) or not process.alive(), 20, "a job is acknowledged", 0.001)
                began, first, cpu = time.perf_counter(), settled(server), process.cpu_s()
                wait(lambda: settled(server) >= jobs or not process.alive(), 120, "the queue is empty", 0.002)
                done = max(jobs - first, 1)
                micros[name].append((process.cpu_s() - cpu) / done * 1e6)
                return done / (time.perf_counter() - began)

        found = in_turns(
            rounds,
            {
                "metrics on": lambda: ours("metrics on", True),
                "metrics off": lambda: ours("metrics off", False),
            },
        )
    return {
        "jobs": jobs,
        "jobs/s": {name: round(rate) for name, rate in medians(found).items()},
        "rounds": {name: [round(rate) for rate in rates] for name, rates in found.items()},
        "us of CPU per job": {name: round(value, 2) for name, value in medians(micros).items()},
        "on / off": ratio(found, "metrics on", "metrics off"),
    }
