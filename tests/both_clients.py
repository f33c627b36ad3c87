"""One contract for both clients: a client whose methods block, the synchronous one or the asyncio one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import pytest

from sidekiq_lua import Sidekiq
from sidekiq_lua.clock import Clock

KINDS = ("Client", "AsyncClient")
NOW = 1_800_000_000.25
NOW_MS = 1_800_000_000_250


class Fixed(Clock):
    """Stands still at NOW until a test sets `time`."""

    __slots__ = ("time",)

    def __init__(self) -> None:
        super().__init__()
        self.time = NOW

    def now(self) -> float:
        return self.time


class Blocking:
    """The asyncio client of an instance, run to the end of each call on one event loop."""

    def __init__(self, app: Sidekiq) -> None:
        self.client = app.async_client()
        self.runner = asyncio.Runner()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        async def call(*args: Any) -> Any:
            return await method(*args)

        return lambda *args: self.runner.run(call(*args), context=copy_context())

    def via(self, *args: Any) -> Any:
        return self.client.via(*args)


@pytest.fixture
def app(url: str) -> Iterator[Sidekiq]:
    """An instance of this test's own, on the shared server, whose clock stands still."""
    made = Sidekiq(redis=url, clock=Fixed())
    yield made
    made.close()


@pytest.fixture(params=KINDS)
def client(app: Sidekiq, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each of the two clients of `app`, with the methods of the synchronous one."""
    with client_of(app, request.param) as made:
        yield made


@contextmanager
def client_of(app: Sidekiq, kind: str) -> Iterator[Any]:
    """One of the two clients, "Client" or "AsyncClient"."""
    if kind == "Client":
        yield app.client
        return
    blocking = Blocking(app)
    with blocking.runner:
        yield blocking
        blocking.close()


def stored(jid: str | None, **fields: Any) -> dict[str, Any]:
    """A payload as it should be in Redis, with what every job has."""
    return {"retry": True, "queue": "default", "args": [], "jid": jid, "created_at": NOW_MS, **fields}


def queued(jid: str | None, **fields: Any) -> dict[str, Any]:
    """`stored`, in a queue."""
    return stored(jid, enqueued_at=NOW_MS, **fields)


def parsed(database: dict[str, Any]) -> dict[str, Any]:
    """A dumped database with the payloads of queues (newest first) and of `schedule` as dicts."""
    shown = dict(database)
    for key, value in database.items():
        if key.startswith("queue:"):
            shown[key] = [json.loads(text) for text in value]
        elif key == "schedule":
            shown[key] = [(json.loads(text), due) for text, due in value]
    return shown
