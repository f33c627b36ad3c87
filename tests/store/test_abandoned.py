"""Connections that were given up are ended on the server: all of them, and no others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import redis as redis_py
from keyspace import STORE, job
from proxy import Fate, Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua.errors import LostReply, RedisRefused
from sidekiq_lua.store import Transport, fault

Connect = Callable[..., Transport]


def give_up(transport: Transport, proxy: Proxy, times: int) -> None:
    """So many connections, whose other ends stay open."""
    for _ in range(times):
        proxy.on(b"EVALSHA", Fate.DESERT)
        with pytest.raises(LostReply):
            transport.run(STORE.queues.push("default", [job(1)]))


def named(redis: redis_py.Redis) -> set[str]:
    return {client["id"] for client in redis.client_list() if client["name"] == "given-up"}


def test_two_capsules_that_come_back_together(
    proxy: Proxy, connect: Connect, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither fails, and neither goes on while a connection is there that the other is about to end."""
    transport = connect(proxy.url, {"client_name": "given-up"})
    transport.watch_abandoned()
    give_up(transport, proxy, 3)
    before = named(redis)
    assert len(before) == 3
    # A server that takes its time, so that both are at it together; nothing is waited for by this.
    monkeypatch.setattr(fault, "at", lambda stage, name: time.sleep(0.02))

    def end() -> set[str]:
        transport.end_abandoned()
        return before & named(redis)

    with ThreadPoolExecutor(2) as threads:
        ends = [threads.submit(end) for _ in range(2)]
        assert [end.result(10) for end in ends] == [set(), set()]


def test_a_unix_socket_has_one_address_for_all(make_server: Callable[..., Server], connect: Connect) -> None:
    """A server that was restarted counts from 1 again: the number may be an application's by now."""
    server = make_server()
    transport = connect(server.unix_url)
    transport.watch_abandoned()
    sent = transport.send(STORE.queues.push("default", [job(1)]))
    server.kill()
    sent.abandon()
    server.restart()
    with ExitStack() as stack:
        others = [stack.enter_context(redis_py.Redis(unix_socket_path=str(server.socket))) for _ in range(20)]
        before = [other.client_id() for other in others]

        transport.end_abandoned()

        assert [other.client_id() for other in others] == before


def kills(redis: redis_py.Redis) -> int:
    found: dict[str, dict[str, int]] = redis.info("commandstats")
    return found.get("cmdstat_client|kill", {"calls": 0})["calls"]


def test_a_busy_server_is_asked_again(make_server: Callable[..., Server], connect: Connect) -> None:
    """It refuses CLIENT KILL like everything else, and may have the request that was given up before it."""
    server = make_server(**{"busy-reply-threshold": 10})
    transport = connect(server.url)
    transport.watch_abandoned()
    transport.send(STORE.queues.push("default", [b"1"])).abandon()

    def be_busy() -> None:
        with server.client(socket_timeout=30) as foreign, pytest.raises(redis_py.ResponseError):
            foreign.eval("while true do end", 0)

    def is_busy() -> bool:
        try:
            return not redis.ping()
        except redis_py.ResponseError:
            return True

    with server.client() as redis:
        thread = threading.Thread(target=be_busy)
        thread.start()
        try:
            wait_until(is_busy)
            with pytest.raises(RedisRefused, match="BUSY"):
                transport.end_abandoned()
        finally:
            redis.script_kill()
            thread.join()

        before = kills(redis)
        transport.end_abandoned()
        transport.end_abandoned()
        assert kills(redis) == before + 1
