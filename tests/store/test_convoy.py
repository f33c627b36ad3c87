"""Calls of several threads in one packet: each gets its own answer, and nobody hangs for another."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import redis as redis_py
from keyspace import STORE, job
from proxy import Fate, Proxy
from waiting import wait_until

from sidekiq_lua.errors import LostReply, RedisError, ScriptError
from sidekiq_lua.store import Transport, convoy, fault

Connect = Callable[..., Transport]


def push(n: int, queue: str = "default") -> Any:
    return STORE.queues.push(queue, [job(n)])


class Road:
    """Holds the first call on its way until the others of a test wait; tells what was sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[str] = []
        self.pool = ThreadPoolExecutor(16)
        self.strike: tuple[str, BaseException] | None = None
        self.holds = False
        self._held, self.go = threading.Event(), threading.Event()
        monkeypatch.setattr(fault, "at", self._at)

    def _at(self, stage: str, name: str) -> None:
        if stage == "sent":
            self.sent.append(name)
            if self.holds and not self._held.is_set():
                self._held.set()
                assert self.go.wait(10)
        if "+" in name and self.strike is not None and self.strike[0] == stage:
            raise self.strike[1]

    def run(
        self, transport: Transport, *calls: Any, meanwhile: Callable[[], Any] = lambda: None
    ) -> list[Future[Any]]:
        """Send the first alone; while it is under way the others come, in their order."""
        self.holds = True
        line = transport.convoy
        found = [self.pool.submit(line.run, calls[0])]
        assert self._held.wait(10)
        for n, call in enumerate(calls[1:], 1):
            found.append(self.pool.submit(line.run, call))
            wait_until(lambda n=n: len(line._waiting) == n)  # type: ignore[misc]
        meanwhile()
        self.go.set()
        return found


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Iterator[Road]:
    made = Road(monkeypatch)
    yield made
    made.pool.shutdown()


def at_rest(transport: Transport) -> bool:
    return not transport.convoy._under_way and not transport.convoy._waiting


def test_those_that_wait_go_together_and_each_has_its_own_answer(
    transport: Transport, redis: redis_py.Redis, road: Road
) -> None:
    calls = [push(1), push(2, "a"), push(3, "a"), push(4, "b"), push(5, "a")]
    assert [one.result(10) for one in road.run(transport, *calls)] == [1, 1, 2, 1, 3]
    assert road.sent == ["push", "push+push+push+push"]
    assert redis.lrange("queue:a", 0, -1) == [job(5), job(3), job(2)]
    assert at_rest(transport)


def test_what_one_is_refused_for_is_no_matter_of_the_others(
    transport: Transport, redis: redis_py.Redis, road: Road
) -> None:
    redis.set("queue:odd", "no list")
    first, odd, last = road.run(transport, push(1), push(2, "odd"), push(3))
    with pytest.raises(ScriptError, match=r"push\.lua.*WRONGTYPE"):
        odd.result(10)
    assert (first.result(10), last.result(10)) == (1, 2)


def test_a_server_that_forgot_the_script(transport: Transport, redis: redis_py.Redis, road: Road) -> None:
    found = road.run(transport, push(1), push(2), push(3), meanwhile=redis.script_flush)
    assert sorted(one.result(10) for one in found) == [1, 2, 3]
    assert road.sent[:2] == ["push", "push+push"]
    assert redis.llen("queue:default") == 3


@pytest.mark.parametrize("fate", [Fate.CUT_REQUEST, Fate.CUT_REPLY])
def test_a_connection_that_breaks_under_them(
    connect: Connect, proxy: Proxy, redis: redis_py.Redis, road: Road, fate: Fate
) -> None:
    transport = connect(proxy.url)
    transport.run_many([push(0)])
    proxy.on(b"queue:cut", fate)
    first, *others = road.run(transport, push(1), push(2, "a"), push(3, "cut"), push(4, "b"))
    assert first.result(10) == 2
    for one in others:
        with pytest.raises(LostReply, match="did not answer push, which may have run"):
            one.result(10)
    assert redis.llen("queue:cut") == redis.llen("queue:a") == (fate is Fate.CUT_REPLY)
    assert at_rest(transport)
    assert transport.convoy.run(push(5)) == 3


@pytest.mark.parametrize("stage", ["before", "sent", "after"])
def test_a_thread_that_is_interrupted_with_others_aboard(
    transport: Transport, redis: redis_py.Redis, road: Road, stage: str
) -> None:
    road.strike = stage, KeyboardInterrupt()
    first, carrier, *others = road.run(transport, push(1), push(2), push(3), push(4))
    assert first.result(10) == 1
    with pytest.raises(KeyboardInterrupt):
        carrier.result(10)
    if stage == "sent":
        for one in others:
            with pytest.raises(LostReply, match="interrupted"):
                one.result(10)
    else:  # nothing had been sent, and each went alone; or the answers were there
        assert sorted(one.result(10) for one in others) == ([2, 3] if stage == "before" else [3, 4])
    wait_until(lambda: at_rest(transport))
    wait_until(lambda: redis.llen("queue:default") == (3 if stage == "before" else 4))
    road.strike = None
    assert transport.convoy.run(push(5)) == (4 if stage == "before" else 5)


def test_nobody_hangs_for_a_thread_that_is_gone(
    connect: Connect, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convoy, "_GRACE_S", 0.1)
    transport = connect(url, {"socket_timeout": 0.1})
    transport.convoy._under_way = True
    assert transport.convoy.run(push(1)) == 1
    assert at_rest(transport)


def test_a_long_request_goes_on_its_own(transport: Transport, road: Road) -> None:
    long = STORE.queues.push("long", [b"x" * 100_000])
    road.holds = True
    first = road.pool.submit(transport.convoy.run, push(1))
    wait_until(lambda: road.sent)
    assert transport.convoy.run(long) == 1
    road.go.set()
    assert first.result(10) == 1


def test_many_threads(transport: Transport, redis: redis_py.Redis) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: transport.convoy.run(push(n)), range(4000)))
    assert sorted(found) == list(range(1, 4001))
    assert len(set(redis.lrange("queue:default", 0, -1))) == 4000
    assert at_rest(transport)


def test_whatever_breaks_a_push_that_answered_is_there_once_and_one_that_was_refused_is_not(
    connect: Connect, proxy: Proxy, redis: redis_py.Redis
) -> None:
    """Eight threads push through a proxy that cuts connections before and after the server had the call."""
    transport = connect(proxy.url)
    ended = threading.Event()

    def cut() -> None:
        fates = [Fate.CUT_REQUEST, Fate.CUT_REPLY]
        for n in range(60):
            proxy.on(b"queue:q", fates[n % 2])
            wait_until(lambda: proxy.met or ended.is_set())

    def work(thread: int) -> list[tuple[int, type | None]]:
        told: list[tuple[int, type | None]] = []
        for n in range(thread * 1000, thread * 1000 + 200):
            try:
                transport.convoy.run(push(n, "q"))
                told.append((n, None))
            except RedisError as error:
                told.append((n, type(error)))
        return told

    with ThreadPoolExecutor(9) as pool:
        cutter = pool.submit(cut)
        told = [one for part in pool.map(work, range(8)) for one in part]
        ended.set()
        cutter.result(10)
    there = Counter(redis.lrange("queue:q", 0, -1))
    assert max(there.values()) == 1
    assert {n for n, error in told if error is None} <= {n for n, _ in told if there[job(n)]}
    assert {error for _, error in told} == {None, LostReply}
    assert not [n for n, error in told if error not in (None, LostReply) and there[job(n)]]
    wait_until(lambda: at_rest(transport))
