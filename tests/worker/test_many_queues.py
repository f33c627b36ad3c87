"""A capsule of many queues: while jobs abound, a fetch names those that have some."""

import json
import logging

import pytest
from waiting import wait_until

from sidekiq_lua.clock import Clock
from sidekiq_lua.config import Config
from sidekiq_lua.store import Endpoint, Store, Transport
from sidekiq_lua.worker import order as order_module
from sidekiq_lua.worker.exchange import Exchange
from sidekiq_lua.worker.order import LOOK_S, MANY, QueueOrder
from sidekiq_lua.worker.ownership import Ownership
from sidekiq_lua.worker.pace import HISTORY

QUEUES = [f"q{n}" for n in range(MANY + 5)]
HIGH, MIDDLE, LOW = QUEUES[0], QUEUES[7], QUEUES[-1]


@pytest.fixture
def now(monkeypatch):
    """The time that the order of queues goes by; it stands still."""
    times = [100.0]
    monkeypatch.setattr(order_module, "monotonic", lambda: times[0])
    return times


@pytest.fixture
def make(url):
    made = []

    def exchange(queues=QUEUES):
        """One of a single slot that has run short jobs, and the queues that its fetches named."""
        transport = Transport(Endpoint(url))
        config = Config(queues=list(queues))
        ownership = Ownership(Store(), transport, "host:1:abc", 0, list(queues), 1)
        ownership.register()
        order, log = QueueOrder(config.capsules["default"]), logging.getLogger("test")
        mine = Exchange(ownership, transport, order, 1, Clock(), log, made.append)
        for _ in range(HISTORY):
            mine.pace.ran(0.0009)  # so each trip asks for twelve
        named = []
        send = transport.send

        def noted(call):
            if "fetch" in call.script.name:
                named.append([key.partition(":")[2] for key in call.keys if key.startswith("queue:")])
            return send(call)

        transport.send = noted
        return mine, named

    yield exchange
    assert not made, made  # no outage


@pytest.fixture
def fill(redis):
    def push(queue, number, start=0):
        jobs = [
            json.dumps({"class": "NoopJob", "args": [n], "jid": f"{n:024x}"})
            for n in range(start, start + number)
        ]
        redis.lpush(f"queue:{queue}", *jobs)

    return push


def finish(exchange):
    """Run all that are ready."""
    while exchange.ready:
        exchange.done(exchange.begin())


@pytest.fixture
def after_a_trip(make, fill):
    """One that has run what its first trip brought, of so many jobs in the lowest queue."""

    def begun(number):
        fill(LOW, number)
        exchange, named = make()
        exchange.trip()
        finish(exchange)
        return exchange, named

    return begun


def found(exchange):
    return {delivery.queue for delivery in exchange.ready}


def test_a_fetch_names_those_that_had_jobs_just_now_and_all_after_a_moment(make, fill, now):
    fill(LOW, 200)
    exchange, named = make()

    for _ in range(3):
        assert exchange.trip()
        finish(exchange)
    now[0] += LOOK_S
    exchange.trip()

    assert named == [QUEUES, [LOW], [LOW], QUEUES]


def test_few_queues_are_named_each_time(make, fill, now):
    fill(QUEUES[MANY - 1], 100)
    exchange, named = make(QUEUES[:MANY])

    for _ in range(3):
        exchange.trip()
        finish(exchange)

    assert named == [QUEUES[:MANY]] * 3


def test_a_fetch_that_could_have_brought_more_is_followed_by_a_look_into_all(after_a_trip, fill, now):
    exchange, named = after_a_trip(20)
    fill(MIDDLE, 5)

    # Eight of the twelve that were asked for: who has them looks again at once, and not after a moment.
    assert exchange.trip()
    assert found(exchange) == {LOW}
    assert exchange.wants_a_trip
    finish(exchange)
    assert exchange.trip()

    assert found(exchange) == {MIDDLE}
    assert named == [QUEUES, [LOW], QUEUES]


def test_a_fetch_that_finds_nothing_there_any_more_is_followed_by_a_look_into_all(after_a_trip, fill, now):
    exchange, named = after_a_trip(12)
    fill(MIDDLE, 1)

    while exchange.trip():
        pass

    assert found(exchange) == {MIDDLE}
    assert named[:3] == [QUEUES, [LOW], QUEUES]


def test_a_strictly_higher_queue_waits_for_a_moment_at_most(after_a_trip, fill, now):
    exchange, _ = after_a_trip(100)
    fill(HIGH, 1)

    exchange.trip()
    assert found(exchange) == {LOW}
    finish(exchange)
    now[0] += LOOK_S
    exchange.trip()

    assert exchange.ready[0].queue == HIGH


def test_what_came_from_elsewhere_is_acknowledged_with_it(make, fill, now, redis):
    fill(MIDDLE, 3)
    fill(LOW, 100)
    exchange, named = make()
    exchange.trip()
    now[0] += LOOK_S
    finish(exchange)
    exchange.trip()  # all are from LOW now
    finish(exchange)
    assert not redis.llen("lua:running:host:1:abc:0.0:" + MIDDLE)
    fill(MIDDLE, 1, start=1000)
    from_middle = redis.lmove("queue:" + MIDDLE, "lua:running:host:1:abc:0.0:" + MIDDLE, "RIGHT", "LEFT")
    exchange.reconcile()  # takes up the one, and makes a trip
    assert from_middle in [delivery.raw for delivery in exchange.ready]

    finish(exchange)
    exchange.trip()

    assert named[-1] == [MIDDLE, LOW]
    assert not redis.llen("lua:running:host:1:abc:0.0:" + MIDDLE)


def test_a_paused_queue_that_a_fetch_did_not_name_is_known_as_paused_still(after_a_trip, now, redis):
    redis.sadd("paused", MIDDLE)
    exchange, named = after_a_trip(100)
    exchange.trip()

    assert named[-1] == [LOW]
    assert exchange.paused == {MIDDLE}


def test_one_that_is_paused_meanwhile_brings_nothing_more(after_a_trip, now, redis):
    exchange, named = after_a_trip(100)
    redis.sadd("paused", LOW)

    while exchange.trip():
        pass

    assert not exchange.ready
    assert exchange.paused == {LOW}
    assert named[-1] == QUEUES


@pytest.mark.parametrize("weight", [0, 1, 3])
def test_a_worker_of_many_queues_runs_every_job_once(make_app, run, redis, weight):
    app = make_app(concurrency=3, queues=[f"{q},{n % 2 * 2 + 1}" if weight == 3 else f"{q},1" if weight else q
                                          for n, q in enumerate(QUEUES)])  # fmt: skip
    ran = []

    class NoteJob(app.Job):
        def perform(self, number):
            ran.append(number)

    for n, queue in enumerate(QUEUES):
        app.client.push_bulk(
            {"class": NoteJob, "queue": queue, "args": [[n * 1000 + k] for k in range(n * 10)]}
        )
    total = sum(n * 10 for n in range(len(QUEUES)))
    run(app)

    wait_until(lambda: redis.get("stat:processed") == str(total).encode())
    assert sorted(ran) == [n * 1000 + k for n in range(len(QUEUES)) for k in range(n * 10)]
