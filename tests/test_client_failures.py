"""What a push raises when Redis refuses it or does not answer, and what is in Redis then."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

import pytest
from both_clients import KINDS, app, client, client_of
from proxy import Fate, Proxy
from servers import Server

from sidekiq_lua import Sidekiq
from sidekiq_lua.errors import (
    ConfigurationError,
    InvalidJob,
    LostReply,
    PushUnknown,
    RedisFull,
    RedisRefused,
    RedisUnavailable,
    ScriptError,
)

Dump = Callable[[], dict[str, Any]]


class Spread:
    """Sends each job to the queue that its first argument names."""

    def call(self, job_class, payload, queue, redis, next):
        payload["queue"] = payload["args"][0]
        return next()


# -- refused by Redis -----------------------------------------------------------------------


def test_a_queue_of_the_wrong_type_is_not_made_known(client: Any, redis: Any, dump: Dump) -> None:
    redis.set("queue:default", "x")
    with pytest.raises(ScriptError, match=r"^push\.lua:\d+: .*WRONGTYPE"):
        client.enqueue("A")
    with pytest.raises(ScriptError, match=r"^push\.lua:\d+: .*WRONGTYPE") as caught:
        client.push_bulk({"class": "A", "args": [[1], [2]]})
    assert not hasattr(caught.value, "__notes__")
    assert dump() == {"queue:default": "x"}


def test_a_queue_is_known_as_soon_as_its_job_can_be_seen(client: Any, redis: Any) -> None:
    """One script, not a pipeline: nobody comes between the two."""
    client.enqueue("A")
    with redis.monitor() as monitor:
        client.enqueue_to("fresh", "A")
        redis.ping()
        before_ping = takewhile(lambda line: line["command"] != "PING", monitor.listen())
        lines = [(line["client_type"], line["command"].split()[0].upper()) for line in before_ping]
    assert lines[:4] == [("tcp", "EVALSHA"), ("lua", "LLEN"), ("lua", "SADD"), ("lua", "LPUSH")]


def test_one_queue_of_several_refuses(app: Sidekiq, client: Any, redis: Any) -> None:
    app.config.client_middleware.add(Spread)
    redis.set("queue:bad", "x")
    with pytest.raises(PushUnknown, match=r"WRONGTYPE.*\(other jobs of this slice were pushed\)") as caught:
        client.push_bulk({"class": "A", "args": [["good"], ["bad"], ["good"]]})

    assert len(set(caught.value.jids)) == 3
    there = [json.loads(raw)["jid"] for raw in redis.lrange("queue:good", 0, -1)]
    assert there == [caught.value.jids[2], caught.value.jids[0]]
    assert redis.smembers("queues") == {b"good"}


def test_all_queues_refuse(app: Sidekiq, client: Any, redis: Any, dump: Dump) -> None:
    """Nothing is written, and that is sure: the error is the first queue's own."""
    app.config.client_middleware.add(Spread)
    redis.mset({"queue:a": "x", "queue:b": "x"})
    before = dump()
    with pytest.raises(ScriptError, match="WRONGTYPE"):
        client.push_bulk({"class": "A", "args": [["a"], ["b"]]})
    assert dump() == before


def test_a_slice_that_refuses_says_what_went_before(app: Sidekiq, client: Any, redis: Any) -> None:
    app.config.client_middleware.add(Spread)
    redis.set("queue:bad", "x")
    with pytest.raises(ScriptError) as caught:
        client.push_bulk({"class": "A", "args": [["a"], ["a"], ["bad"]], "batch_size": 2})
    assert caught.value.__notes__ == ["2 jobs of this bulk were pushed before"]


@pytest.fixture
def full(make_server: Callable[..., Server]) -> Server:
    return make_server(maxmemory="1", maxmemory_policy="noeviction")


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_redis(full: Server, kind: str) -> None:
    app = Sidekiq(redis=full.url)
    with client_of(app, kind) as sender:
        # What is wrong with the job comes first, then what is wrong with Redis.
        with pytest.raises(InvalidJob):
            sender.push({"class": "A", "args": "x"})
        with pytest.raises(RedisFull, match=r"^push\.lua: Redis is full \(maxmemory\)"):
            sender.enqueue("A")
        with pytest.raises(RedisFull, match=r"^schedule\.lua: Redis is full"):
            sender.enqueue_in(60, "A")
        with pytest.raises(RedisFull, match=r"^push\.lua: Redis is full"):
            sender.push_bulk({"class": "A", "args": [[1], [2]]})
        app.config.client_middleware.add(Spread)
        with pytest.raises(RedisFull, match=r"^push\.lua: Redis is full"):
            sender.push_bulk({"class": "A", "args": [["a"], ["b"]]})
        with full.client() as redis:
            assert redis.dbsize() == 0
            redis.config_set("maxmemory", 0)
        assert sender.enqueue("A", "default")
    app.close()


