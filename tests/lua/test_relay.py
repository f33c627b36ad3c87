"""relay_claim.lua, relay.lua and relay_settle.lua: an outbox's rows come in, each once."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import NOW, STORE, job

from sidekiq_lua.errors import RedisFull, ScriptError
from sidekiq_lua.store.relays import FENCED, Row

R = STORE.relays


def claim(me: str = "a", ttl_ms: int = 60_000) -> Any:
    return R.claim("shop", me, ttl_ms)


def push(epoch: int, *rows: Row, me: str = "a", queue: str = "low") -> Any:
    return R.push("shop", me, epoch, 60_000, queue, rows)


def test_one_relay_works_at_a_time_and_claims_anew_as_often_as_it_likes(run: Any, redis: Any) -> None:
    assert run(claim()) == 1
    assert run(claim()) == 2
    assert run(claim("b")) == 0
    assert 0 < redis.pttl("lua:relay:shop") <= 60_000

    redis.delete("lua:relay:shop")  # as when it ran out

    assert run(claim("b")) == 3


def test_rows_are_pushed_in_order_to_queue_and_schedule(run: Any, put: Any, db: Any, redis: Any) -> None:
    put({"queue:low": [job(1)]})
    epoch = run(claim())

    rows = [Row("1:x", None, job(2)), Row("2:y", NOW, job(3)), Row("3:z", None, job(4))]
    assert run(push(epoch, *rows)) == 3

    assert db() == {
        "queues": {"low"},
        "queue:low": [job(4), job(2), job(1)],
        "schedule": [(job(3), NOW)],
        "lua:relay:shop": "a",
        "lua:relay_epoch:shop": "1",
        "lua:relayed:shop": {"1:x", "2:y", "3:z"},
    }


def test_a_row_comes_a_second_time_and_is_pushed_once(run: Any, redis: Any) -> None:
    epoch = run(claim())
    run(push(epoch, Row("1:x", None, job(1)), Row("2:y", NOW, job(2))))
    redis.delete("queue:low", "schedule")  # they ran meanwhile

    assert run(push(epoch, Row("1:x", None, job(1)), Row("2:y", NOW, job(2)), Row("3:z", None, job(3)))) == 1

    assert redis.lrange("queue:low", 0, -1) == [job(3)]
    assert not redis.exists("schedule")


def test_who_claimed_before_another_pushes_nothing(run: Any, redis: Any, db: Any) -> None:
    stale = run(claim())
    redis.delete("lua:relay:shop")
    run(claim("b"))
    before = db()

    assert run(push(stale, Row("1:x", None, job(1)))) == FENCED
    assert db() == before


def test_what_was_sent_before_our_own_next_claim_is_refused_too(run: Any, redis: Any) -> None:
    stale = run(claim())
    run(claim())

    assert run(push(stale, Row("1:x", None, job(1)))) == FENCED
    assert not redis.exists("queue:low")


def test_without_any_claim_nothing_is_pushed(run: Any, db: Any) -> None:
    assert run(push(0, Row("1:x", None, job(1)))) == FENCED
    assert db() == {}


def test_a_push_prolongs_the_claim(run: Any, redis: Any) -> None:
    epoch = run(claim(ttl_ms=1000))
    run(push(epoch, Row("1:x", None, job(1))))

    assert redis.pttl("lua:relay:shop") > 1000


@pytest.mark.parametrize("key", ["queue:low", "schedule", "queues", "lua:relayed:shop"])
def test_a_key_of_a_wrong_type_stops_it_before_anything_is_written(
    run: Any, put: Any, db: Any, key: str
) -> None:
    put({key: "a string"})
    epoch = run(claim())
    before = db()

    with pytest.raises(ScriptError, match=r"^relay\.lua:\d+: WRONGTYPE"):
        run(push(epoch, Row("1:x", None, job(1))))

    assert db() == before


def test_an_epoch_that_is_no_number_gives_no_claim(run: Any, put: Any, db: Any) -> None:
    put({"lua:relay_epoch:shop": "abc"})

    with pytest.raises(ScriptError, match=r"^relay_claim\.lua:\d+: "):
        run(claim())

    assert db() == {"lua:relay_epoch:shop": "abc"}


def test_a_full_redis_takes_no_rows_and_lets_claim_and_settle_go_on(make_server: Any) -> None:
    from sidekiq_lua.store import Endpoint, Transport

    server = make_server(maxmemory_policy="noeviction")
    transport = Transport(Endpoint(server.url))
    with server.client() as client:
        client.config_set("maxmemory", 1)
        epoch = transport.run(claim())
        with pytest.raises(RedisFull):
            transport.run(push(epoch, Row("1:x", None, job(1))))
        assert transport.run(R.settle("shop", "a", epoch, ["1:x"], leaves=True)) == 0
        assert set(client.keys()) == {b"lua:relay_epoch:shop"}
    transport.close()


def test_settled_rows_are_forgotten(run: Any, put: Any, db: Any) -> None:
    epoch = run(claim())
    put({"lua:relayed:shop": {"1:x", "2:y"}})

    assert run(R.settle("shop", "a", epoch, ["1:x", "9:q"])) == 1

    assert db() == {"lua:relayed:shop": {"2:y"}, "lua:relay:shop": "a", "lua:relay_epoch:shop": "1"}


def test_who_claimed_before_another_makes_nobody_forget_what_that_one_may_have_read(
    run: Any, put: Any, db: Any, redis: Any
) -> None:
    stale = run(claim())
    run(push(stale, Row("1:x", None, job(1))))
    redis.delete("lua:relay:shop")
    epoch = run(claim("b"))
    before = db()

    assert run(R.settle("shop", "a", stale, ["1:x"])) == FENCED
    assert db() == before
    assert run(push(epoch, Row("1:x", None, job(1)), me="b")) == 0


def test_who_leaves_gives_its_own_claim_back_only(run: Any, put: Any, db: Any) -> None:
    put({"lua:relay:shop": "a"})
    run(R.settle("shop", "b", 0, [], leaves=True))
    assert db() == {"lua:relay:shop": "a"}

    run(R.settle("shop", "a", 0, [], leaves=True))
    assert db() == {}


def test_the_pages_of_what_was_relayed(run: Any, put: Any) -> None:
    put({"lua:relayed:shop": {f"{n}:x" for n in range(250)}})
    cursor, found = "0", []
    while True:
        cursor, page = run(R.relayed("shop", cursor))
        found += page
        if cursor == "0":
            break
    assert set(found) == {f"{n}:x" for n in range(250)}
