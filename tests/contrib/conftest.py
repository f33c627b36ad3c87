"""An instance on the shared server, its queues as data, and its log."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from contrib.shop import Queued, Shop

from sidekiq_lua import Formatters, Sidekiq, SidekiqLogger
from sidekiq_lua.contrib.outbox import ddl


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def reports() -> list[tuple[Exception, dict[str, Any]]]:
    """What the error handlers were told."""
    return []


@pytest.fixture
def make_app(url: str, log: io.StringIO, reports: list[Any]) -> Iterator[Callable[..., Sidekiq]]:
    made: list[Sidekiq] = []

    def make(**settings: Any) -> Sidekiq:
        app = Sidekiq(**{"redis": url, "logger": SidekiqLogger(log, Formatters.Plain()), **settings})
        app.config.error_handler(lambda error, context, config: reports.append((error, context)))
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def queued(redis: redis_py.Redis) -> Callable[..., list[Any]]:
    """Call it for the first argument of each job of a queue, oldest first; with `whole` for the payloads."""

    def look(queue: str = "default", *, whole: bool = False) -> list[Any]:
        payloads = [json.loads(raw) for raw in reversed(redis.lrange(f"queue:{queue}", 0, -1))]
        return payloads if whole else [payload["args"][0] for payload in payloads]

    return look


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute(ddl("sqlite"))
    connection.close()
    return tmp_path / "shop.db"


@pytest.fixture
def shop(path: Path, make_app: Any, redis: Any, queued: Queued) -> Iterator[Shop]:
    made = Shop(path, make_app(), redis, queued)
    yield made
    made.close()
