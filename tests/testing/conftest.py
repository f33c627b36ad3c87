"""One contract, three worlds: jobs kept in memory, run at once, or on a real server with a worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from both_clients import KINDS, client_of
from servers import wait_until
from testing_setup import make_app

from sidekiq_lua import Queues, Sidekiq, Testing
from sidekiq_lua.middleware import Chain
from sidekiq_lua.testing.scope import Mode, for_process

WORLDS = ("fake", "inline", "real")


class World:
    """An instance and a client of it, and what becomes of the jobs that it pushes."""

    def __init__(self, kind: str, app: Sidekiq, client: Any, redis: Any) -> None:
        self.kind = kind
        self.app = app
        self.client = client
        self._redis = redis

    @property
    def server_middleware(self) -> Chain:
        """What is around jobs here."""
        return self.app.config.server_middleware if self.kind == "real" else Testing.server_middleware

    def settle(self) -> None:
        """Let everything run that was pushed and is due."""
        if self.kind == "fake":
            Testing.drain_all()
        elif self.kind == "real":
            runner = self.app.run()
            try:
                wait_until(self._all_done, 20, "all jobs done")
            finally:
                runner.stop()

    def _all_done(self) -> bool:
        # KEYS looks at both at once, and a job is always in one of them.
        return not any(key.startswith((b"queue:", b"lua:running:")) for key in self._redis.keys("*"))

    def pending(self) -> list[dict[str, Any]]:
        """What waits, queue by queue and oldest first, then what is scheduled, with `at`."""
        if self.kind == "fake":
            jobs = Queues.of(self.app).jobs()
            return sorted(jobs, key=lambda job: (job.get("at", 0), job["queue"]))
        found = []
        for key in sorted(self._redis.keys("queue:*")):
            found += [json.loads(raw) for raw in self._redis.lrange(key, 0, -1)[::-1]]
        for raw, at in self._redis.zrange("schedule", 0, -1, withscores=True):
            found.append({**json.loads(raw), "at": at})
        return found


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every test begins and ends without jobs, without middleware and in no mode."""
    Queues.clear_all()
    yield
    Queues.clear_all()
    Testing.server_middleware.clear()
    Testing.disable()


@pytest.fixture
def app(url: str) -> Iterator[Sidekiq]:
    """An instance with the shared server, and a clock that stands still."""
    made = make_app(url)
    yield made
    made.close()


def make_world(kind: str, client: str, app: Sidekiq, redis: Any) -> Iterator[World]:
    with ExitStack() as stack:
        mode = Mode.DISABLE if kind == "real" else Mode(kind)
        stack.enter_context(for_process(mode))
        yield World(kind, app, stack.enter_context(client_of(app, client)), redis)


@pytest.fixture(params=[f"{world}-{client}" for world in WORLDS for client in KINDS])
def world(request: pytest.FixtureRequest, app: Sidekiq, redis: Any) -> Iterator[World]:
    """Each of the three, with each of the two clients."""
    yield from make_world(*request.param.split("-"), app, redis)


@pytest.fixture(params=[f"{world}-{client}" for world in ("fake", "real") for client in KINDS])
def keeping_world(request: pytest.FixtureRequest, app: Sidekiq, redis: Any) -> Iterator[World]:
    """The two in which jobs wait until they are settled."""
    yield from make_world(*request.param.split("-"), app, redis)
