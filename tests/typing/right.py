"""Calls that a type checker must accept, as strict as it can be set. It reads this file; nobody runs it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, assert_type

from sidekiq_lua import (
    AsyncClient,
    Capsule,
    Client,
    Config,
    Job,
    JobOptions,
    Queue,
    Queues,
    Sidekiq,
    Testing,
    sidekiq,
)

app = Sidekiq(redis="redis://localhost/1", concurrency=10)


class HardJob(Job[[int, str]]):
    sidekiq_options: ClassVar[JobOptions] = {"queue": "critical", "retry": 5, "tags": ["a"]}
    sidekiq_class = "Billing::HardJob"

    @staticmethod
    def sidekiq_retry_in(count: int, error: BaseException, payload: Mapping[str, Any]) -> int | str | None:
        return "kill" if isinstance(error, KeyError) else 10 * count

    def perform(self, number: int, text: str = "x") -> None:
        self.logger.info("%s %s", self.jid, self.interrupted())


class AsyncJob(Job[[int, str]]):
    sidekiq_options = {"dead": False}

    async def perform(self, number: int, text: str) -> int:
        return number


class EmptyJob(Job[[]]):
    def perform(self) -> None: ...


class Plain(Job):
    def perform(self, number: int, *more: str) -> None: ...


class OursJob(Job[[list[int], dict[str, float] | None]], app=app):
    def perform(self, numbers: list[int], options: dict[str, float] | None) -> None: ...


class Base(Job[[int]]):
    abstract = True


class HeirJob(Base):
    def perform(self, number: int) -> None: ...


assert_type(HardJob.perform_async(1, "a"), str | None)
assert_type(HardJob.jobs(), list[dict[str, Any]])
assert_type(HardJob.drain(), int)
assert_type(Queues["low"], list[dict[str, Any]])
with Testing.fake(), Testing.inline(everywhere=False):
    assert_type(Testing.drain_all(), int)
assert_type(HardJob.perform_in(60, 1, "a"), str | None)
assert_type(HardJob.perform_at(datetime.now(UTC), 1, "a"), str | None)
assert_type(HardJob.perform_in(timedelta(hours=1.5), 1, "a"), str | None)
assert_type(HardJob.perform_bulk([[1, "a"], (2, "b")], at=60, batch_size=10), list[str | None])
assert_type(HardJob.perform_bulk([[1, "a"], [2, "b"]], at=[60, timedelta(1)]), list[str | None])
assert_type(HardJob.perform_inline(1, "a"), bool | None)
assert_type(HardJob.set(queue="low").perform_async(1, "a"), str | bool | None)
assert_type(HardJob.set(wait=60).set(retry=False).perform_in(0.5, 1, "a"), str | bool | None)
assert_type(HardJob.set(retry=0).perform_at(datetime.now(UTC), 1, "a"), str | bool | None)
assert_type(HardJob.set(pool="shard-1").perform_bulk([[1, "a"]]), list[str | None])

AsyncJob.perform_async(1, "a")
EmptyJob.perform_async()
EmptyJob.perform_in(60)
OursJob.perform_async([1], {"a": 1.5})
OursJob.perform_async([1], None)
HeirJob.perform_async(1)

# What says nothing about its arguments takes any.
Plain.perform_async()
Plain.perform_async(1, "a", None)
Plain.perform_in(60, object())
Plain.set(queue="low").perform_async(1, 2, 3)

HardJob.queue_as("low")
HardJob.set_sidekiq_options(retry=3)


@HardJob.retries_exhausted
def gone(payload: Mapping[str, Any], error: BaseException) -> None: ...


@sidekiq.configure_client
def configure(config: Config) -> None:
    config.redis = "redis://localhost"
    config.concurrency = 5


assert_type(Client.push({"class": HardJob, "args": [1, "a"], "at": 1_800_000_000.5}), str | None)
assert_type(Client.push_bulk({"class": "Ruby::Job", "args": [[1]]}), list[str | None])
assert_type(Client.enqueue(HardJob, 1, "a"), str | None)
assert_type(Client().enqueue("Ruby::Job", 1), str | None)
assert_type(app.client.enqueue_to_in("low", 60, HardJob, 1, "a"), str | None)
with Client.via("shard-1"):
    HardJob.perform_async(1, "a")


async def main() -> None:
    async with AsyncClient() as client:
        assert_type(await client.push({"class": HardJob, "args": [1, "a"]}), str | None)
        assert_type(await client.push_bulk({"class": HardJob, "args": [[1, "a"]]}), list[str | None])
        assert_type(await client.enqueue_in(60, HardJob, 1, "a"), str | None)
        assert_type(await client.via("shard-1", lambda: client.enqueue(HardJob, 1, "a")), str | None)
        with client.via("shard-1"):
            await client.enqueue("Ruby::Job")


def takes_any_job(job: type[Job]) -> None:
    app.register_job(job)


takes_any_job(HardJob)
takes_any_job(Plain)


capsule = app.config.capsule("serial", queues=["invoices"], concurrency=1)
assert_type(capsule, Capsule)
capsule.queues = {"invoices": 2, "low": 1}
capsule.concurrency = 2
capsule.server_middleware.remove(HardJob)
assert_type(app.config.capsules["serial"].queues, list[str])
assert_type(Queue("low", app.shard("eu")).size, int)
app.shard("eu").client.enqueue(HardJob, 1, "a")
