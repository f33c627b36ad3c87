"""The synchronous transport: scripts, errors, the pool, and what is never sent twice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis as redis_py
from keyspace import DAY, MINE, NOW, STORE, contents, job, put
from proxy import Fate, Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua.errors import RedisFull, RedisNotReady, RedisRefused, RedisUnavailable, ScriptError
from sidekiq_lua.store import Transport, fault
from sidekiq_lua.store import transport as transport_module
from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.entries import Entry
from sidekiq_lua.store.queues import QueueSize

Connect = Callable[..., Transport]


def push(*numbers: int, queue: str = "default") -> Any:
    return STORE.queues.push(queue, [job(n) for n in numbers])


# -- scripts ----------------------------------------------------------------------------------


def test_a_script_that_the_server_forgot_is_loaded_again(transport: Transport, redis: redis_py.Redis) -> None:
    transport.run(push(1))
    redis.script_flush()
    transport.run(push(2))

    assert contents(redis) == {"queues": {"default"}, "queue:default": [job(2), job(1)]}


@pytest.mark.parametrize("many", [False, True])
def test_a_script_that_is_forgotten_as_soon_as_it_is_loaded(
    transport: Transport, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    redis.script_flush()
    stages = {"before", "loaded"} if many else {"loaded"}
    monkeypatch.setattr(fault, "at", lambda stage, name: stage in stages and redis.script_flush())

    results = transport.run_many([push(1), push(2)]) if many else [transport.run(push(n)) for n in (1, 2)]

    assert results == [1, 2]
    assert contents(redis) == {"queues": {"default"}, "queue:default": [job(2), job(1)]}


def test_many_calls_come_back_in_order(transport: Transport, redis: redis_py.Redis) -> None:
    for _ in range(2):
        redis.flushall()
        redis.script_flush()
        calls = [push(1), STORE.queues.sizes(["default"]), push(2), push(3), STORE.queues.names()]

        results = transport.run_many(calls)

        assert results == [1, [QueueSize("default", 1, job(1), paused=False)], 2, 3, ("0", ["default"])]
        assert contents(redis)["queue:default"] == [job(3), job(2), job(1)]


def test_many_calls_load_what_a_server_lacks_before_any_runs(
    transport: Transport, redis: redis_py.Redis
) -> None:
    """NOSCRIPT in the middle of a pipeline would run what comes after it first."""
    transport.run(STORE.queues.schedule([(NOW, job(9))]))
    redis.script_flush()
    transport.run(push(1))

    assert transport.run_many([STORE.queues.schedule([(NOW, job(8))]), push(2)]) == [1, 2]


def test_of_many_calls_one_may_fail(transport: Transport, redis: redis_py.Redis) -> None:
    redis.set("queue:bad", "a string")

    first, failed, last = transport.run_many([push(1), push(2, queue="bad"), push(3)])

    assert (first, last) == (1, 2)
    assert isinstance(failed, ScriptError)
    assert str(failed).startswith("push.lua:")


def test_no_calls_send_nothing(proxy: Proxy, connect: Connect) -> None:
    assert connect(proxy.url).run_many([]) == []
    assert proxy.connections == 0


def test_a_plain_command_answers_bytes(transport: Transport) -> None:
    assert transport.command("PING") == b"PONG"
    assert transport.command("ECHO", b"\xff") == b"\xff"


# -- errors -----------------------------------------------------------------------------------


def test_an_error_in_an_include_names_the_include(transport: Transport, redis: redis_py.Redis) -> None:
    put(redis, {"retry": "a string"})

    with pytest.raises(ScriptError, match=r"^lib/holds\.lua:4: WRONGTYPE"):
        transport.run(STORE.entries.delete("retry", Entry(job(1), NOW)))


def test_a_full_server_says_so(make_server: Callable[..., Server], connect: Connect) -> None:
    transport = connect(make_server(maxmemory=1).url)

    with pytest.raises(RedisFull, match=r"^push\.lua: Redis is full \(maxmemory\)"):
        transport.run(push(1))
    assert [type(result) for result in transport.run_many([push(1), push(2)])] == [RedisFull, RedisFull]
    assert transport.run(STORE.queues.names()) == ("0", [])


def test_a_connection_that_the_server_closes_after_its_answer_is_not_used(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it does with what it cannot read, such as an argument longer than proto-max-bulk-len."""
    for n in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(Call, "packed", lambda call: b"*1\r\n$-5\r\n")
            with pytest.raises(ScriptError, match="Protocol error"):
                transport.run(push(1))
        assert transport.run(push(n)) == 2 * n + 1
        with monkeypatch.context() as patch:
            patch.setattr(Call, "packed", lambda call: b"*1\r\n$-5\r\n")
            assert [type(result) for result in transport.run_many([push(1)])] == [ScriptError]
        assert transport.run_many([push(n)]) == [2 * n + 2]


