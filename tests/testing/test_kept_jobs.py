"""Fake mode: looking at the jobs that are kept, running and forgetting them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from both_clients import NOW
from freezegun import freeze_time
from testing_setup import make_app

from sidekiq_lua import Queues, Sidekiq, Testing
from sidekiq_lua.errors import ConfigurationError, UnknownJobClass
from sidekiq_lua.testing import EmptyQueueError

Seen = list[Any]


@pytest.fixture(autouse=True)
def fake() -> None:
    Testing.fake()


@pytest.fixture
def app() -> Sidekiq:
    return make_app("redis://127.0.0.1:1")


@pytest.fixture
def seen() -> Seen:
    return []


@pytest.fixture
def job(app: Sidekiq, seen: Seen) -> Any:
    class OneJob(app.Job):
        def perform(self, n=0):
            seen.append(n)
            if n == "fail":
                raise LookupError("no row")
            return n

    return OneJob


@pytest.fixture
def other(app: Sidekiq, seen: Seen, job: Any) -> Any:
    class OtherJob(app.Job):
        sidekiq_options = {"queue": "low"}

        async def perform(self, n):
            await asyncio.sleep(0)
            seen.append(f"other {n}")
            if n:
                job.perform_async(n - 1)
            return n

    return OtherJob


def test_by_class_by_queue_and_all(app: Sidekiq, job: Any, other: Any) -> None:
    job.perform_async(1)
    other.perform_async(2)
    job.set(queue="low").perform_async(3)
    app.client.enqueue("Ruby::Job", 4)

    def args(payloads: Any) -> Any:
        return [payload["args"][0] for payload in payloads]

    assert args(job.jobs()) == [1, 3]
    assert args(other.jobs()) == [2]
    assert args(Queues["low"]) == [2, 3]
    assert Queues["none"] == []
    assert args(Queues.jobs()) == args(app.Job.jobs()) == [1, 2, 3, 4]
    assert {name: args(jobs) for name, jobs in Queues.jobs_by_class().items()} == {
        "OneJob": [1, 3],
        "OtherJob": [2],
        "Ruby::Job": [4],
    }
    assert {name: args(jobs) for name, jobs in Queues.jobs_by_queue().items()} == {
        "default": [1, 4],
        "low": [2, 3],
    }
    assert (list(Queues), len(Queues), "low" in Queues) == (["default", "low"], 4, True)
    assert repr(Queues) == "<Queues default: 2, low: 2>"


def test_forgetting(job: Any, other: Any) -> None:
    jids = [job.perform_async(n) for n in range(3)]
    other.perform_async(0)
    job.set(queue="low").perform_async(3)
    assert Queues.delete_for(jids[1], "default", job) == 1
    assert Queues.delete_for(jids[1], "default", job) == 0
    assert Queues.clear_for("low", "OneJob") == 1
    assert [payload["jid"] for payload in Queues.jobs()][:2] == [jids[0], jids[2]]
    assert job.clear() == 2
    assert Queues.clear("low") == 1
    job.perform_async()
    assert Testing.clear_all() == 1
    assert Queues.clear_all() == len(Queues) == 0


def test_drain_runs_what_the_jobs_push_too(job: Any, other: Any, seen: Seen) -> None:
    other.perform_async(2)
    other.perform_async(0)
    job.perform_in(3600, 7)
    assert other.drain() == 2
    assert seen == ["other 2", "other 0"]
    assert [payload["args"] for payload in job.jobs()] == [[7], [1]]
    assert job.drain() == 2
    assert seen == ["other 2", "other 0", 7, 1]


def test_drain_all_goes_by_age(job: Any, other: Any, seen: Seen) -> None:
    other.perform_async(5)
    job.perform_async(1)
    assert Testing.drain_all() == 3
    assert seen == ["other 5", 1, 4]


@pytest.mark.parametrize("running_loop", [False, True])
def test_drain_where_a_loop_runs(other: Any, seen: Seen, running_loop: bool) -> None:
    async def main() -> int:
        return int(other.drain())

    other.perform_async(0)
    assert (asyncio.run(main()) if running_loop else other.drain()) == 1
    assert seen == ["other 0"]


def test_an_error_comes_out_and_its_job_is_gone(job: Any, seen: Seen) -> None:
    job.perform_bulk([[1], ["fail"], [3]])
    with pytest.raises(LookupError, match="no row"):
        job.drain()
    assert [payload["args"] for payload in job.jobs()] == [[3]]
    assert job.drain() == 1
    assert seen == [1, "fail", 3]


def test_perform_one_is_the_oldest(job: Any, other: Any, seen: Seen) -> None:
    job.perform_bulk([[1], [2]])
    other.perform_async(0)
    assert (job.perform_one(), other.perform_one(), job.perform_one()) == (1, 0, 2)
    with pytest.raises(EmptyQueueError, match="OneJob has no job"):
        job.perform_one()


def test_process_job_runs_a_payload(job: Any, seen: Seen) -> None:
    class Look:
        def call(self, job, payload, queue, next):
            seen.append((job.jid, queue))
            return next()

    Testing.server_middleware.add(Look)
    Testing.disable()
    assert job.process_job({"class": "OneJob", "args": [5], "jid": "a1", "queue": "low"}) == 5
    assert job.process_job({"class": "OneJob", "args": []}) == 0
    assert seen == [("a1", "low"), 5, ("", "default"), 0]


def test_a_class_that_nobody_knows_is_kept(app: Sidekiq, job: Any) -> None:
    app.client.enqueue("OnJob", 1)
    job.perform_async(1)
    with pytest.raises(UnknownJobClass, match="did you mean 'OneJob'"):
        Testing.drain_all()
    assert len(Queues) == 2
    assert app.Job.drain.__self__ is app.Job


def test_a_name_is_the_class_that_bears_it(app: Sidekiq, seen: Seen) -> None:
    class ChargeJob(app.Job):
        sidekiq_class = "Billing::ChargeJob"

        def perform(self, n):
            seen.append(n)

    app.client.enqueue("Billing::ChargeJob", 1)
    ChargeJob.perform_async(2)
    assert len(ChargeJob.jobs()) == len(Queues.jobs_by_class()["Billing::ChargeJob"]) == 2
    ChargeJob.drain()
    assert seen == [1, 2]


def test_an_abstract_class_stands_for_its_subclasses(app: Sidekiq, job: Any, seen: Seen) -> None:
    class Base(app.Job):
        abstract = True

    class FirstJob(Base):
        def perform(self):
            seen.append("first")

    class SecondJob(FirstJob):
        def perform(self):
            seen.append("second")

    job.perform_async()
    SecondJob.perform_async()
    FirstJob.perform_async()
    app.client.enqueue("Ruby::Job")
    assert (len(Base.jobs()), len(FirstJob.jobs()), len(app.Job.jobs())) == (2, 1, 4)
    assert Base.drain() == 2
    assert seen == ["second", "first"]
    assert app.Job.clear() == 2


def test_two_instances_stay_apart(app: Sidekiq, job: Any, seen: Seen) -> None:
    second = make_app("redis://127.0.0.1:1")

    class OneJob(second.Job):
        def perform(self, n):
            seen.append(f"second {n}")

    job.perform_async(1)
    OneJob.perform_async(2)
    second.client.enqueue("OneJob", 3)
    assert [len(kind.jobs()) for kind in (job, OneJob, app.Job, second.Job)] == [1, 2, 1, 2]
    assert (len(Queues.of(app)), len(Queues.of(second)), len(Queues)) == (1, 2, 3)
    assert Queues.of(second).clear_all() == 2
    OneJob.perform_async(4)
    Testing.drain_all()
    assert seen == [1, "second 4"]


def test_a_class_pushed_by_another_instances_client_is_still_its_own(app: Sidekiq, job: Any) -> None:
    second = make_app("redis://127.0.0.1:1")
    second.client.enqueue(job, 1)
    assert len(job.jobs()) == 1
    assert len(Queues.of(second)) == 1


def test_middleware_of_the_instance_is_not_around_jobs_in_tests(app: Sidekiq, job: Any, seen: Seen) -> None:
    class Real:
        def call(self, job, payload, queue, next):
            raise AssertionError("the real chain")

    app.config.server_middleware.add(Real)
    job.perform_async(1)
    assert job.drain() == 1
    assert len(Testing.server_middleware) == 0


def test_a_job_that_another_thread_took_is_not_run_again(job: Any) -> None:
    job.perform_async()
    taken: list[int] = []

    def wanted(_: Any) -> bool:
        # Between the look and the taking, where another thread might be.
        taken.append(Queues.clear_all())
        return True

    assert Queues.box.take(wanted) is None
    assert taken[0] == 1


def test_many_threads_push_and_drain(job: Any, seen: Seen) -> None:
    ran: list[int] = []

    def push() -> None:
        for n in range(50):
            job.perform_async(n)

    def drain() -> None:
        while len(seen) < 200:
            ran.append(job.drain())

    threads = [threading.Thread(target=push) for _ in range(4)]
    threads += [threading.Thread(target=drain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == sorted([*range(50)] * 4)
    assert sum(ran) == 200


def test_frozen_time_is_in_the_payloads_and_async_jobs_still_sleep() -> None:
    app = Sidekiq(redis="redis://127.0.0.1:1")
    slept: list[bool] = []

    class SleepJob(app.Job):
        async def perform(self):
            await asyncio.sleep(0.001)
            slept.append(True)

    with freeze_time("2026-11-24 02:52:44.438"):
        SleepJob.perform_async()
        SleepJob.perform_in(60)
        now, later = SleepJob.jobs()
        assert (now["created_at"], now["enqueued_at"]) == (1795488764438, 1795488764438)
        assert later["at"] == pytest.approx(1795488824.438)
        SleepJob.drain()
        with Testing.inline():
            SleepJob.perform_async()
            assert SleepJob.perform_inline()
    assert slept == [True] * 4


def test_version_7s_stamps() -> None:
    app = make_app("redis://127.0.0.1:1", payload_format="7")
    app.client.enqueue("A")
    (payload,) = Queues.jobs()
    assert payload["created_at"] == payload["enqueued_at"] == NOW


def test_a_coroutine_that_nobody_awaits_is_an_error(app: Sidekiq) -> None:
    class OddJob(app.Job):
        perform = lambda self: asyncio.sleep(0)  # noqa: E731

    OddJob.perform_async()
    with pytest.raises(ConfigurationError, match="a coroutine"):
        OddJob.drain()
