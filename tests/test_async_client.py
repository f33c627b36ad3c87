"""What only the asyncio client has: tasks, cancellation, its loop, and `async with`."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import pytest
from both_clients import app
from proxy import Fate, Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua import AsyncClient, Sidekiq
from sidekiq_lua.client import BaseClient
from sidekiq_lua.errors import RedisError, RedisUnavailable


def jids(redis: Any, queue: str = "default") -> list[str]:
    return [json.loads(raw)["jid"] for raw in redis.lrange(f"queue:{queue}", 0, -1)[::-1]]


@pytest.fixture
def other(make_server: Callable[..., Server]) -> Server:
    return make_server()


@pytest.fixture
def proxy(server: Server, url: str) -> Iterator[Proxy]:
    with Proxy(server.port) as made:
        yield made


async def arrived(proxy: Proxy) -> None:
    """Wait until what the proxy holds has come, and who sent it waits for the reply."""
    while not proxy.met:
        await asyncio.sleep(0)
    # Python 3.11 loses a cancellation that comes in the very turn in which the sending ends.
    for _ in range(5):
        await asyncio.sleep(0)


def test_it_has_every_method_of_the_client() -> None:
    public = {name for name in vars(BaseClient) if not name.startswith("_")} - {"default"}
    assert public == {
        "push",
        "push_bulk",
        "enqueue",
        "enqueue_to",
        "enqueue_in",
        "enqueue_to_in",
        "cancel",
        "via",
        "close",
    }
    assert not [name for name in public if not hasattr(AsyncClient, name)]


def test_the_default_instance(url: str, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)

    async def main() -> Any:
        async with AsyncClient() as client:
            return await client.enqueue("A")

    jid = asyncio.run(main())
    assert jids(redis) == [jid]


def test_async_with_closes_it(app: Sidekiq, redis: Any, url: str) -> None:
    app.config.redis = {"url": url, "client_name": "async-with"}

    def connected() -> bool:
        return any(found["name"] == "async-with" for found in redis.client_list())

    async def main() -> None:
        async with app.async_client() as client:
            assert await client.enqueue("A")
            assert connected()
        wait_until(lambda: not connected(), what="the connection is closed")
        assert await client.enqueue("A")  # and it can be used again
        await client.close()
        await client.close()

    asyncio.run(main())
    assert len(jids(redis)) == 2


def test_100_tasks_share_one_connection(app: Sidekiq, redis: Any, url: str) -> None:
    app.config.redis = {"url": url, "client_name": "tasks", "pool_size": 5}
    most = 0

    async def main() -> list[Any]:
        async with app.async_client() as client:

            async def push(task: int) -> list[Any]:
                nonlocal most
                found = [await client.enqueue("A", task, n) for n in range(5)]
                found += await client.push_bulk({"class": "A", "args": [[task, n] for n in range(5, 10)]})
                most = max(most, sum(each["name"] == "tasks" for each in redis.client_list()))
                return found

            return await asyncio.gather(*(push(task) for task in range(100)))

    found = [jid for each in asyncio.run(main()) for jid in each]
    assert len(found) == len(set(found)) == 1000
    assert set(jids(redis)) == set(found)
    assert most == 1


def test_the_loop_goes_on_while_a_push_waits(proxy: Proxy) -> None:
    app = Sidekiq(redis=proxy.url)

    async def main() -> None:
        async with app.async_client() as client:
            await client.enqueue("A")
            proxy.on(b"EVALSHA", Fate.HOLD)
            push = asyncio.create_task(client.enqueue("A"))
            await arrived(proxy)
            assert not push.done()
            proxy.release()
            assert await push

    asyncio.run(main())


@pytest.mark.parametrize("how", ["push", "push_bulk"])
def test_a_cancelled_push_leaves_no_reply_for_the_next(proxy: Proxy, redis: Any, how: str) -> None:
    app = Sidekiq(redis={"url": proxy.url, "pool_size": 1})
    item: Any = {"class": "A", "args": []}
    if how == "push_bulk":
        app.config.client_middleware.add(Spread)
        item = {"class": "A", "args": [["default"], ["low"]]}

    async def main() -> str | None:
        async with app.async_client() as client:
            await client.enqueue("A", "default")
            proxy.on(b"queue:default", Fate.HOLD)
            push = asyncio.create_task(getattr(client, how)(item))
            await arrived(proxy)
            push.cancel()
            with suppress(asyncio.CancelledError):
                await push
            assert push.cancelled()
            # One connection only, and it had an answer to come: the next push has a new one.
            return await client.enqueue("A", "default")

    last = asyncio.run(main())
    assert proxy.connections == 2
    assert jids(redis)[-1] == last
    assert len(jids(redis)) == 3


class Spread:
    """Sends each job to the queue that its first argument names."""

    def call(self, job_class, payload, queue, redis, next):
        payload["queue"] = payload["args"][0] if payload["args"] else "default"
        return next()


TWO_QUEUES: dict[str, Any] = {"class": "A", "args": [["default"], ["low"]]}
"""A bulk of several calls takes a connection of the pool for itself."""


def test_a_cancelled_wait_for_a_connection(proxy: Proxy, redis: Any) -> None:
    app = Sidekiq(redis={"url": proxy.url, "pool_size": 1, "pool_timeout": 30})
    app.config.client_middleware.add(Spread)

    async def main() -> None:
        async with app.async_client() as client:
            await client.enqueue("A", "default")
            proxy.on(b"EVALSHA", Fate.HOLD)
            first = asyncio.create_task(client.push_bulk(TWO_QUEUES))
            await arrived(proxy)
            second = asyncio.create_task(client.push_bulk(TWO_QUEUES))
            await asyncio.sleep(0)
            second.cancel()
            with suppress(asyncio.CancelledError):
                await second
            proxy.release()
            assert await first
            assert await client.push_bulk(TWO_QUEUES)

    asyncio.run(main())
    assert len(jids(redis)) == 3


def test_a_second_event_loop(app: Sidekiq, redis: Any) -> None:
    client = app.async_client()

    async def push() -> Any:
        return await client.enqueue("A")

    async def push_and_close() -> Any:
        await client.enqueue("A")
        await client.close()

    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(push())
        with pytest.raises(
            RedisError, match="belongs to another event loop: make one AsyncClient for each loop"
        ):
            second.run(push())
        with pytest.raises(RedisError, match="belongs to another event loop"):
            second.run(client.close())
        # What was closed belongs to nobody.
        first.run(push_and_close())
        assert second.run(push())
        second.run(client.close())
    assert len(jids(redis)) == 3


def test_an_event_loop_that_ended_before_it_was_closed(app: Sidekiq, redis: Any) -> None:
    client = app.async_client()

    async def push() -> Any:
        return await client.enqueue("A")

    async def close_and_push() -> Any:
        await client.close()
        await client.enqueue("A")
        await client.close()

    asyncio.run(push())
    asyncio.run(close_and_push())
    assert len(jids(redis)) == 2


def test_two_loops_in_two_threads(app: Sidekiq, redis: Any) -> None:
    together = threading.Barrier(2)

    def work() -> None:
        async def main() -> None:
            async with app.async_client() as client:
                together.wait(10)
                await asyncio.gather(*(client.enqueue("A") for _ in range(100)))

        asyncio.run(main())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(jids(redis))) == 200


def test_via_with_a_function_is_awaited(app: Sidekiq, redis: Any, other: Server) -> None:
    app.config.pools = {"away": {"url": other.url}}

    async def main() -> tuple[Any, Any]:
        async with app.async_client() as client, app.async_client("away") as away:
            return await client.via("away", lambda: client.enqueue("A")), await away.enqueue("A")

    pushed = asyncio.run(main())
    with other.client() as there:
        assert jids(there) == list(pushed)
    assert jids(redis) == []


def test_tasks_have_a_via_of_their_own(app: Sidekiq, redis: Any, other: Server) -> None:
    async def main() -> None:
        async with app.async_client() as client:
            inside, outside = asyncio.Event(), asyncio.Event()

            async def away() -> None:
                with client.via(other.url):
                    inside.set()
                    await outside.wait()
                    await client.enqueue("A")

            async def here() -> None:
                await inside.wait()
                await client.enqueue("A")
                outside.set()

            await asyncio.gather(away(), here())

    asyncio.run(main())
    with other.client() as there:
        assert len(jids(redis)) == len(jids(there)) == 1


def test_a_via_that_ends_in_another_context(app: Sidekiq, other: Server) -> None:
    """As the blocks of async generators may, and those of generators that a web framework runs in threads."""

    def away() -> Iterator[None]:
        with app.client.via(other.url):
            yield

    block = away()
    copy_context().run(next, block)
    with pytest.raises(StopIteration):
        next(block)


def test_a_job_pushed_from_the_class_in_the_block_goes_there_too(
    app: Sidekiq, redis: Any, other: Server
) -> None:
    class ThisJob(app.Job):
        def perform(self): ...

    async def main() -> None:
        async with app.async_client() as client:
            with client.via(other.url):
                ThisJob.perform_async()

    asyncio.run(main())
    assert jids(redis) == []
    with other.client() as there:
        assert len(jids(there)) == 1


def test_all_connections_are_in_use(proxy: Proxy) -> None:
    app = Sidekiq(redis={"url": proxy.url, "pool_size": 1, "pool_timeout": 0.01})
    app.config.client_middleware.add(Spread)

    async def main() -> None:
        async with app.async_client() as client:
            await client.enqueue("A", "default")
            proxy.on(b"EVALSHA", Fate.HOLD)
            first = asyncio.create_task(client.push_bulk(TWO_QUEUES))
            await arrived(proxy)
            with pytest.raises(RedisUnavailable, match="all 1 are in use; raise pool_size"):
                await client.push_bulk(TWO_QUEUES)
            proxy.release()
            assert await first

    asyncio.run(main())
