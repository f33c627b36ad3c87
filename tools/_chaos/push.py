"""Enqueues the jobs of a chaos run while it goes on, and writes down each of them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from faults.ledger import Ledger

from sidekiq_lua import Sidekiq
from sidekiq_lua.errors import LostReply, RedisError

BATCH = 100
KINDS: list[tuple[int, str, dict[str, Any]]] = [
    (50, "ok", {"class": "WorkJob", "retry": 3}),
    (25, "ok", {"class": "AsyncWorkJob", "retry": 3}),
    (12, "once", {"class": "WorkJob", "retry": 3, "failures": 1}),
    (3, "dies", {"class": "AsyncWorkJob", "retry": 1, "failures": 9}),
    (2, "drop", {"class": "WorkJob", "retry": False, "failures": 9}),
    (8, "later", {"class": "WorkJob", "retry": 3}),
]
"""Weight, how jids begin, and the job."""
LONGEST_S = 0.01
LATEST_S = 10


class Pusher:
    """A thread that keeps some thousand jobs waiting until all are enqueued; `ended` counts those over."""

    def __init__(
        self, url: str, ledger: Ledger, jobs: int, chance: random.Random, ended: Callable[[], int]
    ) -> None:
        self.pushed = 0
        self.unanswered = 0
        self.failure: BaseException | None = None
        self._jobs = jobs
        self._ledger = ledger
        self._chance = chance
        self._ended = ended
        self._stop = threading.Event()
        self._jids: list[str] = []
        self._made = 0
        self._app = Sidekiq(redis=url)
        self._app.config.client_middleware.add(Named, self)
        self._thread = threading.Thread(target=self._run, name="pusher")

    def start(self) -> None:
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._app.close()

    def name(self, prefix: str) -> str:
        """The jid of the next job, which is written down as tried."""
        self._made += 1
        jid = f"{prefix}-{self._made}"
        self._jids.append(jid)
        self._ledger.write("pushing", jid)
        return jid

    def _run(self) -> None:
        try:
            while self.pushed < self._jobs and not self._stop.is_set():
                if self.pushed - self._ended() > 3_000:
                    self._stop.wait(0.01)
                else:
                    self._push(min(BATCH, self._jobs - self.pushed))
        except BaseException as error:
            self.failure = error

    def _push(self, n: int) -> None:
        (kind,) = self._chance.choices(KINDS, [weight for weight, _, _ in KINDS])
        _, prefix, options = kind
        item = {**options, "args": [[round(self._chance.random() * LONGEST_S, 4)] for _ in range(n)]}
        item["prefix"] = prefix
        if prefix == "later":
            item["at"] = [time.time() + self._chance.random() * LATEST_S for _ in range(n)]
        self._jids.clear()
        try:
            self._app.client.push_bulk(item)
        except LostReply:
            # They are there or not, and the ledger leaves it open: other jobs are enqueued in their stead.
            self.unanswered += len(self._jids)
            self._stop.wait(0.05)
        except RedisError:
            for jid in self._jids:
                self._ledger.write("unpushed", jid)
            self._stop.wait(0.05)
        else:
            for jid in self._jids:
                self._ledger.write("pushed", jid)
            self.pushed += len(self._jids)


class Named:
    """Client middleware: a jid that tells what the job is for."""

    def __init__(self, pusher: Pusher) -> None:
        self._pusher = pusher

    def call(
        self, job_class: Any, payload: dict[str, Any], queue: str, redis: Any, next: Callable[[], Any]
    ) -> Any:
        payload["jid"] = self._pusher.name(payload.pop("prefix"))
        return next()
