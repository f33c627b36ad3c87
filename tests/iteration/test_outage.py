"""An item fails while Redis is away, as one that enqueues something would: nothing before it is repeated."""

from __future__ import annotations

import threading

import pytest
from proxy import Fate, Proxy
from waiting import hurry, wait_until

from sidekiq_lua.store import fault
from sidekiq_lua.worker.iterations import RunKeeper


@pytest.fixture
def proxy(server):
    with Proxy(server.port) as made:
        yield made


@pytest.fixture
def trouble(proxy, redis):
    """`begin()` and `end()` of each kind of it, by name."""

    def refuse():
        redis.config_set("min-replicas-to-write", 1)

    def accept():
        redis.config_set("min-replicas-to-write", 0)

    yield {
        "away": (lambda: proxy.on(b"", Fate.CUT_REQUEST, times=100_000), proxy.heal),
        "refusing": (refuse, accept),
    }
    accept()


@pytest.mark.parametrize("kind", ["away", "refusing"])
def test_an_item_that_fails_in_an_outage(make_app, run, redis, seen, define, proxy, trouble, kind, log):
    begin, end = trouble[kind]
    begun = threading.Event()

    def do(self, item):
        seen.events.append(item)
        if item == 3 and not begun.is_set():
            begin()
            begun.set()
            raise ValueError(item)

    app = make_app(redis=proxy.url, heartbeat_ttl=60)
    define(app, do=do).perform_async()
    run(app)
    assert begun.wait(10)
    wait_until(lambda: ": fail" in log.getvalue())
    end()
    wait_until(lambda: redis.zcard("retry"), timeout=30)
    hurry(redis)
    wait_until(lambda: redis.get("stat:processed") == b"2")
    assert seen.items == [0, 1, 2, 3, 3, 4]
    assert not list(redis.scan_iter("it-*"))


def test_redis_takes_writes_again_between_the_save_and_the_retry(
    make_app, run, redis, seen, define, trouble, monkeypatch, log
):
    """Then both are taken: a retry without its state would repeat what was done."""
    begin, end = trouble["refusing"]

    def at(stage, name):
        if (stage, name) == ("before", "retry"):
            end()

    def do(self, item):
        seen.events.append(item)
        if item == 3 and seen.items.count(3) == 1:
            begin()
            raise ValueError(item)

    monkeypatch.setattr(fault, "at", at)
    app = make_app(heartbeat_ttl=60)
    define(app, do=do).perform_async()
    run(app)
    wait_until(lambda: "no jobs are fetched" in log.getvalue() or redis.exists("retry"))
    assert not redis.exists("retry")
    end()
    wait_until(lambda: redis.zcard("retry"))
    hurry(redis)
    wait_until(lambda: redis.get("stat:processed") == b"2")
    assert seen.items == [0, 1, 2, 3, 3, 4]


@pytest.mark.parametrize("kind", ["away", "refusing"])
def test_a_save_in_an_outage_waits_for_its_end(
    make_app, run, redis, seen, define, proxy, trouble, kind, log, monkeypatch
):
    """Such a job must not fail: this one, which is not retried, would be gone."""
    begin, end = trouble[kind]
    begun = threading.Event()
    saves, save = [], RunKeeper.save

    def count(keeper, state):
        saves.append(begun.is_set())
        return save(keeper, state)

    def do(self, item):
        seen.events.append(item)
        if item == 2:
            begin()
            begun.set()

    monkeypatch.setattr(RunKeeper, "save", count)
    app = make_app(redis=proxy.url, heartbeat_ttl=60)
    define(app, do=do, state_flush_interval=0).set(retry=False).perform_async()
    run(app)
    wait_until(lambda: sum(saves) > 1 or ": fail" in log.getvalue())
    assert seen.items == [0, 1, 2]
    end()
    wait_until(lambda: redis.get("stat:processed") == b"1", timeout=30)
    assert seen.items == [0, 1, 2, 3, 4]
    assert ": fail" not in log.getvalue()
    assert not list(redis.scan_iter("it-*"))
