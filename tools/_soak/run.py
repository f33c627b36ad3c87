"""One soak run: a server, a worker, a steady load, and what the worker takes meanwhile."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from _soak.load import Load
from servers import Server

EVERY_S = 5.0
WARM_UP_S = 300.0
"""Or half the time, if that is less."""
POOL_GROWTH = 5
"""A pool opens connections when more are needed at once than before; that is no leak yet."""
MOST_PERCENT = 2.0
MOST_KB = 2_000


class Sample(NamedTuple):
    """What a worker takes: resident memory (KB), threads, open files, and the server's connections."""

    rss_kb: int
    threads: int
    files: int
    connections: int


@dataclass
class Figures:
    """Medians of the samples right after the warm-up and at the end."""

    minutes: float
    jobs: int
    jobs_per_s: float
    first: Sample
    last: Sample
    memory_kb: list[int]
    """The median of each tenth of the time after the warm-up."""
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "first": self.first._asdict(), "last": self.last._asdict()}

    def line(self) -> str:
        first, last = self.first, self.last
        grown = 100 * (last.rss_kb - first.rss_kb) / first.rss_kb
        return (
            f"{self.minutes:g} minutes, {self.jobs} runs ({self.jobs_per_s:.0f}/s), memory {first.rss_kb} -> "
            f"{last.rss_kb} KB ({grown:+.2f} %), threads {first.threads} -> {last.threads}, open files "
            f"{first.files} -> {last.files}, connections {first.connections} -> {last.connections}"
        )


class Soak:
    """`minutes` in all, the warm-up included; `rate` jobs a second."""

    def __init__(self, minutes: float, rate: float) -> None:
        self._minutes = minutes
        self._rate = rate

    def run(self) -> Figures:
        os.environ["SIDEKIQ_ENV"] = "production"
        with tempfile.TemporaryDirectory() as folder, Server() as server, server.client() as redis:
            load = Load(Path(folder), server.url, self._rate)
            try:
                return self._watch(load, redis)
            finally:
                load.close()

    def _watch(self, load: Load, redis: Any) -> Figures:
        load.start()
        began = time.monotonic()
        until, warm_at = began + 60 * self._minutes, began + min(WARM_UP_S, 30 * self._minutes)
        samples: list[Sample] = []
        pause = threading.Event()
        while (now := time.monotonic()) < until:
            pause.wait(min(EVERY_S, until - now))
            if load.worker.poll() is not None:
                return self._figures(load, samples, 1, [f"the worker ended: {load.text()[-2000:]}"])
            if time.monotonic() >= warm_at:
                samples.append(sample(load.worker.pid, redis))
                self._tell(samples[-1])
        spent = time.monotonic() - began
        problems = load.finish(redis)
        return self._figures(load, samples, spent, problems)

    def _figures(self, load: Load, samples: list[Sample], spent: float, problems: list[str]) -> Figures:
        few = max(len(samples) // 10, 1)
        tenths = [typical(samples[n : n + few]) for n in range(0, max(len(samples), 1), few)]
        first, last = tenths[0], typical(samples[-few:])
        grown = last.rss_kb - first.rss_kb
        if grown > min(first.rss_kb * MOST_PERCENT / 100, MOST_KB):
            problems.append(f"memory has grown by {grown} KB")
        for name in ("threads", "files", "connections"):
            if getattr(last, name) > getattr(first, name) + (0 if name == "threads" else POOL_GROWTH):
                problems.append(
                    f"{name}: {getattr(first, name)} after the warm-up, {getattr(last, name)} at the end"
                )
        return Figures(
            self._minutes,
            load.runs,
            load.runs / spent,
            first,
            last,
            [tenth.rss_kb for tenth in tenths],
            problems,
        )

    def _tell(self, now: Sample) -> None:
        if sys.stderr.isatty():
            print(f"\r{now} ", end="", file=sys.stderr, flush=True)


def sample(pid: int, redis: Any) -> Sample:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Sample(int(status["VmRSS"].split()[0]), int(status["Threads"]), files, len(redis.client_list()))


def typical(samples: list[Sample]) -> Sample:
    if not samples:
        return Sample(1, 0, 0, 0)
    return Sample(*(int(median(values)) for values in zip(*samples, strict=True)))
