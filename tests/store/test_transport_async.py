"""The asyncio transport keeps the promises of the synchronous one, and those that cancelling asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis as redis_py
from keyspace import STORE, contents, job
from proxy import Fate, Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua.errors import (
    LoginRefused,
    LostReply,
    RedisError,
    RedisFull,
    RedisNotReady,
    RedisRefused,
    RedisUnavailable,
    ScriptError,
)
from sidekiq_lua.store import AsyncTransport, Endpoint, fault
from sidekiq_lua.store import transport_async as module
from sidekiq_lua.store.queues import QueueSize


def push(*numbers: int, queue: str = "default") -> Any:
    return STORE.queues.push(queue, [job(n) for n in numbers])


@asynccontextmanager
async def connected(
    url: str, options: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[AsyncTransport]:
    transport = AsyncTransport(Endpoint(url, options), **more)
    try:
        yield transport
    finally:
        await transport.close()


async def until(predicate: Callable[[], Any]) -> None:
    await asyncio.to_thread(wait_until, predicate)


async def raised(awaitable: Awaitable[Any]) -> Exception:
    try:
        result = await awaitable
    except Exception as error:
        return error
    raise AssertionError(f"it gave {result!r}")


def sent(proxy: Proxy, words: bytes) -> int:
    return sum(request.count(words) for request in proxy.requests)


# -- scripts and errors -----------------------------------------------------------------------


def test_scripts_are_loaded_when_the_server_lacks_them(url: str, redis: redis_py.Redis) -> None:
    async def main() -> None:
        async with connected(url) as transport:
            for _ in range(2):
                redis.flushall()
                redis.script_flush()
                assert await transport.run(push(1)) == 1
                redis.script_flush()
                calls = [push(2), STORE.queues.sizes(["default"]), push(3)]
                size = QueueSize("default", 2, job(1), paused=False)
                assert await transport.run_many(calls) == [2, [size], 3]
            assert await transport.run_many([]) == []

    asyncio.run(main())
    assert contents(redis) == {"queues": {"default"}, "queue:default": [job(3), job(2), job(1)]}


@pytest.mark.parametrize("many", [False, True])
def test_a_script_that_is_forgotten_as_soon_as_it_is_loaded(
    url: str, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    redis.script_flush()
    stages = {"before", "loaded"} if many else {"loaded"}
    monkeypatch.setattr(fault, "at", lambda stage, name: stage in stages and redis.script_flush())

    async def main() -> None:
        async with connected(url) as transport:
            if many:
                assert await transport.run_many([push(1), push(2)]) == [1, 2]
            else:
                assert [await transport.run(push(n)) for n in (1, 2)] == [1, 2]

    asyncio.run(main())
    assert contents(redis) == {"queues": {"default"}, "queue:default": [job(2), job(1)]}


def test_errors_are_the_same_ones(url: str, redis: redis_py.Redis, make_server: Any) -> None:
    redis.set("queue:bad", "x")
    full = make_server(maxmemory=1)
    replica = make_server(replicaof="127.0.0.1 1")
    dead = make_server()
    dead.stop()

    async def main() -> None:
        async with connected(url) as transport:
            error = await raised(transport.run(push(1, queue="bad")))
            assert isinstance(error, ScriptError)
            assert str(error).startswith("push.lua:")
            first, failed, last = await transport.run_many([push(1), push(2, queue="bad"), push(3)])
            assert (first, type(failed), last) == (1, ScriptError, 2)
        async with connected(full.url) as transport:
            assert type(await raised(transport.run(push(1)))) is RedisFull
        async with connected(replica.url) as transport:
            assert type(await raised(transport.run(push(1)))) is RedisNotReady
            assert [type(r) for r in await transport.run_many([push(1)])] == [RedisNotReady]
        async with connected(dead.url) as transport:
            assert type(await raised(transport.run(push(1)))) is RedisUnavailable
            assert type(await raised(transport.run_many([push(1)]))) is RedisUnavailable

    asyncio.run(main())


def test_a_refused_login(url: str, redis: redis_py.Redis) -> None:
    async def main() -> Exception:
        async with connected(url, {"username": "nobody", "password": "s3cr3t"}) as transport:
            return await raised(transport.run(push(1)))

    error = asyncio.run(main())
    assert type(error) is LoginRefused
    assert "refused the login" in str(error)
    assert "s3cr3t" not in str(error)


def test_scripts_that_may_not_be_loaded(url: str, redis: redis_py.Redis) -> None:
    redis.execute_command("ACL", "SETUSER", "tester", "reset", "on", ">pw", "~*", "+evalsha")

    async def main() -> Exception:
        async with connected(url, {"username": "tester", "password": "pw"}) as transport:
            return await raised(transport.run_many([push(1)]))

    try:
        assert type(asyncio.run(main())) is RedisRefused
    finally:
        redis.execute_command("ACL", "DELUSER", "tester")


def test_after_a_failover_a_call_goes_to_the_new_primary(
    make_server: Any, server: Server, redis: redis_py.Redis
) -> None:
    replica = make_server(replicaof="127.0.0.1 1")

    async def main(proxy: Proxy, *calls: Any) -> Any:
        async with connected(proxy.url) as transport:
            return await (transport.run(calls[0]) if len(calls) == 1 else transport.run_many(calls))

    with Proxy(replica.port, server.port) as proxy:
        assert asyncio.run(main(proxy, push(1))) == 1
    with Proxy(replica.port, server.port) as proxy:
        assert asyncio.run(main(proxy, push(2), push(3))) == [2, 3]


# -- lost replies -----------------------------------------------------------------------------


@pytest.mark.parametrize(("fate", "jobs"), [(Fate.CUT_REPLY, 1), (Fate.CUT_REQUEST, 0)])
def test_a_push_without_an_answer_is_sent_once(
    proxy: Proxy, redis: redis_py.Redis, fate: Fate, jobs: int
) -> None:
    async def main() -> None:
        async with connected(proxy.url) as transport:
            await transport.run(push(9))
            redis.flushall()
            proxy.requests.clear()
            proxy.on(b"EVALSHA", fate)
            error = await raised(transport.run(push(1)))
            assert isinstance(error, LostReply)
            assert "did not answer push, which may have run" in str(error)
            assert (sent(proxy, b"EVALSHA"), redis.llen("queue:default")) == (jobs, jobs)
            assert await transport.run(push(2)) == jobs + 1

    asyncio.run(main())


def test_a_read_is_sent_again_once(proxy: Proxy) -> None:
    async def main() -> None:
        async with connected(proxy.url) as transport:
            await transport.run(STORE.queues.names())
            proxy.requests.clear()
            proxy.on(b"EVALSHA_RO", Fate.CUT_REPLY)
            assert await transport.run(STORE.queues.names()) == ("0", [])
            assert sent(proxy, b"EVALSHA_RO") == 2
            proxy.on(b"EVALSHA_RO", Fate.CUT_REPLY, times=2)
            assert type(await raised(transport.run(STORE.queues.names()))) is LostReply
            assert sent(proxy, b"EVALSHA_RO") == 4

    asyncio.run(main())


def test_many_calls(proxy: Proxy, redis: redis_py.Redis) -> None:
    async def main() -> None:
        async with connected(proxy.url) as transport:
            proxy.on(b"EXISTS", Fate.CUT_REPLY)
            assert await transport.run_many([push(1), push(2)]) == [1, 2]
            proxy.on(b"EXISTS", Fate.CUT_REPLY, times=2)
            assert type(await raised(transport.run_many([push(3), push(4)]))) is RedisUnavailable
            assert redis.llen("queue:default") == 2
            proxy.on(b"EVALSHA", Fate.CUT_REPLY)
            assert type(await raised(transport.run_many([push(3), push(4)]))) is LostReply
            assert redis.llen("queue:default") in (3, 4)

    asyncio.run(main())


def test_no_answer_in_time(proxy: Proxy) -> None:
    async def main() -> None:
        async with connected(proxy.url, {"socket_timeout": 1}) as transport:
            await transport.run(push(1))
            proxy.on(b"EVALSHA", Fate.HOLD)
            error = await raised(transport.run(push(2)))
            assert isinstance(error, LostReply)
            assert "Timeout" in str(error)
            proxy.release()
            assert await transport.run(push(3)) == 3

    asyncio.run(main())


# -- cancelling -------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [False, True], ids=["run", "run_many"])
def test_a_cancelled_call_leaves_its_reply_to_nobody(proxy: Proxy, redis: redis_py.Redis, many: bool) -> None:
    async def main() -> None:
        async with connected(proxy.url, size=1) as transport:
            await transport.run_many([push(9), STORE.queues.names()])
            proxy.requests.clear()
            proxy.on(b"EVALSHA", Fate.HOLD)
            call = transport.run_many([push(1), push(1)]) if many else transport.run(push(1))
            task = asyncio.ensure_future(call)
            await until(lambda: proxy.met and sent(proxy, b"EVALSHA"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            proxy.release()
            # The next call has the only slot, and gets its own answer.
            assert await transport.run(STORE.queues.names()) == ("0", ["default"])
            assert await transport.run(push(2, queue="other")) == 1

    asyncio.run(main())
    waiting = contents(redis)["queue:default"]
    assert waiting[-2:] == [job(1), job(9)]
    assert len(waiting) <= 3 if many else len(waiting) == 2


def test_a_call_that_is_cancelled_while_it_connects_gives_its_slot_back(
    proxy: Proxy, redis: redis_py.Redis
) -> None:
    async def main() -> None:
        async with connected(proxy.url, size=1, wait_s=0.05) as transport:
            proxy.on(b"CLIENT", Fate.SWALLOW)
            task = asyncio.ensure_future(transport.run(push(1)))
            await until(lambda: proxy.met)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await transport.run(push(2)) == 1

    asyncio.run(main())


def test_a_call_that_is_cancelled_while_it_waits_takes_no_slot(proxy: Proxy) -> None:
    async def main() -> None:
        async with connected(proxy.url, size=1) as transport:
            await transport.run(push(1))
            proxy.on(b"EVALSHA", Fate.HOLD)
            first = asyncio.ensure_future(transport.run_many([push(2)]))
            await until(lambda: proxy.met)
            waiting = [asyncio.ensure_future(transport.run_many([push(3)])) for _ in range(3)]
            await asyncio.sleep(0)
            for task in waiting:
                task.cancel()
            proxy.release()
            assert await first == [2]
            assert await transport.run_many([push(4)]) == [3]

    asyncio.run(main())


# -- the pool ---------------------------------------------------------------------------------


def test_no_free_connection_says_what_to_raise(proxy: Proxy) -> None:
    async def main() -> None:
        async with connected(proxy.url, size=2, wait_s=0.05) as transport:
            await transport.run(STORE.queues.names())
            proxy.on(b"EVALSHA_RO", Fate.HOLD, times=2)
            held = [asyncio.ensure_future(transport.run_many([STORE.queues.names()])) for _ in range(2)]
            await until(lambda: proxy.met)
            error = await raised(transport.run_many([STORE.queues.names()]))
            assert type(error) is RedisUnavailable
            assert str(error) == (
                f"no free connection to {proxy.url} within 0.05 s: all 2 are in use; raise pool_size"
            )
            proxy.release()
            assert await asyncio.gather(*held) == [[("0", [])]] * 2

    asyncio.run(main())


def test_many_tasks_share_one_connection(proxy: Proxy, redis: redis_py.Redis) -> None:
    async def main() -> None:
        async with connected(proxy.url, size=3, wait_s=30) as transport:
            lengths = await asyncio.gather(*(transport.run(push(1, queue=str(n))) for n in range(100)))
            assert lengths == [1] * 100

    asyncio.run(main())
    assert proxy.connections == 1
    assert redis.scard("queues") == 100


def test_it_belongs_to_one_event_loop(url: str, redis: redis_py.Redis) -> None:
    transport = AsyncTransport(Endpoint(url))

    async def first() -> None:
        await transport.run(push(1))
        await transport.close()

    asyncio.run(first())
    transport = AsyncTransport(Endpoint(url))

    async def leave_open() -> None:
        await transport.run(push(2))
        while transport._idle:
            await transport._idle.pop()[0].disconnect()

    asyncio.run(leave_open())
    with pytest.raises(RedisError, match="belongs to another event loop: make one AsyncClient for each loop"):
        asyncio.run(transport.run(push(3)))

    assert redis.llen("queue:default") == 2


def test_close_closes_idle_connections(url: str, redis: redis_py.Redis) -> None:
    def clients() -> int:
        return sum(client["name"] == "closing" for client in redis.client_list())

    async def main() -> None:
        transport = AsyncTransport(Endpoint(url, {"client_name": "closing"}))
        await transport.run(push(1))
        assert clients() == 1
        await transport.close()
        await transport.close()
        await until(lambda: clients() == 0)
        error = await raised(transport.run(push(2)))
        assert type(error) is RedisUnavailable
        assert "was closed" in str(error)

    asyncio.run(main())


def test_a_connection_that_the_server_closed_while_the_loop_was_blocked_is_not_used(
    make_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IDLE_CHECK_S", 0.0)
    server: Server = make_server()

    async def main() -> None:
        async with connected(server.url) as transport:
            assert await transport.run(push(1)) == 1
            server.restart()  # the loop stands still meanwhile
            assert await transport.run(push(1)) == 1

    asyncio.run(main())
