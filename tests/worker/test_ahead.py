"""A trip that is under way while jobs run: whatever happens meanwhile, each job is at one place."""

import json
import logging
import sys
import threading

import pytest
from waiting import wait_until

from sidekiq_lua.clock import Clock, boottime, monotonic
from sidekiq_lua.config import Config
from sidekiq_lua.errors import RedisError
from sidekiq_lua.store import Endpoint, Store, Transport, fault
from sidekiq_lua.store.scripts import library
from sidekiq_lua.worker.delivery import Delivery
from sidekiq_lua.worker.exchange import Exchange
from sidekiq_lua.worker.order import QueueOrder
from sidekiq_lua.worker.ownership import Ownership
from sidekiq_lua.worker.pace import HISTORY
from sidekiq_lua.worker.returning import become_quiet, give_back_ready

QUEUE = "queue:default"
LIST = "lua:running:host:1:abc:0.0:default"


def raw(n):
    return json.dumps({"class": "EchoJob", "args": [n], "jid": f"{n:024x}"}).encode()


@pytest.fixture
def exchange(url, redis):
    """One of two threads that has run short jobs, holds some, and has set out for more."""
    transport = Transport(Endpoint(url))
    ownership = Ownership(Store(), transport, "host:1:abc", 0, ["default"], 2)
    ownership.register()
    outages = []
    exchange = Exchange(
        ownership, transport, QueueOrder(Config().capsules["default"]), 2, Clock(), logging.getLogger("test"),
        outages.append,
    )  # fmt: skip
    for _ in range(HISTORY):
        exchange.pace.ran(0.0001)
    redis.script_load(library()["ack_and_fetch"].text)  # else the server would serve it when it is read
    redis.lpush(QUEUE, *(raw(n) for n in range(300)))
    assert exchange.trip()
    for _ in range(60):
        finish(exchange)
    assert len(exchange.ready) <= exchange.low
    exchange.set_out()
    yield exchange
    transport.close()


def finish(exchange):
    exchange.done(exchange.begin())


def run_all(exchange):
    """What a single thread does until nothing is left."""
    ran = []
    while True:
        while exchange.ready:
            ran.append(exchange.ready[0].raw)
            finish(exchange)
        if not exchange.trip() and not exchange.ready:
            return ran


def settled(redis):
    return int(redis.get("stat:processed") or 0)


def test_its_jobs_are_on_their_way(exchange, redis):
    """The server has served it before anybody reads the answer; 42 of 300 are ready, 60 acknowledged."""
    wait_until(lambda: settled(redis) == 60)
    assert len(exchange.ready) == 42
    assert redis.llen(LIST) == 102
    assert exchange.has_news
    assert exchange.wants_a_thread

    assert len(set(run_all(exchange))) == 240
    assert settled(redis) == 300
    assert not redis.exists(QUEUE, LIST)
    assert not exchange.ownership.held


def test_nobody_sets_out_twice(exchange):
    trip = exchange._trip
    exchange.set_out()
    assert exchange._trip is trip


def test_it_counts_as_taken(exchange):
    """2 slots and 100 more: 42 are ready, 60 are on their way."""
    assert exchange.room() == 0


def test_what_a_thread_waits_for_counts_as_taken_too(exchange, redis, monkeypatch):
    """Else the waiter would ask for a job beside it, which would come first and begin after those."""
    run_all(exchange)
    redis.lpush(QUEUE, raw(300))
    rooms = []
    monkeypatch.setattr(fault, "at", lambda stage, name: rooms.append((stage, exchange.room())))
    assert exchange.trip()
    assert rooms == [("before", 0), ("sent", 0), ("after", 0)]


def test_what_is_ready_goes_back_with_what_is_on_its_way(exchange, redis):
    """All threads sit in long jobs. Alone, it would come after those that were fetched after it."""
    give_back_ready(exchange)
    assert redis.lrange(QUEUE, 0, -1)[::-1] == [raw(n) for n in range(60, 300)]
    assert settled(redis) == 60
    assert not redis.exists(LIST)
    assert not exchange.ready
    assert not exchange.has_news


def test_it_does_not_while_somebody_is_on_a_trip(exchange):
    with exchange.lock:
        give_back_ready(exchange)
    assert len(exchange.ready) == 42


def test_the_connection_breaks(exchange, redis):
    """The answer is lost: what it brought is found in the running list, what it told is told again."""
    wait_until(lambda: settled(redis) == 60)
    exchange._trip.sent._connection.disconnect()

    assert not exchange.trip()
    assert exchange.down
    assert exchange.reconcile() == 60

    assert len(set(run_all(exchange))) == 240
    assert settled(redis) == 300
    assert not sum(exchange._transport.counts.fenced.values())
    assert not redis.exists(QUEUE, LIST)


def test_redis_was_away_for_another(exchange, redis):
    """The waiter's connection broke: nobody waits for the answer, which may never come."""
    wait_until(lambda: settled(redis) == 60)
    exchange.fail(RedisError("away"))

    assert exchange.reconcile() == 60

    assert len(set(run_all(exchange))) == 240
    assert settled(redis) == 300
    assert not sum(exchange._transport.counts.fenced.values())
    assert not redis.exists(QUEUE, LIST)


