"""Pausing one job class: workers put its jobs aside, and give them back when it goes on."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from waiting import wait_until

from sidekiq_lua import Formatters, PausedClass, Runner, Sidekiq, SidekiqLogger
from sidekiq_lua.errors import ConfigurationError


@pytest.fixture
def app(url: str) -> Iterator[Sidekiq]:
    app = Sidekiq(
        redis=url,
        heartbeat_interval=0.1,
        heartbeat_ttl=2,
        recovery_interval=0.1,
        concurrency=2,
        queues=["default", "low"],
        logger=SidekiqLogger(io.StringIO(), Formatters.Plain()),
    )
    yield app
    app.close()


@pytest.fixture
def ran(app: Sidekiq) -> list[Any]:
    """What ran, in order; the classes `Charge` and `Other` belong to `app`."""
    done: list[Any] = []

    class Charge(app.Job):
        def perform(self, n: int) -> None:
            done.append(("charge", n))

    class Slow(app.Job):
        async def perform(self, n: int) -> None:
            done.append(("slow", n))

    class Other(app.Job):
        def perform(self, n: int) -> None:
            done.append(("other", n))

    return done


@pytest.fixture
def start(app: Sidekiq) -> Iterator[Any]:
    runners: list[Runner] = []

    def run() -> Runner:
        runners.append(app.run())
        return runners[-1]

    yield run
    for runner in runners:
        runner.stop()


def push(app: Sidekiq, name: str, *numbers: int, queue: str = "default") -> None:
    for n in numbers:
        app.client.push({"class": name, "args": [n], "queue": queue})


def test_its_jobs_are_put_aside_and_come_back_in_order(
    app: Sidekiq, ran: list[Any], start: Any, redis: Any
) -> None:
    charge = PausedClass("Charge", app)
    assert (charge.pause(), charge.pause(), charge.paused, PausedClass.all(app)[0].name) == (
        *(True, False),
        *(True, "Charge"),
    )
    push(app, "Charge", 1, 2, queue="low")
    push(app, "Charge", 3, 4, 5)
    push(app, "Other", 6)
    before = sorted(redis.lrange("queue:default", 0, -1) + redis.lrange("queue:low", 0, -1))
    runner = start()

    wait_until(lambda: len(charge) == 5, 10, "the jobs to be put aside")
    wait_until(lambda: ran == [("other", 6)], 10, "the other job to run")
    assert sorted(job.args[0] for job in charge) == [1, 2, 3, 4, 5]
    assert {job.queue for job in charge} == {"default", "low"}
    texts = {job.value for job in charge}
    # As threads came, the newest first.
    aside = [job.value for job in charge if job.queue == "default"]
    assert texts < set(before)
    runner.stop()
    assert int(redis.get("stat:processed")) == 1

    assert charge.resume() == 5
    assert (charge.paused, len(charge), PausedClass.all(app)) == (False, 0, [])
    back = redis.lrange("queue:default", 0, -1)
    assert {*back, *redis.lrange("queue:low", 0, -1)} == texts
    assert back == aside

    start()
    wait_until(lambda: len(ran) == 6, 10, "the jobs to run")
    assert sorted(ran) == [*(("charge", n) for n in range(1, 6)), ("other", 6)]


def test_a_worker_learns_of_it_while_it_runs(app: Sidekiq, ran: list[Any], start: Any) -> None:
    start()
    push(app, "Slow", 1)
    wait_until(lambda: ran == [("slow", 1)], 10, "the job to run")
    slow = PausedClass("Slow", app)
    slow.pause()
    numbers = iter(range(2, 1000))

    def put_aside() -> bool:
        push(app, "Slow", next(numbers))
        return len(slow) > 0

    wait_until(put_aside, 10, "a job to be put aside")
    slow.resume()  # the worker's own sweep may return some of them first

    # Whatever was put aside or not, all of them run once, without another word.
    pushed = next(numbers) - 1
    wait_until(lambda: len(ran) == pushed, 10, "all jobs to run")
    assert sorted(n for _, n in ran) == list(range(1, pushed + 1))


def test_workers_end_a_release_that_was_cut_off(app: Sidekiq, ran: list[Any], start: Any, redis: Any) -> None:
    charge = PausedClass("Charge", app)
    charge.pause()
    push(app, "Charge", *range(3))
    runner = start()
    wait_until(lambda: len(charge) == 3, 10, "the jobs to be put aside")
    runner.stop()
    app.transport().run(app.store.holding.resume("Charge"))  # and here its process dies
    assert (PausedClass.all(app)[0].name, charge.paused) == ("Charge", False)

    start()

    wait_until(lambda: len(ran) == 3, 10, "the jobs to run")
    wait_until(lambda: PausedClass.all(app) == [], 10, "the class to be forgotten")


def test_held_jobs_can_be_deleted(app: Sidekiq, redis: Any, raw: Any) -> None:
    redis.lpush("lua:held:A", *(b"low\n" + raw(n) for n in range(250)))
    held = PausedClass("A", app)
    jobs = list(held)
    assert ([job.args[0] for job in jobs], jobs[0].queue) == (list(range(249, -1, -1)), "low")
    assert (jobs[7].delete(), jobs[7].delete(), len(held), bool(held)) == (True, False, 249, True)


def test_what_an_active_job_wraps_is_its_class(app: Sidekiq, ran: list[Any], start: Any) -> None:
    PausedClass("Wrapped", app).pause()
    app.client.push({"class": "Charge", "wrapped": "Wrapped", "args": [1]})
    app.client.push({"class": "Charge", "wrapped": [{}], "args": [2]})
    start()
    wait_until(lambda: len(PausedClass("Wrapped", app)) == 1, 10, "the job to be put aside")
    wait_until(lambda: ran == [("charge", 2)], 10, "the other job to run")


def test_a_class_or_its_name(app: Sidekiq) -> None:
    class Mine(app.Job):
        sidekiq_class = "A::Mine"

        def perform(self) -> None: ...

    assert PausedClass(Mine, app).name == "A::Mine"
    for wrong in (5, "", None, object):
        with pytest.raises(ConfigurationError):
            PausedClass(wrong, app)  # type: ignore[arg-type]


def test_deleting_while_iterating_misses_none(app: Sidekiq, redis: Any) -> None:
    item = b"default\n" + json.dumps({"class": "Charge", "args": [1], "jid": "a" * 24}).encode()
    redis.lpush("lua:held:Charge", *[item.replace(b"[1]", b"[%d]" % n) for n in range(1500)])

    assert sum(job.delete() for job in PausedClass("Charge", app)) == 1500
    assert not redis.exists("lua:held:Charge")
