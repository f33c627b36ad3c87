"""One chaos run: a server, workers, jobs, kills, and the count at the end."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from _chaos.push import Pusher
from _chaos.watch import Watch
from faults.harness import Crew, Member
from faults.ledger import Audit, Keyspace, audit
from servers import Server
from waiting import wait_until

SETTINGS = {
    "concurrency": 10,
    "heartbeat_interval": 1,
    "heartbeat_ttl": 5,
    "recovery_interval": 0.5,
    "poll_interval_average": 0.5,
}
STALLED_S = 60
"""A run in which no job ends for so long is given up."""


@dataclass
class Figures:
    """What a run came to. `begun` jobs were begun and not acknowledged when their process was killed."""

    jobs: int
    kills: int
    restarts: int
    lost: int
    extra: int
    begun: int
    poison_pills: int
    unanswered: int
    counters_equal: bool
    seconds: float
    seed: int
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def line(self) -> str:
        return (
            f"jobs {self.jobs}, kills {self.kills}, server restarts {self.restarts}, lost {self.lost}, "
            f"extra runs {self.extra} (jobs begun but not acknowledged at the kills: {self.begun}), "
            f"poison pills {self.poison_pills}, pushes without an answer {self.unanswered}, "
            f"counters equal the ledger: {'yes' if self.counters_equal else 'no'}, {self.seconds:.0f} s"
        )


class Run:
    """Kills happen at random points of the progress, so that they are spread over all jobs."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
        self._chance = random.Random(self._seed)
        self._begun: Counter[tuple[str, int]] = Counter()
        self._kills = 0
        self._settings = {**SETTINGS, "crash_limit": options.crash_limit}

    def run(self) -> Figures:
        began = time.monotonic()
        os.environ["SIDEKIQ_ENV"] = "production"  # no tracebacks of failing jobs in the logs
        with ExitStack() as stack:
            folder = self._options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder.mkdir(parents=True, exist_ok=True)
            fsync = "always" if self._options.restarts else "everysec"
            self._server = stack.enter_context(Server(None, {"appendonly": "yes", "appendfsync": fsync}))
            self._redis = stack.enter_context(self._server.client())
            self._crew = Crew(folder, self._server.url, self._redis)
            stack.callback(self._crew.close)
            self._watch = Watch(self._crew.ledger.path)
            stack.callback(self._watch.close)
            pusher = Pusher(
                self._server.url, self._crew.ledger, self._options.jobs,
                random.Random(self._chance.random()), self._watch.look,
            )  # fmt: skip
            stack.callback(pusher.stop)
            pusher.start()
            workers = [self._worker() for _ in range(self._options.workers)]
            problems = self._work(pusher, workers) or self._finish(pusher, workers)
            found = audit(self._crew.ledger, self._redis)
        return self._figures(found, pusher, problems, time.monotonic() - began)

    def _worker(self) -> Member:
        return self._crew.worker(wait=False, **self._settings)

    # -- the run ------------------------------------------------------------------------

    def _work(self, pusher: Pusher, workers: list[Member]) -> list[str]:
        """Kill until there is nothing left to kill for; answers what went wrong."""
        jobs, options = self._options.jobs, self._options
        plan = sorted(
            [(self._chance.random() * jobs, "worker") for _ in range(options.kills)]
            + [(self._chance.random() * jobs, "server") for _ in range(options.restarts)]
        )
        pause = threading.Event()
        progress, moved_at = 0, time.monotonic()
        while plan:
            pause.wait(0.002)
            self._supervise(workers)
            ended = self._watch.look()
            if ended > progress:
                progress, moved_at = ended, time.monotonic()
            if time.monotonic() - moved_at > STALLED_S or pusher.failure:
                return [f"nothing has ended for {STALLED_S} s, the pusher: {pusher.failure!r}"]
            if ended < plan[0][0]:
                continue
            if plan[0][1] == "server":
                self._server.kill()
                self._server.restart()
            elif not self._kill(workers):
                continue
            del plan[0]
            self._tell(ended)
        return []

    def _supervise(self, workers: list[Member]) -> None:
        """Start those again that found no server when they began, as every supervisor of processes does."""
        for place, worker in enumerate(workers):
            if worker.ended and "is not available" in worker.text():
                workers[place] = self._worker()

    def _kill(self, workers: list[Member]) -> bool:
        """kill -9 one of those that run jobs; False if there is none. Another one is started."""
        able = [n for n, worker in enumerate(workers) if self._watch.begun.get(worker.pid)]
        if not able:
            return False
        place = self._chance.choice(able)
        victim = workers[place]
        # Held still for a moment, so that what it has begun can be counted.
        victim.signal("STOP")
        os.waitid(os.P_PID, victim.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._begun += self._watch.unacknowledged(self._redis, victim.pid)
        victim.kill()
        self._kills += 1
        workers[place] = self._worker()
        return True

    def _finish(self, pusher: Pusher, workers: list[Member]) -> list[str]:
        """Let the last workers finish, and stop them."""

        def drained() -> bool:
            self._supervise(workers)
            return Keyspace.of(self._redis).waiting == 0

        try:
            wait_until(lambda: pusher.over, STALLED_S, "all jobs to be enqueued")
            wait_until(drained, 2 * STALLED_S, "the last jobs")
        except AssertionError as error:
            return [str(error), *map(str, list(Keyspace.of(self._redis).places.items())[:5])]
        codes = [worker.ready().stop() for worker in workers]
        return [f"a worker ended with {code}" for code in codes if code]

    def _tell(self, ended: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{ended} runs, {self._kills} kills ", end="", file=sys.stderr, flush=True)

    # -- the count ----------------------------------------------------------------------

    def _figures(self, found: Audit, pusher: Pusher, problems: list[str], seconds: float) -> Figures:
        problems = [*problems, *found.problems]
        if pusher.failure:
            problems.append(f"the pusher failed: {pusher.failure!r}")
        problems += [f"{run} ran without need" for run in found.extra - self._begun]
        if found.poisoned and not self._options.crash_limit:
            problems.append(f"{len(found.poisoned)} poison pills although they are turned off")
        return Figures(
            jobs=found.pushed,
            kills=self._kills,
            restarts=self._options.restarts,
            lost=len(found.lost),
            extra=found.extra.total(),
            begun=self._begun.total(),
            poison_pills=len(found.poisoned),
            unanswered=pusher.unanswered,
            counters_equal=found.counters_equal,
            seconds=seconds,
            seed=self._seed,
            problems=problems,
        )
