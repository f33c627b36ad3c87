"""Many jobs that fall due at the same instant."""

from __future__ import annotations

import time

from .drain import drained_s, settled
from .machine import Server, enqueue, running, wait, worker
from .marks import Marks
from .rounds import Found, in_turns, medians, ratio

POLLERS = (1, 10)


def burst(jobs: int, rounds: int) -> Found:
    """Seconds until the last of many jobs that fall due together has begun, from the poll that finds them.

    Beside the time to drain as many; and the server's microseconds per job with one poller and with ten.
    """
    work: dict[int, list[float]] = {pollers: [] for pollers in POLLERS}

    def plain() -> float:
        with Server() as server:
            Marks(server.dir)
            enqueue(server, "bulk", "MarkJob", jobs)
            return drained_s(server, jobs, 10)

    def due(pollers: int) -> float:
        with Server() as server:
            marks = Marks(server.dir)
            enqueue(server, "bulk", "MarkJob", jobs, time.time() + 3600)
            _make_due(server, jobs)
            before = server.cpu_s()
            # Those that only poll have a queue of their own.
            crew = [worker(server, 10, poll_interval_average=1)]
            crew += [worker(server, 1, queues=["none"], poll_interval_average=1) for _ in range(pollers - 1)]
            with running(*crew):
                wait(lambda: server.client.zcard("schedule") < jobs, 60, "a poll finds them", 0.001)
                began = time.monotonic()
                wait(lambda: settled(server) >= jobs, 180, "every job has run", 0.005)
                work[pollers].append((server.cpu_s() - before) / jobs * 1e6)
            return max(at for _, at in marks.read()) - began

    found = in_turns(
        rounds, {"drain": plain, "1 poller": lambda: due(POLLERS[0]), "10 pollers": lambda: due(POLLERS[1])}
    )
    cost = {f"{pollers} poller{'s'[: pollers > 1]}": values for pollers, values in work.items()}
    return {
        "jobs": jobs,
        "seconds": medians(found),
        "rounds": {name: [round(one, 2) for one in each] for name, each in found.items()},
        "burst / drain": ratio(found, "1 poller", "drain"),
        "server us per job": medians(cost),
        "10 pollers / one": ratio(cost, "10 pollers", "1 poller"),
    }


def _make_due(server: Server, jobs: int) -> None:
    """As if their hour had passed; a client would send what is due straight to its queue."""
    client, at = server.client, time.time()
    raws = client.zrange("schedule", 0, -1)
    assert len(raws) == jobs
    for start in range(0, jobs, 1000):
        client.zadd(
            "schedule", {raw: at + (start + n) * 1e-6 for n, raw in enumerate(raws[start:][:1000])}, xx=True
        )