def test_a_user_without_the_right_is_refused(url: str, redis: redis_py.Redis, connect: Connect) -> None:
    redis.execute_command(
        "ACL", "SETUSER", "tester", "reset", "on", ">pw", "~*", "+evalsha_ro", "+acl|whoami"
    )
    transport = connect(url, {"username": "tester", "password": "pw"})
    try:
        with pytest.raises(RedisRefused, match=r"^push\.lua: .*evalsha"):
            transport.run(push(1))
        with pytest.raises(RedisRefused, match=r"the scripts could not be loaded: .*script"):
            transport.run_many([push(1), push(2)])
        with pytest.raises(RedisRefused, match=r"^PING: NOPERM .*ping"):
            transport.command("PING")
        # The connection is still good, and no reply is left on it.
        assert transport.command("ACL", "WHOAMI") == b"tester"
    finally:
        redis.execute_command("ACL", "DELUSER", "tester")


def test_a_wrong_command_is_refused(transport: Transport) -> None:
    with pytest.raises(RedisRefused, match=r"^NONSENSE: unknown command"):
        transport.command("NONSENSE")


def test_no_server_is_unavailable(make_server: Callable[..., Server], connect: Connect) -> None:
    server = make_server()
    server.stop()
    transport = connect(server.url)

    for attempt in (
        lambda: transport.run(push(1)),
        lambda: transport.run_many([push(1)]),
        lambda: transport.command("PING"),
    ):
        with pytest.raises(RedisUnavailable, match=f"^Redis at {server.url} is not available") as caught:
            attempt()
        assert type(caught.value) is RedisUnavailable


def test_a_server_that_still_loads_its_data_is_unavailable(
    make_server: Callable[..., Server], connect: Connect
) -> None:
    """It says so instead of running the call, so the reply is not lost."""
    server = make_server(save="3600 1", key_load_delay=3000, loading_process_events_interval_bytes=1024)
    with server.client() as client:
        client.mset({f"key {n}": os.urandom(500) for n in range(200)})
    transport = connect(server.url)
    refusals: list[RedisUnavailable] = []

    def loads() -> bool:
        try:
            transport.run(push(1))
        except RedisUnavailable as error:
            refusals.append(error)
            return "loading" in str(error)
        return False

    server.stop()
    with ThreadPoolExecutor(1) as threads:
        start = threads.submit(server.restart)
        wait_until(loads)
        start.result(30)

    assert {type(refusal) for refusal in refusals} == {RedisUnavailable}
    assert transport.run(push(2)) == 1


# -- a replica --------------------------------------------------------------------------------


@pytest.fixture
def replica(make_server: Callable[..., Server]) -> Server:
    """A replica, so read-only, whose primary is away."""
    return make_server(replicaof="127.0.0.1 1")


def test_after_a_failover_a_call_goes_to_the_new_primary(
    replica: Server, server: Server, redis: redis_py.Redis, connect: Connect
) -> None:
    """The old primary says READONLY, so the call has not run; behind the name is another server by now."""
    with Proxy(replica.port, server.port) as proxy:
        assert connect(proxy.url).run(push(1)) == 1
    with Proxy(replica.port, server.port) as proxy:
        calls = [push(2), STORE.queues.names(), push(3)]
        # What the replica did answer is not asked again.
        assert connect(proxy.url).run_many(calls) == [2, ("0", []), 3]

    assert contents(redis) == {"queues": {"default"}, "queue:default": [job(3), job(2), job(1)]}


def test_a_replica_that_stays_one_refuses(replica: Server, connect: Connect) -> None:
    transport = connect(replica.url)

    with pytest.raises(RedisRefused, match=r"^push\.lua: this server is a replica, which takes no writes"):
        transport.run(push(1))
    assert [type(result) for result in transport.run_many([push(1)])] == [RedisNotReady]
    assert transport.run(STORE.queues.names()) == ("0", [])


# -- the pool ---------------------------------------------------------------------------------


def test_a_call_waits_for_a_free_connection(proxy: Proxy, connect: Connect) -> None:
    transport = connect(proxy.url, size=1, wait_s=30)
    transport.run(push(1))
    proxy.on(b"EVALSHA", Fate.HOLD)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(transport.run, push(2))
        wait_until(lambda: proxy.met)
        second = threads.submit(transport.run, push(3))
        proxy.release()
        assert (first.result(10), second.result(10)) == (2, 3)

    assert proxy.connections == 1


def test_no_free_connection_says_what_to_raise(proxy: Proxy, connect: Connect) -> None:
    transport = connect(proxy.url, size=2, wait_s=0.05)
    proxy.on(b"EVALSHA", Fate.HOLD, times=2)
    with ThreadPoolExecutor(2) as threads:
        held = [threads.submit(transport.run, push(n)) for n in (1, 2)]
        wait_until(lambda: proxy.met)

        with pytest.raises(RedisUnavailable) as caught:
            transport.run(push(3))

        proxy.release()
        assert sorted(call.result(10) for call in held) == [1, 2]
    assert str(caught.value) == (
        f"no free connection to {proxy.url} within 0.05 s: all 2 are in use; raise pool_size"
    )
    assert transport.run(push(4)) == 3


