"""The asyncio transport beside what else its event loop does: standing still, giving up, ending."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from time import sleep
from typing import Any

import pytest
import redis as redis_py
from keyspace import STORE, job
from proxy import Proxy

from sidekiq_lua.errors import RedisError, RedisUnavailable, ScriptError
from sidekiq_lua.store import AsyncTransport, Endpoint


def push(*numbers: int) -> Any:
    return STORE.queues.push("default", [job(n) for n in numbers])


def test_an_answer_that_came_while_the_loop_was_blocked(url: str, redis: redis_py.Redis) -> None:
    async def main() -> None:
        transport = AsyncTransport(Endpoint(url, {"socket_timeout": 0.5}))
        await transport.run(push(1))
        call = asyncio.ensure_future(transport.run(push(2)))
        await asyncio.sleep(0)
        sleep(0.8)  # noqa: ASYNC251 -- the loop stands still
        assert await call == 2
        await transport.close()

    asyncio.run(main())


def test_a_connection_that_broke_in_this_very_turn_is_not_used(url: str, redis: redis_py.Redis) -> None:
    """As when 50 tasks push at once: the first one's write failed, and nobody was told yet."""

    async def main() -> None:
        transport = AsyncTransport(Endpoint(url))
        await transport.run(push(1))
        assert transport._shared
        transport._shared._writer.transport.abort()
        assert await transport.run(push(2)) == 2
        await transport.close()

    asyncio.run(main())


def test_who_calls_again_at_once_is_not_cancelled(proxy: Proxy, redis: redis_py.Redis) -> None:
    """The connection that nobody waits for any more is being given up at that moment."""

    async def main() -> None:
        transport = AsyncTransport(Endpoint(proxy.url))
        proxy.silence()
        for n in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await transport.run(push(n))
        proxy.heal()
        assert await transport.run(push(3)) == 1
        await transport.close()

    asyncio.run(main())


def test_who_gives_up_takes_no_others_along(url: str, redis: redis_py.Redis) -> None:
    """Three who failed to connect try again at once, and one of them has no more patience."""

    async def main() -> None:
        transport = AsyncTransport(Endpoint(url))
        open_, times = transport._open, []

        async def slowly(connection: Any) -> None:
            times.append(1)
            await asyncio.sleep(0.05 * len(times))
            if len(times) == 1:
                raise RedisUnavailable
            await open_(connection)

        async def insist(n: int) -> Any:
            with suppress(RedisUnavailable):
                return await transport.run(push(n))
            return await transport.run(push(n))

        transport._open = slowly  # type: ignore[method-assign]
        tasks = [asyncio.ensure_future(insist(n)) for n in range(3)]
        while len(times) < 2:
            await asyncio.sleep(0.01)
        tasks[0].cancel()
        assert [await tasks[n] for n in (1, 2)] == [1, 2]
        await transport.close()

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="such tasks are new in Python 3.12")
def test_eager_tasks_come_back_after_an_outage(make_server: Any) -> None:
    """A Unix socket that is not there fails at once: in such a task, before anybody waits for it."""
    server = make_server()

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        transport = AsyncTransport(Endpoint(server.unix_url))
        server.stop()
        with pytest.raises(RedisUnavailable):
            await transport.run(push(1))
        server.restart()
        assert await transport.run(push(1)) == 1
        await transport.close()

    asyncio.run(main())


def test_close_on_another_event_loop(url: str, redis: redis_py.Redis) -> None:
    transport = AsyncTransport(Endpoint(url))
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(transport.run(push(1)))
        with pytest.raises(RedisError, match="belongs to another event loop"):
            second.run(transport.close())
        assert first.run(transport.run(push(2))) == 2
    asyncio.run(transport.close())  # its loop has ended, and with it the connection


def test_what_is_too_long_for_the_server_is_refused_and_costs_the_next_call_nothing(make_server: Any) -> None:
    """It answers, and closes the connection while the rest of the argument is being written."""
    server = make_server(proto_max_bulk_len="1mb")

    async def main() -> None:
        transport = AsyncTransport(Endpoint(server.url))
        for n in range(20):
            assert await transport.run(push(n)) == n + 1
            with pytest.raises(ScriptError, match="Protocol error"):
                await transport.run(STORE.queues.push("default", [b"x" * 8_000_000]))
        await transport.close()

    asyncio.run(main())
