"""How fast jobs are enqueued."""

from __future__ import annotations

import re
import subprocess

from .machine import Server, enqueue
from .rounds import Found, in_turns, medians, ratio


def push(jobs: int, rounds: int) -> Found:
    """Jobs a second one by one (a thread, 8 threads, 100 tasks) and in bulk, beside a pipelined LPUSH."""
    with Server() as server:

        def rate(*words: object, number: int = jobs) -> float:
            server.client.flushall()
            return number / float(enqueue(server, words[0], "NoopJob", number, *words[1:])["seconds"])

        def raw() -> float:
            server.client.flushall()
            enqueue(server, "one", "NoopJob", 1)
            size = len(server.client.lindex("queue:default", 0))
            socket = server.url.removeprefix("unix://")
            program = ["redis-benchmark", "-s", socket, "-n", str(jobs * 10), "-P", "16", "-c", "1", "-q"]
            done = subprocess.run(
                [*program, "lpush", "q", "x" * size], capture_output=True, text=True, check=True
            )
            return float(re.findall(r"([\d.]+) requests per second", done.stdout)[-1])

        found = in_turns(
            rounds,
            {
                "one thread": lambda: rate("one"),
                "8 threads": lambda: rate("threads", 8),
                "100 tasks": lambda: rate("tasks", 100),
                "bulk": lambda: rate("bulk", number=jobs * 10),
                "redis-benchmark -P 16 lpush": raw,
            },
        )
    return {
        "jobs": jobs,
        "jobs/s": {name: round(figure) for name, figure in medians(found).items()},
        "rounds": {name: [round(figure) for figure in figures] for name, figures in found.items()},
        "8 threads / one": ratio(found, "8 threads", "one thread"),
        "100 tasks / one": ratio(found, "100 tasks", "one thread"),
        "bulk / redis-benchmark": ratio(found, "bulk", "redis-benchmark -P 16 lpush"),
    }
