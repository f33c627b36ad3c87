"""What a transport counts of the scripts that it calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis as redis_py
from keyspace import STORE, job
from proxy import Fate, Proxy

from sidekiq_lua.errors import LostReply, RedisError
from sidekiq_lua.store import AsyncTransport, Endpoint, Transport
from sidekiq_lua.store.script_counts import News, ScriptCounts

PUSH = STORE.queues.push("default", [job(1)])
NAMES = STORE.queues.names()


def counted(counts: ScriptCounts) -> dict[tuple[str, str], int]:
    return {(name, kind): n for name, kind, n in counts.news()}


@pytest.fixture(params=["sync", "async"])
def after(request: pytest.FixtureRequest, url: str) -> Callable[..., ScriptCounts]:
    """`after(acts, url)`: the counts after these acts of a transport; each may end in a RedisError."""

    def do(*acts: Callable[[Any], Any], url: str = url) -> ScriptCounts:
        if request.param == "async":
            return asyncio.run(do_async(*acts, url=url))
        transport = Transport(Endpoint(url))
        for act in acts:
            try:
                act(transport)
            except RedisError:
                continue
        transport.close()
        return transport.counts

    async def do_async(*acts: Callable[[Any], Awaitable[Any]], url: str) -> ScriptCounts:
        transport = AsyncTransport(Endpoint(url))
        for act in acts:
            try:
                await act(transport)
            except RedisError:
                continue
        await transport.close()
        return transport.counts

    return do


def run(transport: Any) -> Any:
    return transport.run(PUSH)


def run_many(transport: Any) -> Any:
    return transport.run_many([NAMES, PUSH, PUSH])


def test_calls_and_reloads(after: Callable[..., ScriptCounts], redis: redis_py.Redis) -> None:
    redis.script_flush()
    assert counted(after(run, run)) == {("push", "calls"): 2, ("push", "reloads"): 1}
    redis.script_flush()
    assert counted(after(run_many, run)) == {
        ("members", "calls"): 1, ("members", "reloads"): 1, ("push", "calls"): 3, ("push", "reloads"): 1,
    }  # fmt: skip


def test_errors(after: Callable[..., ScriptCounts], redis: redis_py.Redis) -> None:
    redis.set("queue:default", "no list")
    found = counted(after(run, run_many))
    assert found["push", "calls"] == found["push", "failures"] == 3
    assert ("members", "failures") not in found


def test_lost_replies(after: Callable[..., ScriptCounts], proxy: Proxy) -> None:
    for act, calls in ((run, 1), (run_many, 2)):
        proxy.on(b"EVALSHA\r\n", Fate.CUT_REPLY)
        found = counted(after(act, url=proxy.url))
        assert found["push", "calls"] == found["push", "failures"] == calls


def test_no_server_no_call(after: Callable[..., ScriptCounts]) -> None:
    assert counted(after(run, run_many, url="redis://127.0.0.1:1/0")) == {}


def test_calls_that_are_read_later(transport: Transport) -> None:
    transport.send(PUSH).read()
    assert counted(transport.counts)["push", "calls"] == 1
    assert isinstance(transport.send(PUSH).abandon(), LostReply)
    found = counted(transport.counts)
    assert (found["push", "calls"], found["push", "failures"]) == (2, 1)


def test_news_are_what_was_not_settled() -> None:
    counts = ScriptCounts()
    counts.calls["push"] += 2
    counts.fenced["ack"] += 0
    news = counts.news()
    counts.calls["push"] += 1
    counts.calls["of another release"] += 1
    assert news == [News("push", "calls", 2)]
    counts.settle(news)
    assert counts.news() == [News("push", "calls", 1)]
    counts.forget()
    assert counts.news() == []
