"""Jobs that a blocking move brings to a worker that waits."""

import asyncio
import gc
import json
import logging
import threading

import pytest
from waiting import wait_until

from sidekiq_lua import PausedClass, Queue
from sidekiq_lua.clock import Clock, boottime, monotonic
from sidekiq_lua.config import Config
from sidekiq_lua.errors import RedisUnavailable
from sidekiq_lua.store import Endpoint, Store, Transport, fault
from sidekiq_lua.worker.admission import Admission
from sidekiq_lua.worker.delivery import Delivery
from sidekiq_lua.worker.exchange import Exchange
from sidekiq_lua.worker.order import QueueOrder
from sidekiq_lua.worker.ownership import Ownership
from sidekiq_lua.worker.waiter import ABOUND_S

RAW = b'{"class":"EchoJob","args":[],"jid":"0123456789abcdef01234567"}'


@pytest.fixture
def exchange(url):
    transport = Transport(Endpoint(url), size=1, wait_s=0.1)
    ownership = Ownership(Store(), transport, "host:1:abc", 0, ["default"], 2)
    ownership.register()
    order = QueueOrder(Config().capsules["default"])
    yield Exchange(ownership, transport, order, 2, Clock(), logging.getLogger("test"), pytest.fail)
    transport.close()


def deliver(exchange, redis, running, meanwhile=lambda: None, *, on_loop=False):
    """As a BLMOVE does that was sent for this running list."""
    epoch = exchange.ownership.lives.index(running)
    redis.lpush(f"lua:running:host:1:abc:0.{epoch}:default", RAW)
    delivery = Delivery("default", RAW, running)
    delivery.on_loop = on_loop
    return Admission(exchange, exchange._transport).admit(delivery, meanwhile)


def test_it_is_kept(exchange, redis):
    assert deliver(exchange, redis, exchange.ownership.running)
    assert [delivery.raw for delivery in exchange.ready] == [RAW]
    assert redis.llen("queue:default") == 0


@pytest.mark.parametrize("on_loop", [False, True])
def test_it_goes_back_where_the_worker_has_become_quiet_meanwhile(exchange, redis, on_loop):
    def quiet():
        exchange.quiet = True

    assert not deliver(exchange, redis, exchange.ownership.running, quiet, on_loop=on_loop)
    assert not exchange.ready
    assert not exchange.active
    assert redis.lrange("queue:default", 0, -1) == [RAW]


def test_a_stop_that_meets_one_does_not_leave_it_behind(make_app, run, redis, monkeypatch, log):
    """Nothing runs, so the stop waits for nothing. A job that begins then ended in the dead set."""
    app = make_app(concurrency=1, heartbeat_interval=5, heartbeat_ttl=60)
    held, runners = threading.Event(), []

    def at(stage, name):
        if (stage, name) == ("after", "admit"):
            held.set()
            wait_until(lambda: "Scheduler exiting" in log.getvalue())
            wait_until(lambda: runners[0]._launcher.stations[0].waiter._ended)

    class SlowJob(app.Job):
        async def perform(self):
            await asyncio.sleep(1)

    monkeypatch.setattr(fault, "at", at)
    runners.append(run(app))
    wait_until(lambda: redis.info("clients")["blocked_clients"] == 1)
    SlowJob.perform_async()
    assert held.wait(10)
    runners[0].stop()
    gc.collect()  # what was left on the closed loop
    assert redis.llen("queue:default") == 1
    assert not redis.exists("dead", "lua:owners")


def test_one_for_the_event_loop_takes_its_slot_at_once(exchange, redis):
    assert deliver(exchange, redis, exchange.ownership.running, on_loop=True)
    assert [delivery.raw for delivery in exchange.active] == [RAW]
    assert not exchange.ready


def test_one_for_the_event_loop_does_not_take_the_slot_of_another(exchange, redis):
    first = Delivery("default", b"first", exchange.ownership.running)
    exchange.ready.append(first)
    assert deliver(exchange, redis, exchange.ownership.running, on_loop=True)
    assert not exchange.active
    assert [delivery.raw for delivery in exchange.ready] == [b"first", RAW]


def test_in_a_list_of_an_earlier_epoch_it_goes_back(exchange, redis):
    """The old epoch is registered again, so the script alone would let it stay; but there its first run
    here, should it have been recovered from this process, would settle the second."""
    old = exchange.ownership.running
    exchange.renew(exchange.ownership.owner)

    assert not deliver(exchange, redis, old)
    assert not exchange.ready
    assert redis.lrange("queue:default", 0, -1) == [RAW]
    assert not list(redis.scan_iter("lua:running:*"))


def test_what_fails_while_the_server_is_asked_leaves_the_job_to_be_found(exchange, redis):
    def meanwhile():
        raise RedisUnavailable("the next blocking move could not be sent")

    with pytest.raises(RedisUnavailable, match="next blocking move"):
        deliver(exchange, redis, exchange.ownership.running, meanwhile)
    assert not exchange.ready
    assert not exchange.ownership.held

    assert exchange.reconcile() == 1  # on the only connection, which was given back
    assert [delivery.raw for delivery in exchange.ready] == [RAW]


@pytest.fixture
def stale(exchange):
    """A job in hand of a process that others may have taken for dead."""
    exchange.trust(boottime() - 60, 60)
    waiting = Delivery("default", b"fetched before", exchange.ownership.running)
    exchange.ready.append(waiting)
    assert exchange.next_up is None
    assert exchange.begin() is None
    return waiting


def test_after_a_long_silence_a_job_begins_once_a_beat_was_answered(exchange, stale):
    exchange.trust(boottime(), 60)
    assert exchange.begin() is stale


