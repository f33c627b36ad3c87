"""What waits, and what is refused, is the same in memory as on a real server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from both_clients import NOW, queued, stored

from sidekiq_lua.errors import (
    ConfigurationError,
    InvalidJob,
    PayloadTooLarge,
    SignatureMismatch,
    UnserializableArguments,
)


@pytest.fixture
def world(keeping_world: Any) -> Any:
    return keeping_world


@pytest.fixture
def job(world: Any) -> Any:
    class KeptJob(world.app.Job):
        sidekiq_options = {"retry": 2, "tags": ["x"]}

        def perform(self, a, b=0): ...

    return KeptJob


def test_jobs_as_they_wait(world: Any, job: Any) -> None:
    jids = [
        world.client.push({"class": job, "args": [1], "custom": {"k": 1}}),
        world.client.enqueue_to("low", job, 2),
        world.client.enqueue("Ruby::OnlyJob", "a"),
        job.set(queue="low", retry=False).perform_async(3),
    ]
    own = {"class": "KeptJob", "retry": 2, "tags": ["x"]}
    assert world.pending() == [
        queued(jids[0], args=[1], custom={"k": 1}, **own),
        queued(jids[2], **{"class": "Ruby::OnlyJob"}, args=["a"]),
        queued(jids[1], args=[2], queue="low", **own),
        queued(jids[3], args=[3], queue="low", **{**own, "retry": False}),
    ]


def test_scheduled_jobs_keep_their_time(world: Any, job: Any) -> None:
    jids = [
        job.perform_in(60, 1),
        job.perform_at(datetime.fromtimestamp(NOW + 120, UTC), 2),
        world.client.enqueue_in(180, job, 3),
        world.client.push({"class": job, "args": [4], "at": NOW + 240}),
        *job.perform_bulk([[5], [6]], at=[300, 360]),
    ]
    own = {"class": "KeptJob", "retry": 2, "tags": ["x"]}
    assert world.pending() == [
        stored(jid, args=[n], at=NOW + 60 * n, **own) for n, jid in enumerate(jids, start=1)
    ]


REFUSED: list[tuple[type[Exception], str, Callable[[Any, Any], Any]]] = [
    (SignatureMismatch, "cannot take 3", lambda world, job: world.client.enqueue(job, 1, 2, 3)),
    (UnserializableArguments, "set", lambda world, job: job.perform_async({1})),
    (PayloadTooLarge, "payload_limit", lambda world, job: job.perform_async("x" * 500)),
    (InvalidJob, "must be a dict", lambda world, job: world.client.push(["class"])),
    (InvalidJob, "must be a dict", lambda world, job: world.client.push_bulk(3)),
    (InvalidJob, "list of lists", lambda world, job: world.client.push_bulk({"class": job, "args": [1]})),
    (InvalidJob, "abstract", lambda world, job: world.client.enqueue(world.app.Job)),
    (InvalidJob, "queue must be", lambda world, job: job.set(queue="a b").perform_async(1)),
    (InvalidJob, "no time zone", lambda world, job: job.perform_at(datetime(2030, 1, 1), 1)),  # noqa: DTZ001
    (ConfigurationError, "no Redis pool", lambda world, job: job.set(pool="none").perform_async(1)),
    (ConfigurationError, "no Redis pool", lambda world, job: job.set(pool="none").perform_bulk([[1]])),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_is_refused_is_not_kept(world: Any, job: Any, number: int) -> None:
    error, message, push = REFUSED[number]
    world.app.config.payload_limit = 400
    with pytest.raises(error, match=message):
        push(world, job)
    assert world.pending() == []


def test_a_slice_of_a_bulk_goes_in_whole_or_not_at_all(world: Any, job: Any) -> None:
    rows = [[n] for n in range(5)] + [[{1}]]
    with pytest.raises(UnserializableArguments) as caught:
        world.client.push_bulk({"class": job, "args": rows, "batch_size": 2})
    assert caught.value.__notes__ == ["4 jobs of this bulk were pushed before"]
    assert [payload["args"] for payload in world.pending()] == [[0], [1], [2], [3]]


def test_a_job_too_large_refuses_its_whole_slice(world: Any, job: Any) -> None:
    world.app.config.payload_limit = 400
    with pytest.raises(PayloadTooLarge):
        world.client.push_bulk({"class": job, "args": [[1], ["x" * 500]]})
    assert world.pending() == []


def test_via_and_pools_route(world: Any, job: Any, server: Any) -> None:
    world.app.config.pools = {"shard-1": {"url": server.url}}
    pools: list[Any] = []

    class Look:
        def call(self, job_class, payload, queue, redis, next):
            pools.append(redis)
            return next()

    world.app.config.client_middleware.add(Look)
    with world.client.via("shard-1"):
        world.client.enqueue(job, 1)
        job.perform_async(2)
    job.set(pool="shard-1").perform_bulk([[3]])
    job.perform_async(4)
    assert pools == ["shard-1", "shard-1", "shard-1", None]
    assert len(world.pending()) == 4
    assert all("pool" not in payload for payload in world.pending())


def test_strict_arguments_may_warn(world: Any, job: Any) -> None:
    world.app.config.strict_args = "warn"
    with pytest.warns(UserWarning, match="tuple"):
        job.perform_async((1,))
    assert [payload["args"] for payload in world.pending()] == [[[1]]]


def test_client_middleware_may_rename_the_class_and_move_the_job(world: Any, job: Any) -> None:
    class OtherJob(world.app.Job):
        def perform(self, a): ...

    class Rename:
        def call(self, job_class, payload, queue, redis, next):
            payload.update({"class": "OtherJob", "queue": "moved"})
            return next()

    world.app.config.client_middleware.add(Rename)
    job.perform_async(1)
    ((payload),) = world.pending()
    assert (payload["class"], payload["queue"]) == ("OtherJob", "moved")
    if world.kind == "fake":
        assert OtherJob.jobs() == [payload]
        assert job.jobs() == []
