"""Jobs that wait for 10 ms, as jobs that talk to other services do."""

from __future__ import annotations

from .drain import drained_s
from .machine import Server, enqueue
from .rounds import Found, bare, in_turns, medians, ratio

THREADS, TASKS = 50, 500


def sleep(jobs: int, rounds: int) -> Found:
    """Jobs a second: 50 threads beside 50 bare ones; 500 tasks beside no-op ones and bare ones."""
    with Server() as server:

        def ours(kind: str, concurrency: int, number: int) -> float:
            server.client.flushall()
            enqueue(server, "bulk", kind, number)
            return number / drained_s(server, number, concurrency)

        def loop() -> float:
            server.client.flushall()
            enqueue(server, "bulk", "SleepJob", jobs)
            return bare("sleep", server.url, jobs, THREADS)

        found = in_turns(
            rounds,
            {
                "50 bare threads": loop,
                "50 threads": lambda: ours("SleepJob", THREADS, jobs),
                "async no-op": lambda: ours("AsyncNoopJob", TASKS, jobs * 5),
                "500 tasks": lambda: ours("AsyncSleepJob", TASKS, jobs * 5),
                "500 bare tasks": lambda: bare("tasks", server.url, jobs * 5, TASKS),
            },
        )
    rates = medians(found)
    return {
        "jobs": jobs,
        "jobs/s": {name: round(rate) for name, rate in rates.items()},
        "rounds": {name: [round(rate) for rate in each] for name, each in found.items()},
        "tasks / bare tasks": ratio(found, "500 tasks", "500 bare tasks"),
        "threads / bare threads": ratio(found, "50 threads", "50 bare threads"),
        "tasks / smaller of 50,000 and async no-op": round(
            rates["500 tasks"] / min(50_000, rates["async no-op"]), 3
        ),
    }