def test_or_once_the_server_has_seen_this_process_registered(exchange, stale):
    exchange.trip()
    assert exchange.begin() is stale


def test_or_once_it_has_admitted_another(exchange, redis, stale):
    assert deliver(exchange, redis, exchange.ownership.running)
    assert exchange.begin() is stale


def test_but_not_by_an_answer_to_what_was_asked_before(exchange, redis, stale, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sidekiq_lua.worker.exchange.boottime", lambda: boottime() - 60)
        exchange.set_out()
    exchange.trip()
    assert exchange.begin() is None


def test_nor_where_this_process_was_reaped(exchange, redis, stale):
    redis.hdel("lua:owners", "host:1:abc:0.0")
    exchange.trip()
    assert exchange.begin() is None
    assert not exchange.ready


# -- in a worker --------------------------------------------------------------------------------


def blocked(redis, queues=1):
    wait_until(lambda: redis.info("clients")["blocked_clients"] == queues)


def processors():
    return sum(thread.name.endswith("/processor") for thread in threading.enumerate())


def test_an_async_job_begins_without_a_thread(make_app, run, redis):
    """One more thread would only hand it on to the event loop, and cost the time of waking it."""
    app = make_app(concurrency=3)
    begun, over = threading.Event(), threading.Event()
    at_begin = []

    class LongJob(app.Job):
        def perform(self):
            begun.set()
            over.wait(10)

    class AsyncJob(app.Job):
        async def perform(self):
            at_begin.append(processors())

    exchange = run(app)._launcher.stations[0].exchange
    blocked(redis)
    LongJob.perform_async()
    assert begun.wait(10)
    blocked(redis)
    wait_until(lambda: monotonic() - exchange.last_answer > ABOUND_S)
    before = processors()
    AsyncJob.perform_async()
    wait_until(lambda: at_begin)
    over.set()
    wait_until(lambda: redis.get("stat:processed") == b"2")

    assert at_begin == [before]


def test_a_job_that_takes_the_last_slot_is_the_last_to_be_waited_for(make_app, run, redis):
    """Another would have to go back to its queue."""
    app = make_app(concurrency=1)
    begun, over = threading.Event(), threading.Event()

    class LongJob(app.Job):
        def perform(self):
            begun.set()
            over.wait(10)

    run(app)
    blocked(redis)
    LongJob.perform_async()
    assert begun.wait(10)
    assert redis.info("clients")["blocked_clients"] == 0
    over.set()
    blocked(redis)


def test_many_async_jobs_at_once_are_not_moved_one_by_one(make_app, run, redis):
    app = make_app(concurrency=100)
    runner = run(app)
    blocked(redis)
    exchange = runner._launcher.stations[0].exchange
    go_on = threading.Event()

    class AsyncJob(app.Job):
        async def perform(self):
            while not go_on.is_set():
                await asyncio.sleep(0.005)

    app.client.push_bulk({"class": AsyncJob, "args": [[]] * 100})
    wait_until(lambda: len(exchange.active) == 100)
    go_on.set()
    wait_until(lambda: redis.get("stat:processed") == b"100")

    assert 0 < exchange._transport.counts.calls["admit"] < 50


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_one_of_a_class_that_was_paused_meanwhile(make_app, run, redis, kind):
    app = make_app()
    ran = []

    class SyncJob(app.Job):
        def perform(self):
            ran.append("sync")

    class AsyncJob(app.Job):
        async def perform(self):
            ran.append("async")

    job_class = {"sync": SyncJob, "async": AsyncJob}[kind]
    name = job_class.__name__
    runner = run(app)
    blocked(redis)
    PausedClass(name, app).pause()
    wait_until(lambda: runner._launcher.branches[0]._paused.names)
    job_class.perform_async()
    wait_until(lambda: redis.llen("queue:default") == 0 and not list(redis.scan_iter("lua:running:*")))
    assert not ran

    PausedClass(name, app).resume()
    wait_until(lambda: ran == [kind])


@pytest.mark.parametrize("error", [ValueError, LookupError])
def test_one_that_cannot_be_parsed(make_app, run, redis, log, error):
    def load(text):
        if b"odd" in text:
            raise error("an odd job")
        return json.loads(text)

    run(make_app(load_json=load))
    blocked(redis)
    redis.lpush("queue:default", b'{"class":"odd"}')
    wait_until(lambda: redis.zcard("dead") == 1)
    wait_until(lambda: not list(redis.scan_iter("lua:running:*")))
    assert "fetcher" not in log.getvalue()


def test_what_breaks_without_a_word_of_redis_loses_no_job(exchange, redis):
    def meanwhile():
        raise LookupError("a mistake of ours")

    with pytest.raises(LookupError):
        deliver(exchange, redis, exchange.ownership.running, meanwhile)
    assert exchange.reconcile() == 1


def test_a_connection_that_ends_while_its_queue_is_paused(app, run, redis, log):
    """Nothing was asked on it, so nothing is lost and there is no outage to speak of."""
    ran = threading.Event()

    class EchoJob(app.Job):
        def perform(self):
            ran.set()

    runner = run(app)
    station = runner._launcher.stations[0]
    waiter = station.waiter
    blocked(redis)
    Queue("default", app).pause()
    EchoJob.perform_async()  # the blocking move takes it, and it goes back
    wait_until(lambda: station.exchange.paused and not waiter._moves[0].armed)
    redis.client_kill_filter(_id=waiter._moves[0].client_id)
    wait_until(lambda: not waiter._heard)
    Queue("default", app).unpause()

    assert ran.wait(10)
    blocked(redis)
    assert "Redis" not in log.getvalue()
