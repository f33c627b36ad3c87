"""What an exchange does with a job that a blocking move brings."""

import logging

import pytest

from sidekiq_lua.clock import Clock
from sidekiq_lua.config import Config
from sidekiq_lua.store import Endpoint, Store, Transport
from sidekiq_lua.worker.exchange import Exchange
from sidekiq_lua.worker.order import QueueOrder
from sidekiq_lua.worker.ownership import Ownership

RAW = b'{"class":"EchoJob","args":[],"jid":"0123456789abcdef01234567"}'


@pytest.fixture
def exchange(url):
    transport = Transport(Endpoint(url))
    ownership = Ownership(Store(), transport, "host:1:abc", 0, ["default"], 2)
    ownership.register()
    order = QueueOrder(Config().capsules[0])
    yield Exchange(ownership, transport, order, 2, Clock(), logging.getLogger("test"), pytest.fail)
    transport.close()


def deliver(exchange, redis, running):
    """As a BLMOVE does that was sent for this running list."""
    epoch = exchange.ownership.lives.index(running)
    redis.lpush(f"lua:running:host:1:abc:0.{epoch}:default", RAW)
    return exchange.arrive("default", RAW, running)


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
