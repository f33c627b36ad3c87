"""Stats, on a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from freezegun import freeze_time

import sidekiq_lua
from sidekiq_lua import Sidekiq, Stats
from sidekiq_lua.errors import ConfigurationError, RedisUnavailable, ScriptError
from sidekiq_lua.store import Transport

NOW_S = 1_795_489_000


@pytest.fixture
def app(url: str) -> Iterator[Sidekiq]:
    app = Sidekiq(redis=url)
    yield app
    app.close()


def queue(redis: Any, name: str, *payloads: Any) -> None:
    redis.sadd("queues", name)
    for payload in payloads:
        redis.lpush(f"queue:{name}", payload if isinstance(payload, bytes) else json.dumps(payload))


def job(**fields: Any) -> dict[str, Any]:
    return {"class": "A", "args": [], **fields}


def test_an_empty_database(app: Sidekiq) -> None:
    stats = Stats(app)
    sizes = (stats.processed, stats.failed, stats.scheduled_size, stats.retry_size, stats.dead_size)
    assert sizes == (0, 0, 0, 0, 0)
    assert (stats.enqueued, stats.processes_size, stats.workers_size) == (0, 0, 0)
    assert (stats.default_queue_latency, stats.queues, stats.queue_summaries) == (0.0, {}, [])


def test_every_number_is_the_right_one(app: Sidekiq, redis: Any) -> None:
    redis.mset({"stat:processed": 11, "stat:failed": 12})
    for size, name in enumerate(("schedule", "retry", "dead"), 1):
        redis.zadd(name, {str(number): number for number in range(size)})
    queue(redis, "small", job())
    queue(redis, "large", job(), job(), job())
    queue(redis, "empty")
    for number, busy in enumerate((2, 5)):
        redis.sadd("processes", f"vm:{number}:a")
        redis.hset(f"vm:{number}:a", mapping={"info": "{}", "busy": busy})
    redis.sadd("processes", "gone:1:a")
    redis.sadd("paused", "small")
    stats = Stats(app)
    assert (stats.processed, stats.failed) == (11, 12)
    assert (stats.scheduled_size, stats.retry_size, stats.dead_size) == (1, 2, 3)
    assert (stats.processes_size, stats.workers_size, stats.enqueued) == (3, 7, 4)
    assert list(stats.queues.items()) == [("large", 3), ("small", 1), ("empty", 0)]
    assert [(queue.name, queue.size, queue.paused) for queue in stats.queue_summaries] == [
        ("large", 3, False),
        ("small", 1, True),
        ("empty", 0, False),
    ]


@pytest.mark.parametrize(
    ("payload", "latency_s"),
    [
        (job(enqueued_at=(NOW_S - 90) * 1000), 90.0),  # 8.x: whole milliseconds
        (job(enqueued_at=NOW_S - 90.25), 90.25),  # 6.x and 7.x: seconds with a point
        (job(created_at=(NOW_S - 5) * 1000), 5.0),
        (job(enqueued_at=(NOW_S - 2) * 1000, created_at=1), 2.0),
        (job(enqueued_at=(NOW_S + 60) * 1000), 0.0),  # the other clock is ahead
        (job(enqueued_at="soon"), 0.0),
        (job(enqueued_at=True), 0.0),
        (job(), 0.0),
        (b"no JSON", 0.0),
        (b"\xff", 0.0),
        (b"[1]", 0.0),
    ],
)
def test_latency(app: Sidekiq, redis: Any, payload: Any, latency_s: float) -> None:
    queue(redis, "default", payload, job(enqueued_at=1))
    with freeze_time("2026-11-24T02:56:40Z"):
        stats = Stats(app)
        assert stats.default_queue_latency == pytest.approx(latency_s)
        assert stats.queue_summaries[0].latency == pytest.approx(latency_s)


def test_what_is_read_when(app: Sidekiq, redis: Any) -> None:
    stats = Stats(app)
    redis.set("stat:processed", 1)
    queue(redis, "default", job())
    assert (stats.processed, stats.enqueued) == (0, 1)
    queue(redis, "default", job())
    assert (stats.enqueued, stats.queues) == (1, {"default": 2})
    stats.fetch_stats()
    assert (stats.processed, stats.enqueued) == (1, 2)


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ((), (b"0", b"0")),
        (("processed",), (b"0", b"4")),
        (("failed",), (b"3", b"0")),
        (("failed", "processed"), (b"0", b"0")),
    ],
)
def test_reset(
    app: Sidekiq, redis: Any, dump: Any, names: tuple[str, ...], left: tuple[bytes, bytes]
) -> None:
    days = {"stat:processed:2026-11-24": 3, "stat:failed:2026-11-24": 4}
    redis.mset({"stat:processed": 3, "stat:failed": 4, **days})
    stats = Stats(app)
    stats.reset(*names)
    assert tuple(redis.mget("stat:processed", "stat:failed")) == left
    assert [int(count) for count in redis.mget(days)] == [3, 4]
    assert (stats.processed, stats.failed) == (3, 4)
    assert len(dump()) == 4


def test_reset_of_something_else_writes_nothing(app: Sidekiq, redis: Any, dump: Any) -> None:
    redis.set("stat:processed", 3)
    with pytest.raises(ConfigurationError, match="'enqueued'"):
        Stats(app).reset("processed", "enqueued")
    assert dump() == {"stat:processed": "3"}


def test_a_counter_that_is_no_number(app: Sidekiq, redis: Any) -> None:
    redis.mset({"stat:processed": "abc", "stat:failed": 4})
    stats = Stats(app)
    assert (stats.processed, stats.failed) == (0, 4)
    stats.reset()
    assert redis.get("stat:processed") == b"0"


def test_a_key_of_the_wrong_type_is_an_error(app: Sidekiq, redis: Any) -> None:
    redis.set("retry", "a string")
    with pytest.raises(ScriptError, match=r"stats\.lua:\d+.*WRONGTYPE"):
        Stats(app)


def test_no_server() -> None:
    with pytest.raises(RedisUnavailable):
        Stats(Sidekiq(redis="redis://127.0.0.1:1/0"))


def test_no_call_reads_more_than_100(app: Sidekiq, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"queue-{number:03}" for number in range(250)]
    redis.sadd("queues", *names)
    redis.sadd("processes", *names)
    for name in names:
        redis.lpush(f"queue:{name}", json.dumps(job()))
        redis.hset(name, mapping={"info": "{}", "busy": 2})
    keys: list[int] = []
    run = Transport.run

    def counted(transport: Transport, call: Any) -> Any:
        keys.append(len(call.keys))
        return run(transport, call)

    monkeypatch.setattr(Transport, "run", counted)
    stats = Stats(app)
    assert sorted(stats.queues) == names
    assert (stats.enqueued, stats.workers_size) == (250, 500)
    assert max(keys) == 101  # a page of queues, and the set of the paused ones


def test_the_default_instance(url: str, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    redis.set("stat:processed", 5)
    monkeypatch.setattr(sidekiq_lua.sidekiq.config, "redis", {"url": url})
    try:
        assert Stats().processed == 5
    finally:
        sidekiq_lua.sidekiq.close()
