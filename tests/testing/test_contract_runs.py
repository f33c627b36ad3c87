"""What a job meets is the same on a real server, kept in memory, and run at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from both_clients import NOW_MS

Seen = list[Any]


@pytest.fixture
def seen() -> Seen:
    return []


@pytest.fixture(params=["def", "async def"])
def job(world: Any, seen: Seen, request: pytest.FixtureRequest) -> Any:
    if request.param == "def":

        class ThisJob(world.app.Job):
            sidekiq_options = {"queue": "low", "retry": 3}

            def perform(self, *args):
                seen.append([*args, self.jid])

        return ThisJob

    class ThatJob(world.app.Job):
        sidekiq_options = {"queue": "low", "retry": 3}

        async def perform(self, *args):
            await asyncio.sleep(0)
            seen.append([*args, self.jid])

    world.app.config.queues = ["default", "low"]
    return ThatJob


@pytest.fixture(autouse=True)
def queues(world: Any) -> None:
    world.app.config.queues = ["default", "low"]
    world.app.config.concurrency = 1


PUSHES: list[Callable[[Any, Any], Any]] = [
    lambda world, job: world.client.push({"class": job, "args": [1, {"k": [None]}]}),
    lambda world, job: world.client.enqueue(job, 1, {"k": [None]}),
    lambda world, job: world.client.enqueue_to("default", job, 1, {"k": [None]}),
    lambda world, job: job.perform_async(1, {"k": [None]}),
    lambda world, job: job.set(queue="default").perform_async(1, {"k": [None]}),
    lambda world, job: job.perform_in(-5, 1, {"k": [None]}),
    lambda world, job: world.client.push(
        {"class": job.sidekiq_name(), "queue": "low", "args": [1, {"k": [None]}]}
    ),
]


def test_a_job_runs_with_its_arguments_and_its_jid(world: Any, job: Any, seen: Seen) -> None:
    jids = {push(world, job) for push in PUSHES}
    world.settle()
    assert len(jids) == len(PUSHES)
    assert all(args == {"k": [None]} and n == 1 for n, args, _ in seen)
    assert {jid for _, _, jid in seen} == jids
    assert len(seen) == len(jids)
    assert world.pending() == []


def test_a_bulk_runs_in_its_order(world: Any, job: Any, seen: Seen) -> None:
    jids = world.client.push_bulk({"class": job, "args": [[n] for n in range(5)], "batch_size": 2})
    jids += job.perform_bulk([[5]])
    world.settle()
    assert seen == [[n, jid] for n, jid in enumerate(jids)]


def test_the_payload_that_server_middleware_sees(world: Any, job: Any, seen: Seen) -> None:
    payloads: Seen = []

    class Look:
        def call(self, instance, payload, queue, next):
            payloads.append((type(instance), dict(payload), queue))
            return next()

    world.server_middleware.add(Look)
    jid = job.set(tags=["a"]).perform_async(1)
    world.settle()

    expected = {"retry": 3, "queue": "low", "class": job.__name__, "args": [1], "jid": jid, "tags": ["a"]}
    assert payloads == [(job, {**expected, "created_at": NOW_MS, "enqueued_at": NOW_MS}, "low")]
    assert seen == [[1, jid]]


def test_server_middleware_may_replace_the_arguments(world: Any, job: Any, seen: Seen) -> None:
    class Double:
        def call(self, instance, payload, queue, next):
            payload["args"] = [payload["args"][0] * 2]
            return next()

    world.server_middleware.add(Double)
    jid = job.perform_async(2)
    world.settle()
    assert seen == [[4, jid]]


def test_server_middleware_that_declares_it_has_the_settings(world: Any, job: Any, seen: Seen) -> None:
    class Tell:
        config: Any

        def call(self, job, payload, queue, next):
            seen.append(self.config)
            return next()

    world.server_middleware.add(Tell)
    job.perform_async()
    world.settle()
    assert seen[0] is world.app.config


def test_server_middleware_may_stop_a_job(world: Any, job: Any, seen: Seen) -> None:
    class Stop:
        def call(self, instance, payload, queue, next): ...

    world.server_middleware.add(Stop)
    assert job.perform_async(1)
    world.settle()
    assert seen == []
    assert world.pending() == []


def test_client_middleware_changes_and_stops(world: Any, job: Any, seen: Seen) -> None:
    class Odd:
        def call(self, job_class, payload, queue, redis, next):
            assert job_class in (job, job.sidekiq_name())
            payload["args"] = [payload["args"][0] * 10]
            return next() if payload["args"][0] % 20 else None

    world.app.config.client_middleware.add(Odd)
    jids = world.client.push_bulk({"class": job, "args": [[1], [2], [3]]})
    assert world.client.enqueue(job, 4) is None
    world.settle()
    assert [jid is None for jid in jids] == [False, True, False]
    assert seen == [[10, jids[0]], [30, jids[2]]]


def test_a_job_pushes_another(world: Any, job: Any, seen: Seen) -> None:
    class FirstJob(world.app.Job):
        def perform(self, n):
            seen.append(n)
            job.perform_async(n + 1)

    FirstJob.perform_async(1)
    world.settle()
    assert seen[0] == 1
    assert seen[1][0] == 2


def test_arguments_are_what_json_makes_of_them(world: Any, job: Any, seen: Seen) -> None:
    world.app.config.strict_args = "none"
    mine = {"k": [1]}
    jid = job.perform_async((1, 2), {3: 4}, mine)
    mine["k"].append("changed after the push")
    world.settle()
    assert seen == [[[1, 2], {"3": 4}, {"k": [1]}, jid]]


def test_what_a_job_sets_in_a_context_variable_ends_with_it(world: Any, job: Any, seen: Seen) -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="none")

    def enter(name: str) -> None:
        seen.append(tenant.get())
        tenant.set(name)

    if job.is_async:

        class EnterJob(world.app.Job):
            async def perform(self, name):
                enter(name)
    else:

        class EnterJob(world.app.Job):  # type: ignore[no-redef]
            def perform(self, name):
                enter(name)

    world.client.push_bulk({"class": EnterJob, "args": [["a"], ["b"]]})
    world.settle()
    assert seen == ["none", "none"]
    assert tenant.get() == "none"
