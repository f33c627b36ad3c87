"""Connections that were given up are ended on the server: all of them, and no others."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import redis as redis_py
from keyspace import STORE, job
from proxy import Fate, Proxy
from servers import Server

from sidekiq_lua.errors import LostReply
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