def test_a_user_who_may_not(make_server: Callable[..., Server]) -> None:
    server = make_server(user="reader on >secret ~* +@all -@write")
    app = Sidekiq(redis=server.url.replace("redis://", "redis://reader:secret@"))
    for kind in KINDS:
        with client_of(app, kind) as sender:
            with pytest.raises(RedisRefused, match=r"^push\.lua") as caught:
                sender.enqueue("A")
            assert "secret" not in str(caught.value)
    app.close()


# -- no answer ------------------------------------------------------------------------------


@pytest.fixture
def proxy(server: Server, url: str) -> Iterator[Proxy]:
    with Proxy(server.port) as made:
        yield made


@pytest.fixture(params=KINDS)
def through(proxy: Proxy, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Both clients, behind the proxy."""
    app = Sidekiq(redis=proxy.url)
    with client_of(app, request.param) as sender:
        sender.enqueue("Warm")  # connected, and the script is loaded
        yield sender
    app.close()


@pytest.mark.parametrize(("fate", "there"), [(Fate.CUT_REPLY, 1), (Fate.CUT_REQUEST, 0)])
def test_a_push_without_an_answer(through: Any, proxy: Proxy, redis: Any, fate: Fate, there: int) -> None:
    proxy.on(b"EVALSHA", fate)
    with pytest.raises(PushUnknown, match=r"^mine may be in Redis or not: ") as caught:
        through.push({"class": "A", "args": [], "jid": "mine"})

    assert caught.value.jids == ["mine"]
    assert isinstance(caught.value, LostReply | RedisUnavailable)
    found = [json.loads(raw)["jid"] for raw in redis.lrange("queue:default", 0, -2)]
    assert found == ["mine"] * there
    # It is not sent again, and the client goes on.
    assert through.enqueue("A")
    assert redis.llen("queue:default") == there + 2


@pytest.mark.parametrize(("fate", "there"), [(Fate.CUT_REPLY, 4), (Fate.CUT_REQUEST, 2)])
def test_a_bulk_without_an_answer(through: Any, proxy: Proxy, redis: Any, fate: Fate, there: int) -> None:
    proxy.on(b"third", fate)
    rows = [["first"], ["second"], ["third"], ["fourth"], ["fifth"]]
    with pytest.raises(PushUnknown, match=r"^2 jobs may be in Redis or not: ") as caught:
        through.push_bulk({"class": "A", "args": rows, "batch_size": 2})

    assert caught.value.__notes__ == ["2 jobs of this bulk were pushed before"]
    found = [json.loads(raw) for raw in redis.lrange("queue:default", 0, -2)]
    assert len(found) == there
    named = {payload["jid"] for payload in found if payload["args"][0] in ("third", "fourth")}
    assert len(caught.value.jids) == 2
    assert named <= set(caught.value.jids)


def test_a_slice_of_several_queues_without_an_answer(proxy: Proxy, redis: Any) -> None:
    app = Sidekiq(redis=proxy.url)
    app.config.client_middleware.add(Spread)
    for kind in KINDS:
        with client_of(app, kind) as sender:
            sender.enqueue("Warm", "default")
            proxy.on(b"queue:b", Fate.CUT_REPLY)
            with pytest.raises(PushUnknown, match=r"^2 jobs may be in Redis or not: ") as caught:
                sender.push_bulk({"class": "A", "args": [["a"], ["b"]]})
            assert len(caught.value.jids) == 2
    assert redis.llen("queue:a") == redis.llen("queue:b") == 2
    app.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_not_there(kind: str) -> None:
    app = Sidekiq(redis="redis://:geheim@127.0.0.1:1/0")
    with client_of(app, kind) as sender:
        for push in (
            lambda c=sender: c.enqueue("A"),
            lambda c=sender: c.push_bulk({"class": "A", "args": [[1]]}),
        ):
            with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1:1.* is not available") as caught:
                push()
            assert not isinstance(caught.value, LostReply)
            assert "geheim" not in str(caught.value)
    app.close()
