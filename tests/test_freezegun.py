"""freezegun holds the time that jobs are stamped with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time

from sidekiq_lua import Sidekiq

FROZEN = "2026-11-24 02:52:44.438"
FROZEN_S = 1795488764.438
FROZEN_MS = 1795488764438


@pytest.fixture
def app(url: str) -> Iterator[Sidekiq]:
    made = Sidekiq(redis=url)
    yield made
    made.close()


@pytest.fixture
def job(app: Sidekiq) -> Any:
    class FrozenJob(app.Job):
        def perform(self, *args): ...

    return FrozenJob


def stamps(redis: Any) -> list[tuple[Any, Any]]:
    """(created_at, enqueued_at) of each job in the queue, oldest first."""
    found = [json.loads(raw) for raw in redis.lrange("queue:default", 0, -1)[::-1]]
    return [(payload["created_at"], payload["enqueued_at"]) for payload in found]


def test_stamps_of_queued_jobs(job: Any, redis: Any) -> None:
    with freeze_time(FROZEN) as frozen:
        job.perform_async()
        frozen.tick(1.5)
        job.perform_bulk([[1]])

    assert stamps(redis) == [(FROZEN_MS, FROZEN_MS), (FROZEN_MS + 1500, FROZEN_MS + 1500)]


def test_scores_of_scheduled_jobs(job: Any, app: Sidekiq, redis: Any) -> None:
    with freeze_time(FROZEN):
        job.perform_in(60, 1)
        job.perform_in(timedelta(minutes=2), 2)
        job.perform_at(datetime.now(UTC) + timedelta(minutes=3), 3)
        job.set(wait=240).perform_async(4)
        job.perform_bulk([[5]], at=300)
        app.client.enqueue_in(360, job, 6)
        job.perform_in(datetime.now(UTC), 7)

    found = redis.zrange("schedule", 0, -1, withscores=True)
    scores = {json.loads(raw)["args"][0]: due for raw, due in found}
    assert scores == {n: pytest.approx(FROZEN_S + 60 * n, abs=1e-6) for n in range(1, 7)}
    assert {json.loads(raw)["created_at"] for raw, _ in found} == {FROZEN_MS}
    assert stamps(redis) == [(FROZEN_MS, FROZEN_MS)]  # the seventh was due


def test_a_jobs_spread_begins_at_the_frozen_time(job: Any, redis: Any) -> None:
    with freeze_time(FROZEN):
        job.perform_bulk([[]] * 20, spread_interval=10)

    scores = [due for _, due in redis.zrange("schedule", 0, -1, withscores=True)]
    assert len(scores) == 20
    assert FROZEN_S <= min(scores) < max(scores) <= FROZEN_S + 10


@pytest.mark.parametrize("real_asyncio", [False, True])
def test_the_asyncio_client(app: Sidekiq, redis: Any, real_asyncio: bool) -> None:
    async def main() -> None:
        async with app.async_client() as client:
            await client.enqueue("A")
            await client.enqueue_in(60, "A")

    with freeze_time(FROZEN, real_asyncio=real_asyncio):
        asyncio.run(main())

    assert stamps(redis) == [(FROZEN_MS, FROZEN_MS)]
    ((_, due),) = redis.zrange("schedule", 0, -1, withscores=True)
    assert due == pytest.approx(FROZEN_S + 60, abs=1e-6)


def test_version_7s_stamps(url: str, redis: Any) -> None:
    app = Sidekiq(redis=url, payload_format="7")
    with freeze_time(FROZEN):
        app.client.enqueue("A")
    app.close()

    (raw,) = redis.lrange("queue:default", 0, -1)
    assert raw.endswith(b',"created_at":1795488764.438,"enqueued_at":1795488764.438}')


def test_the_servers_offset_does_not_move_a_frozen_clock(app: Sidekiq, job: Any, redis: Any) -> None:
    app.clock.offset = 3600.0
    with freeze_time(FROZEN):
        job.perform_async()
    job.perform_async()

    first, second = stamps(redis)
    assert first == (FROZEN_MS, FROZEN_MS)
    ahead_s = second[0] / 1000 - datetime.now(UTC).timestamp()
    assert 3590 < ahead_s < 3610
