"""From an enqueueing call to the start of the job, on an idle worker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from .machine import HERE, PATH, Server, enqueue, running, wait, worker
from .marks import Marks
from .rounds import Found, in_turns, medians, percentile, ratio

KINDS = {"sync": "MarkJob", "async": "AsyncMarkJob"}


def latency(jobs: int, rounds: int) -> Found:
    """Milliseconds, p50 and p99, with 1 queue and with 20, beside a bare BLMOVE."""
    p99s: dict[str, list[float]] = {}

    def measure(name: str, queues: int, kind: str | None) -> Callable[[], float]:
        def run() -> float:
            p50, p99 = _one(jobs, queues, kind)
            p99s.setdefault(name, []).append(p99)
            return p50

        return run

    contenders = {}
    for queues in (1, 20):
        for label, kind in (("bare BLMOVE", None), *KINDS.items()):
            name = f"{label}, {queues} queue{'s'[: queues > 1]}"
            contenders[name] = measure(name, queues, kind)
    p50s = in_turns(rounds, contenders)
    found: Found = {"jobs": jobs, "p50 ms": medians(p50s), "p99 ms": medians(p99s), "ratios": {}}
    for name in contenders:
        if "BLMOVE" not in name:
            base = f"bare BLMOVE, {name.split(', ')[1]}"
            found["ratios"][name] = [ratio(p50s, name, base), ratio(p99s, name, base)]
    return found


def _one(jobs: int, queues: int, kind: str | None) -> tuple[float, float]:
    names = [f"q{n}" for n in range(queues)]
    with Server() as server:
        marks = Marks(server.dir)
        if kind:
            process = worker(server, queues=names)
            with running(process):
                wait(lambda: server.client.smembers("processes"), 20, "the worker has booted")
                _parked(server, queues)
                enqueue(server, "latency", kind, jobs, queues)
        else:
            argv = [sys.executable, str(HERE / "bare.py"), "move", server.url, str(jobs), str(queues)]
            env = {**os.environ, "PYTHONPATH": PATH, "BENCH_MARKS": str(server.dir)}
            loop = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL)
            try:
                _parked(server, queues)
                enqueue(server, "latency", "MarkJob", jobs, queues)
                loop.wait(20)
            finally:
                loop.kill()
                loop.wait()
        sent = dict(marks.read("sent"))
        took = [(at - sent[number]) * 1000 for number, at in marks.read()]
    return percentile(took, 0.5), percentile(took, 0.99)


def _parked(server: Server, queues: int) -> None:
    wait(
        lambda: server.client.info("clients")["blocked_clients"] >= queues, 20, "the consumer waits for jobs"
    )
