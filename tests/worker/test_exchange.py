"""What an exchange does with a job that a blocking move brings, and who makes its trips."""

import logging
import sys
import threading

import pytest
from waiting import wait_until

from sidekiq_lua.clock import Clock
from sidekiq_lua.config import Config
from sidekiq_lua.store import Endpoint, Store, Transport, fault
from sidekiq_lua.worker.exchange import Exchange
from sidekiq_lua.worker.order import QueueOrder
from sidekiq_lua.worker.ownership import Ownership

RAW = b'{"class":"EchoJob","args":[],"jid":"0123456789abcdef01234567"}'


@pytest.fixture
def exchange(url):
    transport = Transport(Endpoint(url))
    ownership = Ownership(Store(), transport, "host:1:abc", 0, ["default"], 2)
    ownership.register()
    order = QueueOrder(Config().capsules["default"])
    yield Exchange(ownership, transport, order, 2, Clock(), logging.getLogger("test"), pytest.fail)
    transport.close()


def deliver(exchange, redis, running):
    """As a BLMOVE does that was sent for this running list."""
    epoch = exchange.ownership.lives.index(running)
    redis.lpush(f"lua:running:host:1:abc:0.{epoch}:default", RAW)
    return exchange.admit("default", RAW, running)


def test_it_is_kept(exchange, redis):
    assert deliver(exchange, redis, exchange.ownership.running)
    assert [delivery.raw for delivery in exchange.ready] == [RAW]
    assert redis.llen("queue:default") == 0


def test_in_a_list_of_an_earlier_epoch_it_goes_back(exchange, redis):
    """The old epoch is registered again, so the script alone would let it stay; but there its first run
    here, should it have been recovered from this process, would settle the second."""
    old = exchange.ownership.running
    exchange.renew(exchange.ownership.owner)

    assert not deliver(exchange, redis, old)
    assert not exchange.ready
    assert redis.lrange("queue:default", 0, -1) == [RAW]
    assert not list(redis.scan_iter("lua:running:*"))


# -- whose turn it is to make a trip ------------------------------------------------------------


@pytest.fixture
def hold_fetcher(monkeypatch):
    """Stops the fetcher's thread in the middle of its next acknowledgement, until it is released."""
    held, release = threading.Event(), threading.Event()

    def at(stage, name):
        mine = threading.current_thread().name.endswith("/fetcher")
        if mine and stage == "sent" and name.startswith("ack") and not held.is_set():
            held.set()
            release.wait(20)

    monkeypatch.setattr(fault, "at", at)
    yield held, release
    release.set()


def test_what_ends_while_the_fetcher_is_on_a_trip_is_acknowledged(make_app, run, redis, hold_fetcher):
    """The only thread finds the trip under way and rests: the fetcher must look again."""
    app = make_app(concurrency=1, heartbeat_interval=10, heartbeat_ttl=60)
    held, release = hold_fetcher
    gate, over = threading.Event(), threading.Event()

    class QuickJob(app.Job):
        def perform(self):
            pass

    class GateJob(app.Job):
        def perform(self):
            gate.wait(20)
            over.set()

    # Many run times are known, so several jobs are fetched at once, and one ends while the next one runs.
    app.client.push_bulk({"class": QuickJob, "args": [[] for _ in range(150)]})
    app.client.push_bulk({"class": GateJob, "args": [[] for _ in range(2)]})
    run(app)
    assert held.wait(20)

    gate.set()
    assert over.wait(20)
    wait_until(lambda: threads_at_rest() == 1)
    release.set()

    wait_until(lambda: redis.get("stat:processed") == b"152")


def threads_at_rest():
    frames = sys._current_frames()
    mine = [t for t in threading.enumerate() if t.name.endswith("/processor")]
    return sum(frames[t.ident].f_code.co_qualname == "Seat.wait" for t in mine)
