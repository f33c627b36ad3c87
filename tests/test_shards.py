"""The client and the Data API on several Redis servers."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from both_clients import KINDS, app, client, client_of
from servers import Server

from sidekiq_lua import (
    AsyncClient,
    Client,
    DeadSet,
    Deploy,
    IterableJobQuery,
    MetricsQuery,
    PausedClass,
    ProcessSet,
    ProfileSet,
    Queue,
    RetrySet,
    ScheduledSet,
    Sidekiq,
    Stats,
    StatsHistory,
    WorkSet,
)
from sidekiq_lua.errors import ConfigurationError


@pytest.fixture
def other(make_server: Callable[..., Server]) -> Server:
    return make_server()


@pytest.fixture
def sharded(app: Sidekiq, other: Server) -> Sidekiq:
    app.config.pools = {"eu": {"url": other.url}}
    return app


def fill(app: Sidekiq, server: Server, n: int) -> None:
    """Put n of everything on a server."""
    day = app.clock.day()
    with server.client() as redis:
        redis.mset({"stat:processed": n, "stat:failed": n, f"stat:processed:{day}": n})
        for number in range(n):
            redis.lpush("queue:default", f'{{"class":"A","args":[{n}],"jid":"a{number}"}}')
            for name in ("schedule", "retry", "dead"):
                redis.zadd(name, {f'{{"class":"B","args":[{n},{number}],"jid":"b{number}"}}': 5_000_000_000})
            redis.sadd("processes", f"host:{number}:x")
            redis.hset(f"host:{number}:x", "info", '{"hostname":"host"}')
            redis.hset(f"host:{number}:x:work", "t", '{"queue":"q","payload":"{}","run_at":1}')
            redis.hset(f"it-{number}", mapping={"ex": n, "c": "1", "rt": "1"})
            redis.zadd("profiles", {f"p-{number}": 5_000_000_000})
            redis.hset(
                f"p-{number}", mapping={"jid": "p", "started_at": 1, "elapsed": 1, "size": 1, "type": "A"}
            )
        redis.sadd("queues", "default")
        redis.hset(f"{day.replace('-', '')}-marks", f"{day}T00:00:00Z", f"v{n}")


LOOKS: dict[str, tuple[Callable[[Any], Any], Callable[[int], Any]]] = {
    "Stats": (
        lambda app: (Stats(app).enqueued, Stats(app).dead_size, Stats(app).processed),
        lambda n: (n,) * 3,
    ),
    "StatsHistory": (lambda app: sum(StatsHistory(1, app=app).processed.values()), lambda n: n),
    "Queue": (lambda app: [job.args for job in Queue("default", app)], lambda n: [[n]] * n),
    "Queue.all": (lambda app: [queue.size for queue in Queue.all(app)], lambda n: [n]),
    "ScheduledSet": (lambda app: len(list(ScheduledSet(app))), lambda n: n),
    "RetrySet": (lambda app: RetrySet(app).size, lambda n: n),
    "DeadSet": (lambda app: DeadSet(app).size, lambda n: n),
    "ProcessSet": (lambda app: len(list(ProcessSet(app, clean=False))), lambda n: n),
    "WorkSet": (lambda app: len(list(WorkSet(app))), lambda n: n),
    "Deploy": (lambda app: [*Deploy(app).fetch().values()], lambda n: [f"v{n}"]),
    "MetricsQuery": (
        lambda app: [m[-2] for m in MetricsQuery(app).top_jobs(hours=72).marks],
        lambda n: [f"v{n}"],
    ),
    "ProfileSet": (lambda app: len(list(ProfileSet(app))), lambda n: n),
    "IterableJobQuery": (lambda app: IterableJobQuery("0", app)["0"].executions, lambda n: n),
}
"""What each class of the Data API says of a server that has n of everything."""


@pytest.mark.parametrize("name", LOOKS)
def test_each_class_looks_at_the_shard(sharded: Sidekiq, server: Server, other: Server, name: str) -> None:
    fill(sharded, server, 1)
    fill(sharded, other, 2)
    look, expected = LOOKS[name]
    assert look(sharded) == expected(1)
    assert look(sharded.shard("eu")) == expected(2)
    with sharded.client.via("eu"):
        assert look(sharded) == expected(2)
        with sharded.client.via("default"):
            assert look(sharded) == expected(1)


def test_what_was_found_on_a_shard_stays_there(sharded: Sidekiq, server: Server, other: Server) -> None:
    fill(sharded, server, 1)
    fill(sharded, other, 2)
    with sharded.client.via("eu"):
        queue, entries = Queue("default", sharded), list(DeadSet(sharded))
        held = PausedClass("HeldJob", sharded)
    before = DeadSet(sharded)
    assert entries[0].retry()
    assert (queue.size, Queue("default", sharded).size) == (3, 1)
    assert held.pause()
    assert [paused.name for paused in PausedClass.all(sharded.shard("eu"))] == ["HeldJob"]
    assert not PausedClass.all(sharded)
    with sharded.client.via("eu"):
        assert (before.size, DeadSet(sharded).size) == (1, 1)
    assert queue.clear() == 3
    assert (queue.size, Queue("default", sharded).size) == (0, 1)


def test_a_shard_pushes_there(sharded: Sidekiq, server: Server, other: Server) -> None:
    eu = sharded.shard("eu")
    eu.client.enqueue("A", 1)
    eu.client.push_bulk({"class": "A", "args": [[1], [1]]})
    Client(eu).enqueue("A", 1)

    async def push() -> None:
        async with AsyncClient(eu) as client:
            await client.enqueue("A", 1)

    asyncio.run(push())
    with sharded.client.via("default"):
        eu.client.enqueue("A", 1)  # who names a shard means it
    assert (Queue("default", sharded).size, Queue("default", eu).size) == (0, 6)


def test_default_is_the_setting_redis(sharded: Sidekiq, client: Any) -> None:
    with client.via("eu"):
        client.enqueue("A", 1)
        with client.via("default"):
            client.enqueue("A", 2)
        client.push({"class": "A", "args": [3], "pool": "default"})
    sizes = [[job.args for job in Queue("default", one)] for one in (sharded, sharded.shard("eu"))]
    assert sizes == [[[3], [2]], [[1]]]
    assert sharded.shard("default") is sharded


def test_a_pool_may_be_called_default(app: Sidekiq, client: Any, other: Server) -> None:
    app.config.pools = {"default": {"url": other.url}}
    with client.via("default"):
        client.enqueue("A", 1)
    assert (Queue("default", app).size, Queue("default", app.shard("default")).size) == (0, 1)


def test_a_shard_is_the_instance_elsewhere(sharded: Sidekiq, other: Server) -> None:
    eu = sharded.shard("eu")
    assert eu is sharded.shard("eu") is eu.shard("eu")
    assert (eu.config, eu.registry, eu.codec, eu.logger) == (
        sharded.config, sharded.registry, sharded.codec, sharded.logger,
    )  # fmt: skip
    assert str(other.port) in str(eu.endpoint())
    assert eu.transport() is sharded.transport("eu")
    assert eu.redis_info()["tcp_port"] == str(other.port)

    class EuJob(eu.Job):  # type: ignore[name-defined, misc]
        def perform(self) -> None: ...

    assert EuJob.perform_async()
    assert list(sharded.registry) == [EuJob]
    assert Queue("default", eu).size == 1


def test_an_unknown_shard(sharded: Sidekiq) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no Redis pool is called 'us' \(the setting `pools` has: eu\)"
    ):
        sharded.shard("us")
