"""Instances: side by side, configured once, over pools and threads."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import gc
import json
import os
import pydoc
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from both_clients import KINDS, app, client, client_of
from servers import Server
from waiting import wait_until

import sidekiq_lua
from sidekiq_lua import AsyncClient, Client, Sidekiq, sidekiq
from sidekiq_lua.client import BaseClient
from sidekiq_lua.errors import ConfigurationError, RedisUnavailable, UnknownSetting

Dump = Callable[[], dict[str, Any]]


@pytest.fixture
def other(make_server: Callable[..., Server]) -> Server:
    """A second server."""
    return make_server()


def jobs(server: Server, queue: str = "default") -> list[Any]:
    """The first argument of each job there, oldest first."""
    with server.client() as redis:
        return [json.loads(raw)["args"][0] for raw in redis.lrange(f"queue:{queue}", 0, -1)[::-1]]


# -- two instances in one process -------------------------------------------------------------


def test_two_instances_share_nothing(server: Server, url: str) -> None:
    one, two = Sidekiq(redis=url), Sidekiq(redis=url[:-1] + "1")
    seen = []

    class OnlyOne:
        def call(self, job_class, payload, queue, redis, next):
            seen.append(payload["args"])
            return next()

    one.config.client_middleware.add(OnlyOne)
    one.config.payload_limit = 300

    class FirstJob(one.Job):
        def perform(self, a): ...

    class SecondJob(two.Job):
        def perform(self, a): ...

    FirstJob.perform_async("one")
    SecondJob.perform_async("two" + "o" * 300)
    with one.client.via(url[:-1] + "2"):
        SecondJob.perform_async("also two")

    assert (list(one.registry), list(two.registry)) == ([FirstJob], [SecondJob])
    assert seen == [["one"]]
    assert jobs(server) == ["one"]
    with server.client() as redis:
        # Two's jobs are in its database; one's `via` moved neither.
        assert {key: found["keys"] for key, found in redis.info("keyspace").items()} == {"db0": 2, "db1": 2}
    one.close()
    # One's end is not the other's.
    assert SecondJob.perform_async("three")
    two.close()


def test_the_default_instance(url: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    sidekiq.close()
    assert Client.push({"class": "A", "args": [1]})
    assert Client.enqueue("A", 2)
    assert Client().enqueue("A", 3)
    assert Client.push_bulk({"class": "A", "args": [[4]]})
    assert Client.enqueue_to("default", "A", 5)
    assert Client.enqueue_in(-1, "A", 6)
    assert Client.enqueue_to_in("default", -1, "A", 7)
    with Client.via(url):
        Client.enqueue("A", 8)
    assert Client.via(url, lambda: Client.enqueue("A", 9))
    assert jobs(server) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert isinstance(sidekiq.client, Client)
    assert isinstance(Client.default(), Client)
    assert (Client.push.__doc__ or "").startswith("Push one job")
    sidekiq.close()


def test_the_class_itself_answers_for_the_default_instance_only() -> None:
    with pytest.raises(AttributeError, match=r"use an instance: app\.client"):
        BaseClient.push({"class": "A", "args": []})


@pytest.mark.parametrize("name", sorted({*sidekiq_lua.__all__} - {"__version__"}))
def test_help_shows_every_public_name(name: str) -> None:
    assert pydoc.render_doc(getattr(sidekiq_lua, name))


def test_clients_of_another_instance(app: Sidekiq, server: Server, other: Server) -> None:
    assert Client(app).enqueue("A", 1)
    app.config.pools = {"away": {"url": other.url}}
    assert Client(app, "away").enqueue("A", 2)
    assert Client(app, other.url).enqueue("A", 3)
    assert (jobs(server), jobs(other)) == ([1], [2, 3])
    assert isinstance(app.async_client(), AsyncClient)


# -- configure_server and configure_client --------------------------------------------------------


def test_the_blocks_of_this_kind_of_process_run_once_before_first_use() -> None:
    app = Sidekiq(queues=["early"])
    ran = []

    @app.configure_client
    def first(config: Any) -> None:
        ran.append("client 1")
        assert config.queues == ["early"]
        config.queues = ["late"]
        assert app.config is config  # reading the settings in a block is no recursion

    @app.configure_server
    def never(config: Any) -> None:
        ran.append("server")

    @app.configure_client
    def second(config: Any) -> None:
        ran.append("client 2")

    assert ran == []
    assert app.config.queues == ["late"]
    assert app.config.queues == ["late"]
    assert ran == ["client 1", "client 2"]
    app.configure_client(lambda config: ran.append("client 3"))
    assert app.config
    assert ran == ["client 1", "client 2", "client 3"]
    assert first.__name__ == "first"  # a decorator that gives its function back


def test_in_a_server_the_server_blocks_run() -> None:
    app = Sidekiq()
    ran = []
    app.configure_client(lambda config: ran.append("client"))
    app.configure_server(lambda config: ran.append("server"))
    app.is_server = True
    assert app.config
    assert ran == ["server"]


def test_a_block_that_fails_lets_nobody_push(url: str, dump: Dump) -> None:
    app = Sidekiq(redis=url)

    @app.configure_client
    def broken(config: Any) -> None:
        config.redis = os.environ["NO_SUCH_VARIABLE"]

    for _ in range(2):
        with pytest.raises(KeyError, match="NO_SUCH_VARIABLE"):
            app.client.enqueue("A")
    assert dump() == {}


def test_threads_wait_for_a_block_that_is_running(url: str, dump: Dump) -> None:
    app = Sidekiq(redis="redis://127.0.0.1:1")
    started, go = threading.Event(), threading.Event()

    @app.configure_client
    def slowly(config: Any) -> None:
        started.set()
        assert go.wait(10)
        config.redis = url

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: app.client.enqueue("A"))
        assert started.wait(10)
        second = pool.submit(lambda: app.client.enqueue("A"))
        with pytest.raises(TimeoutError):  # without its wait it would have failed by then
            second.result(0.3)
        go.set()
        assert len({first.result(10), second.result(10)}) == 2
    assert len(dump()["queue:default"]) == 2
    app.close()


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UnknownSetting, match="'concurency'; the nearest is 'concurrency'"):
        Sidekiq(concurency=5)


# -- pools --------------------------------------------------------------------------------------------


def test_via_as_a_block_and_with_a_function(app: Sidekiq, client: Any, server: Server, other: Server) -> None:
    app.config.pools = {"away": {"url": other.url}}
    with client.via("away"):
        client.enqueue("A", 1)
        with client.via(app.config.redis["url"]):
            client.enqueue("A", 2)
        client.push_bulk({"class": "A", "args": [[3]]})
    client.enqueue("A", 4)
    with pytest.raises(LookupError), client.via(other.url):
        raise LookupError
    client.enqueue("A", 5)

    assert (jobs(server), jobs(other)) == ([2, 4, 5], [1, 3])


def test_via_with_a_function(app: Sidekiq, server: Server, other: Server) -> None:
    app.config.pools = {"away": {"url": other.url}}
    jid = app.client.via("away", lambda: app.client.enqueue("A", 1))
    assert isinstance(jid, str)
    assert (jobs(server), jobs(other)) == ([], [1])


def test_the_closest_pool_counts(app: Sidekiq, client: Any, server: Server, other: Server) -> None:
    class AwayJob(app.Job):
        sidekiq_options = {"pool": "away"}

        def perform(self, a): ...

    here = app.config.redis["url"]
    app.config.pools = {"away": {"url": other.url}}
    client.enqueue(AwayJob, 1)  # the class's
    with client.via(here):
        client.enqueue(AwayJob, 2)  # that of via
        client.push({"class": AwayJob, "args": [3], "pool": "away"})  # its own
        client.push_bulk({"class": AwayJob, "args": [[4]], "pool": "away"})
    assert (jobs(server), jobs(other)) == ([2], [1, 3, 4])


def test_a_thread_has_a_via_of_its_own(app: Sidekiq, server: Server, other: Server) -> None:
    with app.client.via(other.url), ThreadPoolExecutor(1) as pool:
        pool.submit(app.client.enqueue, "A", 1).result(10)
    assert (jobs(server), jobs(other)) == ([1], [])


def test_an_unknown_pool(app: Sidekiq, client: Any, dump: Dump) -> None:
    app.config.pools = {"b": {"url": "redis://b"}, "a": {"url": "redis://a"}}
    why = r"no Redis pool is called 'c' \(the setting `pools` has: a, b\)"
    with pytest.raises(ConfigurationError, match=why):
        client.push({"class": "A", "args": [], "pool": "c"})
    with pytest.raises(ConfigurationError, match=why):
        client.push_bulk({"class": "A", "args": [[]], "pool": "c"})
    with pytest.raises(ConfigurationError, match=why), client.via("c"):
        raise AssertionError("the block must not be entered")
    assert client.enqueue("A")
    assert list(dump()) == ["queue:default", "queues"]


# -- connections ------------------------------------------------------------------------------------------


def connections(redis: Any, name: str) -> int:
    return sum(found["name"] == name for found in redis.client_list())


def test_closed_and_used_again(app: Sidekiq, client: Any, redis: Any, url: str) -> None:
    app.config.redis = {"url": url, "client_name": "closing"}
    for n in range(1, 4):
        assert client.enqueue("A")
        assert connections(redis, "closing") == 1
        client.close()
        client.close()
        assert redis.llen("queue:default") == n
        wait_until(lambda: connections(redis, "closing") == 0, what="the connections are closed")


def test_8_threads_push_4000_distinct_jobs(app: Sidekiq, redis: Any, url: str) -> None:
    app.config.redis = {"url": url, "client_name": "threads"}
    together = threading.Barrier(8)

    def push(thread: int) -> list[Any]:
        together.wait(10)
        return [app.client.enqueue("A", thread, n) for n in range(500)]

    with ThreadPoolExecutor(8) as pool:
        jids = [jid for found in pool.map(push, range(8)) for jid in found]

    stored = [json.loads(raw) for raw in redis.lrange("queue:default", 0, -1)]
    assert len(stored) == len(set(jids)) == 4000
    assert {payload["jid"] for payload in stored} == set(jids)
    assert len({tuple(payload["args"]) for payload in stored}) == 4000
    assert 1 <= connections(redis, "threads") <= 8


def test_a_client_made_for_one_push_is_not_kept(app: Sidekiq) -> None:
    clients: weakref.WeakSet[Any] = weakref.WeakSet()

    class SomeJob(app.Job):
        def perform(self, n: int) -> None: ...

    def make(app: Sidekiq, name: str) -> Client:
        client = Client(app)
        clients.add(client)
        return client

    for n in range(3):
        assert SomeJob.set(client_class=partial(make, name=str(n))).perform_async(n)
    kept = SomeJob.set(client_class=partial(make, name="kept"))
    kept.perform_async(3)
    kept.perform_async(4)
    gc.collect()
    assert len(clients) == 1


def test_more_threads_than_connections(url: str) -> None:
    app = Sidekiq(redis={"url": url, "pool_size": 1, "pool_timeout": 0.01})
    app.client.enqueue("A")
    connection = app.redis_pool._take()
    with pytest.raises(RedisUnavailable, match=r"no free connection .* all 1 are in use; raise pool_size"):
        app.client.enqueue("A")
    app.redis_pool._give(connection)
    assert app.client.enqueue("A")
    app.close()


def test_redis_info(app: Sidekiq, server: Server) -> None:
    info = app.redis_info()
    assert info["tcp_port"] == str(server.port)
    assert info["redis_version"].count(".") == 2
    assert not [name for name in info if name.startswith("#")]


def test_redis_info_where_info_is_denied(make_server: Callable[..., Server]) -> None:
    server = make_server(user="poor on >secret ~* +@all -info")
    app = Sidekiq(redis=server.url.replace("redis://", "redis://poor:secret@"))
    assert app.redis_info() == {"info": "denied"}
    assert app.client.enqueue("A")
    app.close()
    with pytest.raises(RedisUnavailable):
        Sidekiq(redis="redis://127.0.0.1:1").redis_info()
