"""`wait_replicas`: a push returns when replicas have the job, or says that they have not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from both_clients import KINDS, client_of
from proxy import Fate, Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua import Sidekiq
from sidekiq_lua.errors import ConfigurationError, NotReplicated, ScriptError
from sidekiq_lua.store import transport, transport_async


class Pair:
    """A server and its replica."""

    def __init__(self, make_server: Any) -> None:
        self.server: Server = make_server({"repl-diskless-sync-delay": 0})
        self.replica: Server = make_server({"repl-diskless-sync-delay": 0}, kind=self.server.kind)
        with self.replica.client() as client:
            client.replicaof("127.0.0.1", self.server.port)
            wait_until(lambda: client.info("replication").get("master_link_status") == "up")
        with self.server.client() as client:
            wait_until(lambda: client.wait(1, 100) == 1)

    def freeze(self) -> None:
        os.kill(self.replica.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.replica.pid, signal.SIGCONT)

    def jids(self, server: Server) -> list[str]:
        with server.client() as client:
            return [json.loads(raw)["jid"] for raw in reversed(client.lrange("queue:default", 0, -1))]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(lambda options, kind=None: stack.enter_context(Server(kind, options)))


@pytest.fixture(params=[True, False], ids=["reliable", "plain"])
def make(pair: Pair, request: pytest.FixtureRequest) -> Iterator[Any]:
    made: list[Sidekiq] = []
    with pair.server.client() as client:
        client.flushall()

    def make_it(replicas: int, timeout_ms: int = 100, url: str | None = None) -> Sidekiq:
        made.append(
            Sidekiq(
                redis=url or pair.server.url,
                reliable_push=request.param,
                wait_replicas=replicas,
                wait_timeout_ms=timeout_ms,
            )
        )
        return made[-1]

    yield make_it
    for app in made:
        app.close()


def push_first(app: Sidekiq, sender: Any) -> None:
    """A replica on a busy machine has its time for this one, and 100 ms for those to come."""
    app.config.wait_timeout_ms = 5000
    sender.enqueue("Warm")
    app.config.wait_timeout_ms = 100


@pytest.mark.parametrize("kind", KINDS)
def test_a_push_is_on_the_replica_when_it_returns(pair: Pair, make: Any, kind: str) -> None:
    with client_of(make(1, 5000), kind) as sender:
        for n in range(20):
            sender.push({"class": "A", "args": [], "jid": f"{n}"})
            assert pair.jids(pair.replica)[-1] == f"{n}"
        sender.push_bulk({"class": "A", "args": [[n] for n in range(30)], "batch_size": 10})
        assert len(pair.jids(pair.replica)) == 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_that_is_stopped(pair: Pair, make: Any, kind: str) -> None:
    app = make(1)
    with client_of(app, kind) as sender:
        push_first(app, sender)
        pair.freeze()
        try:
            with pytest.raises(
                NotReplicated, match=r"^mine may be lost in a failover: it is in Redis, but 0 of 1 "
            ):
                sender.push({"class": "A", "args": [], "jid": "mine"})
            with pytest.raises(NotReplicated, match=r"^2 jobs may be lost ") as caught:
                sender.push_bulk({"class": "A", "args": [[1], [2], [3], [4]], "batch_size": 2})
            found = pair.jids(pair.server)
            assert caught.value.jids == found[-2:]
            assert caught.value.__notes__ == [
                "2 jobs of this bulk are in Redis; what comes behind them was not pushed"
            ]
            assert found[1] == "mine"
            assert len(found) == 4
        finally:
            pair.thaw()
        wait_until(lambda: pair.jids(pair.replica) == found)


def test_more_replicas_than_there_are(pair: Pair, make: Any) -> None:
    with pytest.raises(NotReplicated, match=r"1 of 2 replicas confirmed it within 1000 ms$"):
        make(2, 1000).client.enqueue("A")


def test_a_push_that_is_refused_is_not_waited_for(pair: Pair, make: Any) -> None:
    with pair.server.client() as client:
        client.set("queue:default", "x")
    with pytest.raises(ScriptError, match="WRONGTYPE"):
        make(2, 30_000).client.enqueue("A")


def test_a_connection_that_breaks_while_it_is_waited_for(pair: Pair, make: Any) -> None:
    with Proxy(pair.server.port) as proxy:
        app = make(1, url=proxy.url)
        push_first(app, app.client)
        proxy.on(b"WAIT", Fate.CUT_REPLY)
        with pytest.raises(NotReplicated, match=r"it is in Redis, but its replicas cannot be asked: "):
            app.client.push({"class": "A", "args": [], "jid": "mine"})
        assert pair.jids(pair.server)[-1] == "mine"
        app.config.wait_timeout_ms = 5000
        assert app.client.enqueue("A")
        app.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_without_an_answer_leaves_it_to_nobody(
    pair: Pair, make: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (transport, transport_async):
        monkeypatch.setattr(module, "WAIT_GRACE_S", 0.1)
    with Proxy(pair.server.port) as proxy:
        app = make(1, url=proxy.url)
        with client_of(app, kind) as sender:
            push_first(app, sender)
            proxy.on(b"WAIT", Fate.HOLD)
            with pytest.raises(NotReplicated, match=r"it is in Redis, but its replicas cannot be asked: "):
                sender.push({"class": "A", "args": [], "jid": "mine"})
            assert pair.jids(pair.server)[-1] == "mine"
            proxy.release()
            app.config.wait_timeout_ms = 5000
            assert sender.push({"class": "A", "args": [], "jid": "next"}) == "next"
            assert pair.jids(pair.server)[-2:] == ["mine", "next"]
        app.close()


def test_who_may_not_wait(pair: Pair, make: Any, request: pytest.FixtureRequest) -> None:
    with pair.server.client() as client:
        client.execute_command("ACL", "SETUSER", "nowait", "on", ">secret", "~*", "+@all", "-wait")
        url = pair.server.url.replace("redis://", "redis://nowait:secret@")
        with pytest.raises(NotReplicated, match="WAIT: NOPERM"):
            make(1, url=url).client.enqueue("A")
        client.execute_command("ACL", "DELUSER", "nowait")


def test_a_push_that_is_sent_again_is_waited_for_too(pair: Pair) -> None:
    """The second connection has not written the job: WAIT there must cover it all the same."""
    with pair.server.client() as client:
        client.flushall()
    with Proxy(pair.server.port) as proxy:
        app = Sidekiq(redis=proxy.url, reliable_push=True, wait_replicas=1)
        push_first(app, app.client)
        pair.freeze()
        try:
            proxy.on(b"sent-again", Fate.CUT_REPLY)
            with pytest.raises(NotReplicated, match="sent-again may be lost"):
                app.client.push({"class": "A", "args": [], "jid": "sent-again"})
            assert proxy.met
            assert pair.jids(pair.server).count("sent-again") == 1
        finally:
            pair.thaw()
        app.close()


@pytest.mark.parametrize("settings", [{"wait_replicas": -1}, {"wait_timeout_ms": 0}, {"wait_replicas": True}])
def test_what_the_settings_take(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"^wait_\w+ must be a whole number"):
        Sidekiq(**settings)
