"""Relay: killed at any step, Redis or the database failing; each row's job comes once."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import contrib.relay_process as relay_process
import pytest
from contrib.shop import Shop, passes
from proxy import Fate, Proxy
from waiting import wait_until

from sidekiq_lua.contrib.outbox import DbApi, Outbox
from sidekiq_lua.store import fault
from sidekiq_lua.store.scripts import library

Queued = Callable[..., list[Any]]
STEPS = [
    *("before read", "after read", "before delete", "after delete"),
    *(
        f"{stage} {script}"
        for script in ("relay_claim", "relay", "relay_settle")
        for stage in ("before", "sent", "after")
    ),
]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_each_job_comes_once_and_in_order(shop: Shop, url: str, step: str) -> None:
    for n in range(20):
        shop.add(n, "low" if n % 3 == 0 else "default")
    shop.write(99, at=4_000_000_000.0)
    command = [sys.executable, relay_process.__file__, url, str(shop.path), step]
    killed = subprocess.run(command, capture_output=True, timeout=30)
    assert killed.returncode == -9, killed.stderr.decode()
    shop.take("default", "low")  # what arrived runs before the next relay comes
    scheduled = shop.redis.zcard("schedule")
    shop.redis.delete("schedule")

    passes(shop.outbox.relay(batch=7), shop.rows)

    shop.take("default", "low")
    assert shop.ran == {
        "low": [n for n in range(20) if n % 3 == 0],
        "default": [n for n in range(20) if n % 3],
    }
    assert scheduled + shop.redis.zcard("schedule") == 1
    assert not shop.redis.exists("lua:relayed:shop", "lua:relay:shop")


@pytest.mark.parametrize("fate", ["CUT_REQUEST", "CUT_REPLY"])
@pytest.mark.parametrize("script", ["relay_claim", "relay", "relay_settle"])
def test_lost_requests_and_replies(make_app: Any, shop: Shop, server: Any, fate: str, script: str) -> None:
    with Proxy(server.port) as proxy:
        app = make_app(redis=proxy.url)
        for sha in ("relay_claim", "relay", "relay_settle"):
            shop.redis.script_load(library()[sha].text)
        relay = Outbox("shop", DbApi(shop.connect), app).relay(batch=2)
        for n in range(5):
            shop.write(n)
        proxy.on(library()[script].sha.encode(), Fate[fate])

        relay.run_once()
        assert proxy.met
        shop.take("default")
        for n in range(5, 8):
            shop.write(n)
        passes(relay, shop.rows)

    shop.take("default")
    assert shop.ran["default"] == list(range(8))
    assert not shop.redis.exists("lua:relayed:shop")


def test_without_redis_the_rows_wait_and_a_line_says_why(
    make_app: Any, make_server: Any, shop: Shop, log: io.StringIO, reports: list[Any]
) -> None:
    server = make_server(appendonly="yes", appendfsync="always")
    relay = Outbox("shop", DbApi(shop.connect), make_app(redis=server.url)).relay(interval=0.01)
    shop.write(1)
    relay.run_once()
    server.stop()
    shop.write(2)
    shop.write(3)
    for _ in range(5):
        assert relay.run_once() == 0
    server.restart()
    relay.run_once()

    assert shop.rows() == 0
    relay.close()
    told = [line for line in log.getvalue().splitlines() if "outbox shop" in line]
    # One for the reply that was lost and one for the refused connection, or the latter alone.
    assert ["waits" in line for line in told] in ([True, False], [True, True, False])
    assert [context for _, context in reports] == [{"context": "outbox shop: Redis"}] * (len(told) - 1)


def test_a_queue_that_refuses_does_not_hold_up_the_others(
    shop: Shop, log: io.StringIO, queued: Queued
) -> None:
    shop.redis.set("queue:bad", "no list")
    for n in range(30):
        shop.add(n, "bad" if n % 3 else "default")
    shop.write(30, "default")
    relay = shop.outbox.relay(batch=4)

    assert relay.run_once() == 11
    assert queued() == list(range(0, 31, 3))
    assert shop.rows() == 20
    assert log.getvalue().count("the queue bad waits: ScriptError: relay.lua") == 1

    shop.redis.delete("queue:bad")
    assert relay.run_once() == 20
    assert queued("bad") == [n for n in range(30) if n % 3]
    assert "the queue bad goes on" in log.getvalue()
    relay.close()


def test_a_pool_that_nobody_knows_waits(shop: Shop, log: io.StringIO) -> None:
    shop.write(1)
    shop._connection.execute("UPDATE sidekiq_outbox SET pool = 'gone'")
    shop.write(2)

    assert shop.outbox.relay().run_once() == 1
    assert "the pool gone waits: ConfigurationError: no Redis pool is called 'gone'" in log.getvalue()
    assert shop.rows() == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "UnparsablePayload"),
        ('{"class":"J","args":[1e999]}', "UnserializableArguments"),
        ('{"class":"J","args":[],"at":"soon"}', "ValueError"),
        ('{"class":"J","args":[],"queue":7}', "UnparsablePayload"),
    ],
)
def test_a_row_that_is_no_job_stays_and_is_told(shop: Shop, log: io.StringIO, text: str, why: str) -> None:
    shop.write(1)
    shop._connection.execute("UPDATE sidekiq_outbox SET payload = ?", [text])
    shop.write(2)

    assert shop.outbox.relay().run_once() == 1
    assert shop.queued() == [2]
    assert f"row 1 of the outbox waits: {why}" in log.getvalue()


def test_a_row_that_names_no_queue_goes_to_the_default_one(shop: Shop) -> None:
    shop.write(1)
    shop._connection.execute('UPDATE sidekiq_outbox SET payload = \'{"class":"J","args":[1]}\'')
    shop._connection.commit()

    assert shop.outbox.relay().run_once() == 1
    assert shop.queued() == [1]


def test_a_deletion_that_fails_doubles_nothing(shop: Shop, log: io.StringIO) -> None:
    class Failing(DbApi):
        fails = True

        def write(self, *args: Any) -> None:
            if self.fails:
                raise sqlite3.OperationalError("database is locked")
            super().write(*args)

    database = Failing(shop.connect)
    relay = Outbox("shop", database, shop.app).relay(interval=0.01)
    for n in range(3):
        shop.write(n)
    relay.start()
    wait_until(lambda: "the outbox's table waits" in log.getvalue())
    shop.take("default")
    shop.write(3)
    database.fails = False
    wait_until(lambda: shop.rows() == 0)
    relay.stop()

    shop.take("default")
    assert shop.ran["default"] == [0, 1, 2, 3]
    assert "the outbox's table goes on" in log.getvalue()
    assert not shop.redis.exists("lua:relayed:shop")


def test_a_deletion_that_was_committed_though_it_failed_leaves_nothing_behind(shop: Shop) -> None:
    class Failing(DbApi):
        fails = True

        def write(self, *args: Any) -> None:
            super().write(*args)
            if self.fails:
                raise sqlite3.OperationalError("the connection was cut")

    database = Failing(shop.connect)
    relay = Outbox("shop", database, shop.app).relay()
    shop.write(1)
    with pytest.raises(sqlite3.OperationalError):
        relay.run_once()
    assert shop.redis.scard("lua:relayed:shop") == 1
    database.fails = False
    shop.write(2)

    assert relay.run_once() == 1

    assert shop.queued() == [1, 2]
    assert not shop.redis.exists("lua:relayed:shop")
    relay.close()


def test_rows_stay_until_replicas_have_the_jobs(
    make_app: Any, url: str, shop: Shop, log: io.StringIO
) -> None:
    app = make_app(wait_replicas=1, wait_timeout_ms=20)
    relay = Outbox("shop", DbApi(shop.connect), app).relay()
    shop.write(1)
    assert relay.run_once() == 0
    relay.close()
    assert (shop.rows(), shop.queued()) == (1, [1])
    assert "NotReplicated: 0 of 1 replicas" in log.getvalue()

    passes(shop.outbox.relay(), shop.rows)
    assert shop.queued() == [1]


def test_rows_are_relayed_as_they_come_until_it_is_stopped(shop: Shop) -> None:
    relay = shop.outbox.relay(interval=0.01).start()
    for n in range(5):
        shop.write(n)
        wait_until(lambda n=n: n in shop.queued())
    relay.stop()
    assert not shop.redis.exists("lua:relay:shop")
    shop.write(5)
    relay.start()
    wait_until(lambda: 5 in shop.queued())
    relay.stop()


def test_it_starts_again_though_it_was_stopped_twice(shop: Shop) -> None:
    relay = shop.outbox.relay(interval=0.01).start()
    relay.stop()
    relay.stop()
    shop.write(1)
    relay.start()
    wait_until(lambda: shop.queued() == [1])
    relay.stop()


def test_large_rows_go_in_calls_of_a_megabyte(shop: Shop) -> None:
    calls: list[str] = []

    def count(stage: str, name: str) -> None:
        if stage == "before":
            calls.append(name)

    for n in range(6):
        shop.write([n, "x" * 400_000])
    fault.at = count
    try:
        shop.outbox.relay().run_once()
    finally:
        fault.at = None

    assert calls.count("relay") == 3
    assert [n for n, _ in shop.queued()] == list(range(6))
