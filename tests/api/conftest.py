"""An instance on the shared server, and jobs to put there."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import as_roles
import pytest
import redis as redis_py

from sidekiq_lua import Formatters, Sidekiq, SidekiqLogger


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def app(url: str, log: io.StringIO, redis: redis_py.Redis) -> Iterator[Sidekiq]:
    app = Sidekiq(redis=url, logger=SidekiqLogger(log, Formatters.Plain()))
    if as_roles.ON:
        as_roles.denied(redis)
        app._transports[None] = as_roles.RoleTransport(url, "short-{}", ("dashboard", "admin"))
    yield app
    app.close()
    if as_roles.ON:
        assert as_roles.denied(redis) == []


@pytest.fixture
def raw() -> Callable[..., bytes]:
    """`raw(7, args=[1])`: a job's text; equal arguments give equal bytes."""

    def make(n: int, **fields: Any) -> bytes:
        payload = {"class": "A", "args": [n], "jid": f"{n:024}", "queue": "default", "retry": True, **fields}
        return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()

    return make
