"""A failover in the middle of a bulk push: what the old primary has taken was sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from both_clients import KINDS, client_of
from proxy import Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua import Sidekiq
from sidekiq_lua.errors import NotReplicated, PushUnknown
from sidekiq_lua.store import Endpoint

NOBODY = 1
"""A port."""


class Failover:
    """A primary that becomes a replica when it has carried out the first call of `push`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.expected = False
        self.then: Callable[[], None] = lambda: None

    def push(self, sender: Any) -> Any:
        """Two jobs with so many bytes that each goes in a call of its own."""
        self.expected = True
        return sender.push_bulk({"class": "A", "args": [["x" * 5_000_000]] * 2})

    def demote(self) -> None:
        self.expected = False
        with self.server.client() as client:
            wait_until(lambda: client.llen("queue:default") == 1)
            client.replicaof("127.0.0.1", NOBODY)
        self.then()

    def promote(self) -> None:
        with self.server.client() as client:
            client.replicaof("NO", "ONE")

    def pushed(self) -> int:
        with self.server.client() as client:
            return int(client.llen("queue:default"))


@pytest.fixture
def failover(make_server: Any, monkeypatch: pytest.MonkeyPatch) -> Failover:
    made = Failover(make_server())
    connect, connect_async = Endpoint.connect, Endpoint.connect_async

    def slow(endpoint: Endpoint, **options: Any) -> Any:
        connection = connect(endpoint, **options)
        send = connection.send_packed_command

        def one_by_one(calls: list[bytes], check_health: bool = True) -> None:
            for n, call in enumerate(calls):
                send([call], check_health)
                if made.expected and n == 0 and len(calls) == 2:
                    made.demote()

        connection.send_packed_command = one_by_one
        return connection

    def slow_async(endpoint: Endpoint) -> Any:
        connection = connect_async(endpoint)
        send = connection.send_packed_command

        async def one_by_one(calls: list[bytes], check_health: bool = True) -> None:
            for n, call in enumerate(calls):
                await send([call], check_health)
                if made.expected and n == 0 and len(calls) == 2:
                    await asyncio.to_thread(made.demote)

        connection.send_packed_command = one_by_one
        return connection

    monkeypatch.setattr(Endpoint, "connect", slow)
    monkeypatch.setattr(Endpoint, "connect_async", slow_async)
    return made


@contextmanager
def sender_to(kind: str, *ports: int, **settings: Any) -> Iterator[tuple[Sidekiq, Any]]:
    """An instance and one of its clients, whose n-th connection goes to the n-th port."""
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(*ports))
        app = Sidekiq(redis=proxy.url, **settings)
        stack.callback(app.close)
        yield app, stack.enter_context(client_of(app, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_who_finds_nobody_then_is_not_told_that_nothing_was_pushed(failover: Failover, kind: str) -> None:
    to = sender_to(kind, failover.server.port, NOBODY)
    with to as (_, sender), pytest.raises(PushUnknown) as caught:
        failover.push(sender)

    assert len(caught.value.jids) == 2
    assert failover.pushed() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_buffer_does_not_push_again_what_was_pushed(failover: Failover, kind: str) -> None:
    port = failover.server.port
    timer = threading.Timer(0.3, failover.promote)
    failover.then = timer.start
    with sender_to(kind, port, NOBODY, port, reliable_push=True, push_buffer=10) as (app, sender):
        assert len(failover.push(sender)) == 2
        outbox = app.outbox()
        assert outbox is not None
        wait_until(lambda: outbox.kept == 0)

    timer.join()
    assert failover.pushed() == 2


@pytest.mark.parametrize("kind", KINDS)
def test_replicas_of_the_new_primary_do_not_speak_for_the_old_one(
    failover: Failover, make_server: Any, kind: str
) -> None:
    """What that one has taken is gone as soon as it follows the new one."""
    new, replica = make_server(kind=failover.server.kind), make_server(kind=failover.server.kind)
    with replica.client() as client:
        client.replicaof("127.0.0.1", new.port)
        wait_until(lambda: client.info("replication").get("master_link_status") == "up")
    to = sender_to(kind, failover.server.port, new.port, wait_replicas=1)
    with to as (_, sender), pytest.raises(NotReplicated) as caught:
        failover.push(sender)

    assert len(caught.value.jids) == 2
