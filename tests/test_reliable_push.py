"""`reliable_push`: a push whose reply is lost is sent again, and done once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from both_clients import KINDS, client_of
from proxy import Fate, Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua import Sidekiq, sending
from sidekiq_lua.clock import monotonic
from sidekiq_lua.config.settings import LONGEST_PUSH_S
from sidekiq_lua.errors import (
    ConfigurationError,
    LostReply,
    PushUnknown,
    RedisFull,
    RedisUnavailable,
    ScriptError,
)
from sidekiq_lua.store import Keys, fault
from sidekiq_lua.store.sent import PushLanes

SOON_S = 0.4


class Spread:
    """Client middleware: a job's first argument is its queue."""

    def call(self, job_class: Any, payload: Any, queue: str, redis: Any, next: Callable[[], Any]) -> Any:
        payload["queue"] = payload["args"][0]
        return next()


@pytest.fixture
def proxy(server: Server, url: str) -> Iterator[Proxy]:
    with Proxy(server.port) as made:
        yield made


@pytest.fixture
def make_app() -> Iterator[Callable[..., Sidekiq]]:
    made: list[Sidekiq] = []

    def make(url: str, **settings: Any) -> Sidekiq:
        made.append(Sidekiq(**{"redis": url, "reliable_push": True, **settings}))
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.fixture(params=KINDS)
def through(
    make_app: Callable[..., Sidekiq], proxy: Proxy, redis: Any, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """Both clients, behind the proxy, connected and with the scripts loaded."""
    with client_of(make_app(proxy.url), request.param) as sender:
        sender.enqueue("Warm")
        sender.enqueue_in(1, "Warm")
        redis.delete("queue:default", "schedule")
        yield sender


def jids(redis: Any, queue: str = "default") -> list[str]:
    """What is in a queue, oldest first."""
    return [json.loads(raw)["jid"] for raw in reversed(redis.lrange(f"queue:{queue}", 0, -1))]


CUTS = [Fate.CUT_REPLY, Fate.CUT_REQUEST, Fate.DESERT]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fate", CUTS)
def test_a_push_without_an_answer_is_done_once(
    through: Any, proxy: Proxy, redis: Any, fate: Fate, times: int
) -> None:
    proxy.on(b"EVALSHA", fate, times)
    assert through.push({"class": "A", "args": [], "jid": "mine"}) == "mine"
    assert proxy.met
    through.push({"class": "A", "args": [], "jid": "next"})
    assert jids(redis) == ["mine", "next"]


@pytest.fixture
def before_the_second(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`before_the_second("push_once", act)`: do something right before that call is sent again."""

    def plan(name: str, act: Callable[[], Any]) -> None:
        times = []

        def at(stage: str, call: str) -> None:
            if (stage, call) == ("before", name):
                times.append(1)
                if len(times) == 2:
                    act()

        monkeypatch.setattr(fault, "at", at)

    return plan


@pytest.mark.parametrize("fate", CUTS)
def test_a_scheduled_push_is_done_once_though_it_became_due_meanwhile(
    through: Any, proxy: Proxy, redis: Any, before_the_second: Any, fate: Fate
) -> None:
    """The set itself would refuse a second entry only as long as the first one is there."""
    found = []

    def promote() -> None:
        wait_until(lambda: fate is Fate.CUT_REQUEST or redis.zcard("schedule"))
        found.extend(redis.zpopmin("schedule"))

    before_the_second("schedule_once", promote)
    proxy.on(b"EVALSHA", fate)
    through.push({"class": "A", "args": [], "jid": "mine", "at": 4_000_000_000})
    assert len(found) + redis.zcard("schedule") == 1


@pytest.mark.parametrize("fate", CUTS)
def test_a_bulk_without_an_answer_is_done_once(through: Any, proxy: Proxy, redis: Any, fate: Fate) -> None:
    for word in (b"first", b"third", b"fifth"):
        proxy.on(word, fate)
    rows = [["first"], ["second"], ["third"], ["fourth"], ["fifth"]]
    pushed = through.push_bulk({"class": "A", "args": rows, "batch_size": 2})
    assert proxy.met
    assert jids(redis) == pushed


@pytest.mark.parametrize("kind", KINDS)
def test_a_slice_of_several_queues_of_which_one_refuses(
    make_app: Callable[..., Sidekiq], proxy: Proxy, redis: Any, kind: str
) -> None:
    """What was refused must not be taken for done when its neighbours were done before the reply was lost."""
    app = make_app(proxy.url, reliable_push=SOON_S)
    app.config.client_middleware.add(Spread)
    redis.set("queue:bad", "x")
    with client_of(app, kind) as sender:
        sender.enqueue("Warm", "default")
        proxy.on(b"queue:bad", Fate.CUT_REPLY)
        with pytest.raises(PushUnknown) as caught:
            sender.push_bulk({"class": "A", "args": [["a"], ["bad"], ["b"]]})
        assert len(caught.value.jids) == 3
        assert len(jids(redis, "a")) == len(jids(redis, "b")) == 1
        redis.delete("queue:bad")
        app.config.reliable_push = True
        proxy.on(b"queue:bad", Fate.CUT_REPLY)
        sender.push_bulk({"class": "A", "args": [["a"], ["bad"], ["b"]]})
    assert [len(jids(redis, queue)) for queue in ("a", "bad", "b")] == [2, 1, 2]


def test_a_request_that_arrives_after_it_was_sent_again(make_app: Any, server: Server, redis: Any) -> None:
    """The server reads its buffer after the client has gone: the late one is refused."""
    app = make_app(server.url)
    calls: list[Any] = []
    run = app.transport().run

    def note(call: Any) -> Any:
        calls.append(call)
        return run(call)

    app.transport().run = note
    app.client.push({"class": "A", "args": [], "jid": "one"})
    app.client.push({"class": "A", "args": [], "jid": "two"})
    first, second = calls
    assert first.keys[-1] == second.keys[-1]  # one lane
    assert (run(first), run(second)) == (0, 0)
    assert jids(redis) == ["one", "two"]


def test_lanes_are_remembered_for_300_seconds_and_few(make_app: Any, server: Server, redis: Any) -> None:
    app = make_app(server.url)
    for _ in range(20):
        app.client.enqueue("A")
    (lane,) = redis.keys("lua:sent:*")
    assert redis.get(lane) == b"20"
    assert 290 < redis.ttl(lane) <= 300


def test_many_threads_behind_a_proxy_that_cuts(make_app: Any, proxy: Proxy, redis: Any) -> None:
    app = make_app(proxy.url)
    proxy.on(b"-7", Fate.CUT_REPLY, 12)
    proxy.on(b"-3", Fate.CUT_REQUEST, 12)
    pushed: list[str] = []

    def push(n: int) -> None:
        for k in range(25):
            pushed.append(app.client.push({"class": "A", "args": [], "jid": f"{n}-{k}"}))

    threads = [threading.Thread(target=push, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(jids(redis)) == Counter(pushed)
    assert len(pushed) == 200
    assert len(redis.keys("lua:sent:*")) <= 40


# -- it ends somewhere ----------------------------------------------------------------------


@pytest.mark.parametrize(("fate", "there"), [(Fate.CUT_REPLY, ["mine"]), (Fate.CUT_REQUEST, [])])
def test_at_last_it_is_unknown(make_app: Any, proxy: Proxy, redis: Any, fate: Fate, there: list[str]) -> None:
    for kind in KINDS:
        redis.flushdb()
        app = make_app(proxy.url, reliable_push=SOON_S)
        with client_of(app, kind) as sender:
            proxy.on(b"mine", fate, 1000)
            with pytest.raises(PushUnknown, match=r"^mine may be in Redis or not: ") as caught:
                sender.push({"class": "A", "args": [], "jid": "mine"})
            proxy.heal()
            assert caught.value.jids == ["mine"]
            assert jids(redis) == there
            assert sender.push({"class": "A", "args": [], "jid": "next"})
            assert jids(redis) == [*there, "next"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_never_sent_is_not_unknown(make_app: Any, kind: str) -> None:
    app = make_app("redis://127.0.0.1:1/0", reliable_push=SOON_S)
    with client_of(app, kind) as sender, pytest.raises(RedisUnavailable) as caught:
        sender.enqueue("A")
    assert not isinstance(caught.value, LostReply)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_comes_back_meanwhile(make_app: Any, make_server: Any, kind: str) -> None:
    server = make_server()
    app = make_app(server.url)
    with client_of(app, kind) as sender:
        sender.enqueue("Warm")
        server.kill()
        timer = threading.Timer(0.3, server.restart)
        timer.start()
        sender.push({"class": "A", "args": [], "jid": "mine"})
        timer.join()
        with server.client() as client:
            assert jids(client) == ["mine"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_fills_up_after_the_reply_was_lost(
    make_app: Any, make_server: Any, before_the_second: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Refused before the script can look whether it was done: that says nothing about the first time."""
    server = make_server()

    def fill_up() -> None:
        client.config_set("maxmemory", "1")
        # That this is the last attempt must not depend on how busy the machine is.
        monkeypatch.setattr(sending, "monotonic", lambda: monotonic() + LONGEST_PUSH_S)

    with (
        Proxy(server.port) as proxy,
        server.client() as client,
        client_of(make_app(proxy.url), kind) as sender,
    ):
        sender.enqueue("Warm")
        client.delete("queue:default")
        before_the_second("push_once", fill_up)
        proxy.on(b"EVALSHA", Fate.CUT_REPLY)
        with pytest.raises(PushUnknown, match=r"Redis is full"):
            sender.push({"class": "A", "args": [], "jid": "mine"})
        assert jids(client) == ["mine"]
        with pytest.raises(RedisFull):
            sender.enqueue("A")


@pytest.mark.parametrize("kind", KINDS)
def test_refusals_are_raised_at_once(make_app: Any, url: str, redis: Any, kind: str) -> None:
    redis.set("queue:default", "x")
    with client_of(make_app(url), kind) as sender:
        with pytest.raises(ScriptError, match=r"^push_once\.lua:\d+: WRONGTYPE"):
            sender.enqueue("A")
        redis.delete("queue:default")
        sender.push({"class": "A", "args": [], "jid": "mine"})
        assert jids(redis) == ["mine"]


# -- forks and settings ---------------------------------------------------------------------


HANDLER = """
import signal
from sidekiq_lua.store import Keys
from sidekiq_lua.store.sent import PushLanes

class Interrupted(Keys):
    def sent(self, sender, lane):
        if lane == 1:
            signal.raise_signal(signal.SIGUSR1)
        return super().sent(sender, lane)

lanes, taken = PushLanes(Interrupted()), []
signal.signal(signal.SIGUSR1, lambda *_: taken.append(lanes.take().key))
taken.append(lanes.take().key)
assert len(set(taken)) == 2, taken
"""


def test_a_signals_handler_may_push() -> None:
    subprocess.run([sys.executable, "-c", HANDLER], check=True, timeout=20)


def test_a_forked_child_has_lanes_of_its_own() -> None:
    lanes = PushLanes(Keys())
    mine = lanes.take()
    lanes.give(mine)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, lanes.take().key.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 200).decode() not in ("", mine.key)
    os.close(reader)
    os.close(writer)
    assert lanes.take() is mine


@pytest.mark.parametrize("value", [0, -1, 241, "yes", None])
def test_what_reliable_push_takes(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^reliable_push must be true, false, or a number"):
        Sidekiq(reliable_push=value)
