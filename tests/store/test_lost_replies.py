"""When the connection breaks: what is known, and what is never sent twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_py
from keyspace import STORE, contents, job
from proxy import Fate, Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua.errors import LostReply, RedisUnavailable
from sidekiq_lua.store import Transport

Connect = Callable[..., Transport]
PUSH = STORE.queues.push("default", [job(1)])
MANY = [PUSH, STORE.queues.push("low", [job(2)])]


def sent(proxy: Proxy, words: bytes) -> int:
    return sum(request.count(words) for request in proxy.requests)


@pytest.fixture
def transport(proxy: Proxy, connect: Connect, redis: redis_py.Redis) -> Transport:
    """A transport through the proxy, connected, to a server that has the scripts."""
    transport = connect(proxy.url)
    transport.run(PUSH)
    transport.run(STORE.queues.names())
    transport.run_many(MANY)
    redis.flushall()
    proxy.requests.clear()
    return transport


def test_a_push_without_an_answer_is_sent_once(
    transport: Transport, proxy: Proxy, redis: redis_py.Redis
) -> None:
    proxy.on(b"EVALSHA", Fate.CUT_REPLY)

    with pytest.raises(LostReply, match=f"^Redis at {proxy.url} did not answer push, which may have run"):
        transport.run(PUSH)

    assert contents(redis) == {"queues": {"default"}, "queue:default": [job(1)]}
    assert sent(proxy, b"EVALSHA") == 1


def test_a_push_that_did_not_arrive_is_not_sent_again_either(
    transport: Transport, proxy: Proxy, redis: redis_py.Redis
) -> None:
    """From here it looks the same as the one above."""
    proxy.on(b"EVALSHA", Fate.CUT_REQUEST)

    with pytest.raises(LostReply):
        transport.run(PUSH)

    assert contents(redis) == {}
    assert sent(proxy, b"EVALSHA") == 0


def test_a_lost_reply_costs_one_connection(transport: Transport, proxy: Proxy) -> None:
    proxy.on(b"EVALSHA", Fate.CUT_REPLY)
    with pytest.raises(LostReply):
        transport.run(PUSH)

    assert transport.run(PUSH) == 2

    assert proxy.connections == 2


def test_many_calls_without_an_answer_are_sent_once(
    transport: Transport, proxy: Proxy, redis: redis_py.Redis
) -> None:
    proxy.on(b"EVALSHA", Fate.CUT_REPLY)

    with pytest.raises(LostReply, match="did not answer 2 calls, which may have run"):
        transport.run_many(MANY)

    # The second may have been on its way when the connection was cut.
    assert redis.lrange("queue:default", 0, -1) == [job(1)]
    assert redis.llen("queue:low") <= 1


def test_a_cut_before_many_calls_are_sent_does_no_harm(
    transport: Transport, proxy: Proxy, redis: redis_py.Redis
) -> None:
    proxy.on(b"EXISTS", Fate.CUT_REPLY)

    assert transport.run_many(MANY) == [1, 1]

    assert redis.llen("queue:default") == 1


def test_two_such_cuts_are_an_outage_and_nothing_was_sent(
    transport: Transport, proxy: Proxy, redis: redis_py.Redis
) -> None:
    proxy.on(b"EXISTS", Fate.CUT_REPLY, times=2)

    with pytest.raises(RedisUnavailable, match="is not available") as caught:
        transport.run_many(MANY)

    assert type(caught.value) is RedisUnavailable
    assert contents(redis) == {}


def test_a_read_is_sent_again_once(transport: Transport, proxy: Proxy) -> None:
    proxy.on(b"EVALSHA_RO", Fate.CUT_REPLY)
    assert transport.run(STORE.queues.names()) == ("0", [])
    assert sent(proxy, b"EVALSHA_RO") == 2

    proxy.requests.clear()
    proxy.on(b"EVALSHA_RO", Fate.CUT_REPLY, times=2)
    with pytest.raises(LostReply, match="did not answer members"):
        transport.run(STORE.queues.names())
    assert sent(proxy, b"EVALSHA_RO") == 2


def test_a_read_is_not_sent_again_when_nobody_listens(
    make_server: Callable[..., Server], connect: Connect
) -> None:
    server = make_server()
    transport = connect(server.url)
    transport.run(STORE.queues.names())
    server.kill()

    with pytest.raises(RedisUnavailable, match="is not available") as caught:
        transport.run(STORE.queues.names())

    assert type(caught.value) is RedisUnavailable


def test_a_plain_command_is_sent_once(transport: Transport, proxy: Proxy, redis: redis_py.Redis) -> None:
    proxy.on(b"INCR", Fate.CUT_REPLY)

    with pytest.raises(LostReply, match="did not answer INCR"):
        transport.command("INCR", "n")

    assert contents(redis) == {"n": "1"}


@pytest.mark.parametrize("fate", [Fate.SWALLOW, Fate.HOLD])
def test_no_answer_in_time_is_a_lost_reply(
    proxy: Proxy, connect: Connect, redis: redis_py.Redis, fate: Fate
) -> None:
    transport = connect(proxy.url, {"socket_timeout": 1})
    transport.run(PUSH)
    redis.flushall()
    proxy.on(b"EVALSHA", fate)

    with pytest.raises(LostReply, match="Timeout"):
        transport.run(PUSH)

    # The late reply, if there is one, is nobody else's.
    proxy.release()
    assert transport.command("ECHO", "mine") == b"mine"
    assert redis.llen("queue:default") == (fate is Fate.HOLD)


def test_a_server_that_dies_during_the_call(make_server: Callable[..., Server], connect: Connect) -> None:
    server = make_server()
    transport = connect(server.url)
    transport.run(PUSH)
    with server.client() as client:
        client.execute_command("CLIENT", "PAUSE", "60000", "ALL")
    killer = threading.Timer(0.05, server.kill)
    killer.start()

    with pytest.raises(LostReply):
        transport.run(PUSH)

    killer.join()


class Alarm(BaseException):
    """What a signal handler raises in the middle of a call, as Ctrl-C does."""


@pytest.fixture
def alarm() -> Iterator[None]:
    def ring(number: int, frame: Any) -> None:
        raise Alarm

    before = signal.signal(signal.SIGUSR1, ring)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda transport: transport.run(PUSH),
        lambda transport: transport.run_many(MANY),
        lambda transport: transport.command("LPUSH", "EVALSHA", "x"),
    ],
    ids=["run", "run_many", "command"],
)
def test_an_interrupted_call_leaves_its_reply_to_nobody(
    transport: Transport, proxy: Proxy, alarm: None, attempt: Callable[[Transport], Any]
) -> None:
    proxy.on(b"EVALSHA", Fate.HOLD)

    def interrupt() -> None:
        wait_until(lambda: sent(proxy, b"EVALSHA"))
        os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Alarm):
        attempt(transport)
    thread.join()

    proxy.release()
    assert [transport.command("ECHO", str(n)) for n in range(3)] == [b"0", b"1", b"2"]
    assert transport.run_many([STORE.queues.names()] * 2)[1][0] == "0"