def test_many_threads_share_few_connections(proxy: Proxy, connect: Connect, redis: redis_py.Redis) -> None:
    transport = connect(proxy.url, size=3, wait_s=30)

    def work(thread: int) -> None:
        for n in range(50):
            name = f"{thread}-{n}"
            assert transport.run(push(1, queue=name)) == 1
            assert transport.run(STORE.queues.sizes([name])) == [QueueSize(name, 1, job(1), paused=False)]

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(work, n) for n in range(8)]:
            done.result(30)

    assert proxy.connections <= 3
    assert redis.scard("queues") == 400


def test_a_connection_is_given_back_after_every_kind_of_error(
    proxy: Proxy, connect: Connect, redis: redis_py.Redis
) -> None:
    transport = connect(proxy.url, size=1, wait_s=0.05)
    redis.set("queue:bad", "x")
    proxy.on(b"EVALSHA_RO", Fate.CUT_REPLY, times=4)

    for attempt in (
        lambda: transport.run(push(1, queue="bad")),
        lambda: transport.run(STORE.queues.names()),
        lambda: transport.run(STORE.queues.push("\ud800", [])),
        lambda: transport.run_many([STORE.queues.push("\ud800", [])]),
        lambda: transport.run_many([STORE.queues.names()]),
        lambda: transport.command("NONSENSE"),
    ):
        with pytest.raises((ScriptError, RedisRefused, RedisUnavailable, UnicodeEncodeError)) as caught:
            attempt()
        assert "no free connection" not in str(caught.value)

    assert transport.command("PING") == b"PONG"


# -- its end ----------------------------------------------------------------------------------


def clients(redis: redis_py.Redis, name: str) -> int:
    return sum(client["name"] == name for client in redis.client_list())


def test_close_closes_idle_connections(server: Server, redis: redis_py.Redis, connect: Connect) -> None:
    transport = connect(server.url, {"client_name": "closing"})
    transport.run(push(1))
    assert clients(redis, "closing") == 1

    transport.close()
    transport.close()

    wait_until(lambda: clients(redis, "closing") == 0)
    for attempt in (lambda: transport.run(push(2)), lambda: transport.command("PING")):
        with pytest.raises(RedisUnavailable, match=f"^the client of {server.url} was closed"):
            attempt()


def test_a_call_under_way_ends_well_when_the_transport_is_closed(
    proxy: Proxy, connect: Connect, redis: redis_py.Redis
) -> None:
    transport = connect(proxy.url, {"client_name": "closing"})
    proxy.on(b"EVALSHA", Fate.HOLD)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(transport.run, push(1))
        wait_until(lambda: proxy.met)
        transport.close()
        proxy.release()
        assert call.result(10) == 1

    wait_until(lambda: clients(redis, "closing") == 0)


def test_a_connection_that_the_server_closed_while_idle_is_not_used(
    make_server: Callable[..., Server], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push into it would be a LostReply that nobody can tell from a real one."""
    monkeypatch.setattr(transport_module, "_IDLE_CHECK_S", 0.0)
    server = make_server()
    transport = connect(server.url)
    assert transport.run(push(1)) == 1

    server.restart()

    assert transport.run(push(1)) == 1
    server.restart()
    assert transport.run_many([push(1), push(2)]) == [1, 2]
    server.restart()
    assert transport.command("PING") == b"PONG"


def test_a_bulk_push_notices_a_closed_connection_before_it_sends_jobs(
    make_server: Callable[..., Server], connect: Connect
) -> None:
    server = make_server()
    transport = connect(server.url)
    transport.run(push(1))

    server.restart()

    assert transport.run_many([push(1), push(2)]) == [1, 2]


def test_an_idle_connection_is_looked_at_only_after_a_while(
    url: str, redis: redis_py.Redis, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    monkeypatch.setattr(transport_module, "is_stale", lambda connection: bool(looked.append(connection)))
    transport = connect(url)
    transport.run(push(1))
    transport.run(push(2))
    assert looked == []

    monkeypatch.setattr(transport_module, "_IDLE_CHECK_S", 0.0)
    transport.run(push(3))

    assert len(looked) == 1


def test_threads_start_together_on_a_new_transport(url: str, redis: redis_py.Redis, connect: Connect) -> None:
    transport = connect(url, size=8)
    barrier = threading.Barrier(8)

    def work(n: int) -> Any:
        barrier.wait(10)
        return transport.run(MINE.ack([("default", job(n))], DAY)).gone

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [[0]] * 8