def test_this_process_becomes_quiet(exchange, redis):
    """What is on its way goes back, in its order; what is done counts."""
    become_quiet(exchange)

    assert run_all(exchange) == []

    assert settled(redis) == 60
    assert redis.lrange(QUEUE, 0, -1)[::-1] == [raw(n) for n in range(60, 300)]
    assert not redis.exists(LIST)
    assert not exchange.has_news


def test_a_beat_after_a_long_sleep_wakes_who_may_begin_again(exchange):
    """Until it, none of those that are ready may begin, and all threads rest."""
    woken = []
    exchange.hungry = lambda: woken.append("hungry")
    exchange.alarm = lambda: woken.append("alarm")
    exchange.trust(boottime() - 100, 10)
    assert (exchange.next_up, exchange.begin(), woken) == (None, None, [])

    exchange.trust(boottime(), 10)
    assert woken == ["hungry", "alarm"]
    assert exchange.begin() is not None
    exchange.trust(boottime(), 10)
    assert woken == ["hungry", "alarm"]  # an ordinary beat wakes nobody


def test_this_process_was_taken_for_dead_after_it(exchange, redis):
    """The answer is good, but the jobs in it may have been recovered: they run where they went."""
    wait_until(lambda: settled(redis) == 60)
    exchange.renew(exchange.ownership.owner)

    assert not exchange.ready
    assert redis.llen(QUEUE) == 240
    assert len(set(run_all(exchange))) == 240
    assert settled(redis) == 300


def test_this_process_was_taken_for_dead_before_it(exchange, redis):
    """The trip learns of it; the jobs it told of are acknowledged in the old lists."""
    wait_until(lambda: settled(redis) == 60)
    redis.delete("lua:owners")
    while exchange.ready:
        finish(exchange)
    exchange.trip()  # ends the good one
    exchange.set_out()

    assert len(set(run_all(exchange))) == 198
    assert settled(redis) == 300
    assert not list(redis.scan_iter("lua:running:*"))


# -- a whole worker --------------------------------------------------------------------------------


@pytest.fixture
def jobs(make_app):
    """Jobs that end at once, and one that waits for `gate`."""
    app = make_app(concurrency=2, heartbeat_interval=10, heartbeat_ttl=60)
    app.gate, app.waiting, app.ran = threading.Event(), [], []

    class QuickJob(app.Job):
        def perform(self):
            app.ran.append(self.jid)

    class GateJob(app.Job):
        def perform(self):
            app.waiting.append(self.jid)
            app.gate.wait(20)

    def push(quick, gates, more):
        # Many run times are known by then, so jobs are fetched that have no slot yet.
        for cls, n in ((QuickJob, quick), (GateJob, gates), (QuickJob, more)):
            app.client.push_bulk({"class": cls, "args": [[] for _ in range(n)]})

    app.push = push
    yield app
    app.gate.set()


def test_what_is_ready_behind_long_jobs_goes_back(jobs, run, redis):
    """Both threads sit in long jobs all of a sudden: another process may be free."""
    jobs.push(300, 2, 300)
    run(jobs)
    wait_until(lambda: len(jobs.waiting) == 2)

    # Not 300 for sure: a gate that a blocking move brought and gave back is passed by others.
    wait_until(lambda: redis.llen(QUEUE) == 600 - len(jobs.ran))
    jobs.gate.set()

    wait_until(lambda: settled(redis) == 602)


def test_what_is_ready_behind_a_long_job_runs(jobs, run, redis):
    """One thread did all of it, since jobs were short; the other takes over."""
    jobs.push(300, 1, 300)
    run(jobs)
    wait_until(lambda: jobs.waiting)

    wait_until(lambda: settled(redis) == 600)
    jobs.gate.set()

    wait_until(lambda: settled(redis) == 601)


def test_another_rests_while_nothing_is_sent(exchange, monkeypatch):
    """It left a job to acknowledge, and who holds the lock may begin a long one: the waiter has to know."""
    run_all(exchange)
    rung, depart = [], exchange._depart
    running = [Delivery("default", raw(n), exchange.ownership.running) for n in range(2)]
    exchange.active.update(dict.fromkeys(running))

    def depart_while_one_ends():
        trip = depart()
        assert trip is None
        exchange.done(running[0])
        assert not exchange.trip()
        assert not exchange.wants_a_thread, "so it rests"
        return trip

    monkeypatch.setattr(exchange, "_depart", depart_while_one_ends)
    exchange.alarm = lambda: rung.append(exchange.wants_a_trip)
    exchange.set_out()
    assert rung == [True]


def test_another_has_waited_for_the_lock_and_waits_for_the_gil(exchange):
    """Nobody looks for a trip to make, at full speed and in vain, until the other may run."""
    exchange.lock.acquire()
    held, end = threading.Event(), threading.Event()

    def wait_for_it():
        with exchange.lock:
            held.set()
            end.wait(10)

    waiting = threading.Thread(target=wait_for_it)
    waiting.start()
    interval = sys.getswitchinterval()
    try:
        wait_until(lambda: sys._current_frames()[waiting.ident].f_code is wait_for_it.__code__)
        sys.setswitchinterval(10)
        exchange.lock.release()
        until = monotonic() + 0.02
        while monotonic() < until:
            continue
        assert not held.is_set()
        assert not exchange.trip(), "it has the lock"
        assert not exchange.wants_a_trip
    finally:
        sys.setswitchinterval(interval)
        end.set()
        waiting.join()
