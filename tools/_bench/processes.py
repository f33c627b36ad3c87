"""Several worker processes on one server."""

from __future__ import annotations

import time

from .drain import settled
from .machine import Server, enqueue, running, wait, worker
from .rounds import Found, in_turns, medians

COUNTS = (1, 2, 4, 8)


def processes(jobs: int, rounds: int) -> Found:
    """The server's microseconds per job and jobs a second with 1 to 8 processes and a standing backlog."""
    rates: dict[str, list[float]] = {}

    def cost(count: int) -> float:
        with Server() as server:
            enqueue(server, "bulk", "NoopJob", jobs * 2)
            crew = [worker(server, 10) for _ in range(count)]
            with running(*crew):
                wait(lambda: settled(server) > jobs // 10, 60, "jobs are acknowledged", 0.001)
                cpu, first, began = server.cpu_s(), settled(server), time.perf_counter()
                wait(lambda: settled(server) > jobs, 120, "half of the jobs have run", 0.002)
                done = settled(server) - first
                rates.setdefault(str(count), []).append(done / (time.perf_counter() - began))
                return (server.cpu_s() - cpu) / done * 1e6

    found = in_turns(rounds, {str(count): (lambda count=count: cost(count)) for count in COUNTS})
    middle = medians(found)
    return {
        "jobs": jobs,
        "server us per job": {f"{name} processes": round(value, 2) for name, value in middle.items()},
        "jobs/s": {f"{name} processes": round(value) for name, value in medians(rates).items()},
        "8 processes / one": round(middle["8"] / middle["1"], 3),
        "jobs/s that one core of the server carries": round(1e6 / middle["8"]),
    }
