"""Queue and the jobs in it, on a real server."""

from __future__ import annotations

from typing import Any

import pytest

import sidekiq_lua
from sidekiq_lua import Queue, Sidekiq
from sidekiq_lua.errors import ConfigurationError, InvalidJob, SignatureMismatch, UnserializableArguments


@pytest.fixture
def filled(app: Sidekiq, redis: Any, raw: Any) -> Queue:
    redis.sadd("queues", "default", "low")
    redis.lpush("queue:default", *(raw(n) for n in range(2500)))
    return Queue(app=app)


def test_the_queue_itself(app: Sidekiq, filled: Queue, redis: Any, raw: Any) -> None:
    assert [queue.name for queue in Queue.all(app)] == ["default", "low"]
    assert (filled.name, filled.id, len(filled), filled.size, filled.latency) == (
        "default",
        "default",
        2500,
        2500,
        0.0,
    )
    redis.rpush("queue:low", raw(1, enqueued_at=1000.0))
    assert Queue("low", app).latency > 1e9
    assert (len(Queue("nowhere", app)), bool(Queue("nowhere", app)), list(Queue("nowhere", app))) == (
        0,
        True,
        [],
    )


def test_jobs_come_newest_first(filled: Queue) -> None:
    assert [job.args for job in filled] == [[n] for n in range(2499, -1, -1)]
    first = next(iter(filled))
    assert (first.queue, first.klass, repr(first)) == ("default", "A", f"<QueuedJob A {2499:024}>")


def test_deleting_while_looking(filled: Queue) -> None:
    deleted = [job.args[0] for job in filled if job.args[0] % 2 and job.delete()]
    assert len(set(deleted)) == len(deleted) == 1250
    assert [job.args[0] for job in filled] == list(range(2498, -1, -2))


def test_find_job(filled: Queue, redis: Any, raw: Any) -> None:
    found = filled.find_job(f"{3:024}")
    assert found is not None
    assert (found.args, found.delete(), found.delete()) == ([3], True, False)
    assert filled.find_job(f"{3:024}") is None
    # A jid that another job only mentions is not its own.
    redis.lpush("queue:default", raw(9000, args=[f"{9001:024}"]))
    assert filled.find_job(f"{9001:024}") is None
    redis.lpush("queue:default", raw(1, jid='a"b*'))
    odd = filled.find_job('a"b*')
    assert odd is not None
    assert odd.args == [1]


def test_filters(app: Sidekiq, redis: Any, raw: Any) -> None:
    queue = Queue(app=app)
    redis.rpush(
        "queue:default",
        raw(1, **{"class": "Billing::Charge"}),
        raw(2, tags=["vip", "é"]),
        raw(3, wrapped="Billing::Charge"),
        raw(4, args=["Billing::Charge vip"]),
        b"Billing::Charge, no JSON",
    )

    class Charge(app.Job):
        sidekiq_class = "Billing::Charge"

        def perform(self) -> None: ...

    def chosen(**conditions: Any) -> list[Any]:
        return [job.args[0] for job in queue.select(**conditions)]

    assert chosen(job_class="Billing::Charge") == chosen(job_class=Charge) == [1, 3]
    assert (chosen(tag="vip"), chosen(tag="é"), chosen(tag="none")) == ([2], [2], [])
    assert chosen(text="no JSON") == ["Billing::Charge, no JSON"]
    assert chosen(text="Charge*vip") == ["Billing::Charge vip"]
    assert chosen(job_class="A", tag="vip") == [2]
    assert len(chosen()) == 5
    for wrong in ({"tag": 5}, {"text": ""}, {"job_class": 7}):
        with pytest.raises(ConfigurationError):
            chosen(**wrong)


def test_editing_arguments(app: Sidekiq, filled: Queue, redis: Any) -> None:
    class A(app.Job):
        def perform(self, n: int) -> None: ...

    job = filled.find_job(f"{7:024}")
    assert job is not None
    assert job.edit_args("é/")
    assert (job.args, redis.lindex("queue:default", -8)) == (["é/"], job.value)
    assert '"args":["é/"],"jid"'.encode() in job.value
    before = redis.lrange("queue:default", 0, -1)
    with pytest.raises(SignatureMismatch):
        job.edit_args(1, 2)
    with pytest.raises(UnserializableArguments):
        job.edit_args({1, 2})
    assert redis.lrange("queue:default", 0, -1) == before
    redis.rpop("queue:default", 8)
    assert (job.edit_args(5), job.args) == (False, ["é/"])


def test_moving_to_another_queue(filled: Queue, redis: Any) -> None:
    job = filled.find_job(f"{7:024}")
    assert job is not None
    assert job.move_to("default")
    assert redis.llen("queue:default") == 2500
    assert job.move_to("other")
    assert (job.queue, job["queue"], redis.lrange("queue:other", 0, -1)) == ("other", "other", [job.value])
    assert (redis.llen("queue:default"), redis.sismember("queues", "other")) == (2499, 1)
    assert job.delete()
    assert not job.move_to("default")
    with pytest.raises(InvalidJob, match="'a b'"):
        job.move_to("a b")


def test_what_is_no_job_is_moved_as_it_is_and_not_edited(app: Sidekiq, redis: Any) -> None:
    redis.rpush("queue:default", b"no JSON")
    (job,) = Queue(app=app)
    with pytest.raises(InvalidJob):
        job.edit_args(1)
    assert job.move_to("low")
    assert redis.lrange("queue:low", 0, -1) == [b"no JSON"]


def test_pause_and_clear(filled: Queue, redis: Any) -> None:
    assert (filled.paused, filled.pause(), filled.pause(), filled.paused) == (False, True, False, True)
    assert (filled.unpause(), filled.resume(), filled.paused) == (True, False, False)
    assert (filled.clear(), filled.clear(), len(filled)) == (2500, 0, 0)
    assert redis.smembers("queues") == {b"low"}


def test_the_default_instance_is_asked_without_an_app(
    url: str, monkeypatch: pytest.MonkeyPatch, redis: Any
) -> None:
    monkeypatch.setattr(sidekiq_lua.sidekiq.config, "redis", {"url": url})
    try:
        redis.sadd("queues", "default")
        redis.lpush("queue:default", b"{}")
        assert [len(queue) for queue in Queue.all()] == [1]
        assert len(Queue()) == 1
    finally:
        sidekiq_lua.sidekiq.close()
