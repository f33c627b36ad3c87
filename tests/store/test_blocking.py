"""A blocking move: how a process waits for a job of one queue."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_py
from keyspace import MINE, RUNNING, STORE, contents, job, put
from proxy import Fate, Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua.errors import LostReply, RedisRefused, RedisUnavailable
from sidekiq_lua.store import Endpoint, blocking
from sidekiq_lua.store.blocking import BlockingMove


@pytest.fixture
def moves() -> Iterator[Callable[..., BlockingMove]]:
    made: list[BlockingMove] = []

    def make(url: str, timeout_s: float = 30.0, options: dict[str, Any] | None = None) -> BlockingMove:
        made.append(BlockingMove(Endpoint(url, options), "default", timeout_s))
        return made[-1]

    yield make
    for move in made:
        move.close()


@pytest.fixture
def move(url: str, moves: Callable[..., BlockingMove]) -> BlockingMove:
    return moves(url)


def readable(move: BlockingMove, timeout_s: float = 10) -> bool:
    return bool(select.select([move], [], [], timeout_s)[0])


def blocked(redis: redis_py.Redis, clients: int = 1) -> None:
    wait_until(lambda: redis.info("clients")["blocked_clients"] == clients)


def test_a_job_that_is_there_comes_at_once(move: BlockingMove, redis: redis_py.Redis) -> None:
    put(redis, {"queue:default": [job(2), job(1)]})

    move.arm(MINE)

    assert move.armed
    assert readable(move)
    assert move.read() == job(1)
    assert not move.armed
    assert contents(redis) == {"queue:default": [job(2)], RUNNING: [job(1)]}


def test_a_job_that_comes_later_wakes_the_waiter(move: BlockingMove, redis: redis_py.Redis) -> None:
    move.arm(MINE)
    blocked(redis)
    assert not readable(move, 0)

    redis.lpush("queue:default", b"\xff not text")

    assert readable(move)
    assert move.read() == b"\xff not text"
    assert contents(redis) == {RUNNING: [b"\xff not text"]}


def test_a_move_is_armed_again_on_the_same_connection(move: BlockingMove, redis: redis_py.Redis) -> None:
    for n in range(3):
        redis.lpush("queue:default", job(n))
        move.arm(MINE)
        assert move.read() == job(n)
        socket = move.fileno()
        client = move.client_id
    move.arm(MINE)

    assert (move.fileno(), move.client_id) == (socket, client)


def test_the_server_ends_it_after_its_time_out(
    moves: Callable[..., BlockingMove], url: str, redis: redis_py.Redis
) -> None:
    move = moves(url, 0.05)

    move.arm(MINE)

    assert readable(move)
    assert move.read() is None
    assert contents(redis) == {}


def test_it_can_be_ended_from_outside(move: BlockingMove, redis: redis_py.Redis) -> None:
    move.arm(MINE)
    blocked(redis)

    assert redis.client_unblock(move.client_id) == 1

    assert move.read() is None


def test_it_waits_longer_than_ordinary_calls_may(
    moves: Callable[..., BlockingMove], url: str, redis: redis_py.Redis
) -> None:
    move = moves(url, 0.3, {"socket_timeout": 0.1})

    move.arm(MINE)

    assert move.read() is None


def test_an_error_reply_is_refused_and_the_connection_stays(
    move: BlockingMove, redis: redis_py.Redis
) -> None:
    redis.set(RUNNING, "a string")
    redis.lpush("queue:default", job(1))
    move.arm(MINE)

    with pytest.raises(RedisRefused, match=r"^BLMOVE for queue default: WRONGTYPE"):
        move.read()

    redis.delete(RUNNING)
    move.arm(MINE)
    assert move.read() == job(1)


def test_a_cut_connection_is_a_lost_reply_and_its_job_is_in_the_running_list(
    moves: Callable[..., BlockingMove], proxy: Proxy, redis: redis_py.Redis
) -> None:
    move = moves(proxy.url)
    proxy.on(b"BLMOVE", Fate.CUT_REPLY)
    move.arm(MINE)
    blocked(redis)
    redis.lpush("queue:default", job(1))

    with pytest.raises(LostReply, match="did not answer BLMOVE, which may have run"):
        move.read()

    assert contents(redis) == {RUNNING: [job(1)]}
    assert (move.armed, move.fileno()) == (False, -1)
    redis.lpush("queue:default", job(2))
    move.arm(MINE)
    assert move.read() == job(2)


def test_without_a_server_it_cannot_be_armed(
    moves: Callable[..., BlockingMove], make_server: Callable[..., Server]
) -> None:
    server = make_server()
    server.stop()
    move = moves(server.url)

    with pytest.raises(RedisUnavailable, match="is not available") as caught:
        move.arm(MINE)

    assert type(caught.value) is RedisUnavailable
    assert not move.armed


def test_a_server_that_dies_ends_the_wait(
    moves: Callable[..., BlockingMove], make_server: Callable[..., Server]
) -> None:
    server = make_server()
    move = moves(server.url)
    move.arm(MINE)

    server.kill()

    assert readable(move)
    with pytest.raises(LostReply):
        move.read()


def test_an_answer_that_is_overdue(
    moves: Callable[..., BlockingMove], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host may be gone without a word: nothing ever arrives on the socket."""
    now = [1000.0]
    monkeypatch.setattr(blocking, "monotonic", lambda: now[0])
    move = moves(proxy.url, 20.0)
    proxy.on(b"BLMOVE", Fate.SWALLOW)
    move.arm(MINE)

    assert move.deadline == 1023.0
    assert isinstance(move.gave_up(), LostReply)


def test_arm_tells_of_a_new_connection(move: BlockingMove, redis: redis_py.Redis) -> None:
    redis.lpush("queue:default", "a", "b")
    assert move.arm(MINE)
    assert move.read() == b"a"
    assert not move.arm(MINE)
    assert move.read() == b"b"
    move.close()
    assert move.arm(MINE)


def test_close_ends_the_wait_on_the_server(move: BlockingMove, redis: redis_py.Redis) -> None:
    move.arm(MINE)
    blocked(redis)

    move.close()

    blocked(redis, 0)
    assert (move.armed, move.fileno()) == (False, -1)
    move.close()


def test_each_epoch_has_lists_of_its_own(move: BlockingMove, redis: redis_py.Redis) -> None:
    """A process that was reaped arms the next move for its new epoch."""
    redis.lpush("queue:default", job(1), job(2))
    later = STORE.running("host:1:aaaa", "2")
    move.arm(MINE)
    move.read()

    move.arm(later)
    move.read()

    assert contents(redis) == {RUNNING: [job(1)], later.list("default"): [job(2)]}
