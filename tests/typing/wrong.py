"""Calls that a type checker must refuse: each line says with which code, and no other line may be refused."""

from __future__ import annotations

from sidekiq_lua import AsyncClient, Client, Job, Sidekiq

app = Sidekiq()


class HardJob(Job[[int, str]]):
    def perform(self, number: int, text: str) -> None: ...


class EmptyJob(Job[[]]):
    async def perform(self) -> None: ...


HardJob.perform_async("a", 1)  # error: arg-type arg-type
HardJob.perform_async(1)  # error: call-arg
HardJob.perform_async(1, "a", 2)  # error: call-arg
HardJob.perform_async(number=1, text="a")  # error: call-arg call-arg
HardJob.perform_async((1, 2), "a")  # error: arg-type

HardJob.perform_in(60, "a", 1)  # error: arg-type arg-type
HardJob.perform_in(60, 1)  # error: call-arg
HardJob.perform_in("60", 1, "a")  # error: arg-type
HardJob.perform_in(1, "a")  # error: call-arg arg-type
HardJob.perform_at(None, 1, "a")  # error: arg-type

HardJob.perform_inline("a", "b")  # error: arg-type
HardJob.perform_bulk([1, 2])  # error: list-item list-item
HardJob.perform_bulk([[1, "a"]], at="60")  # error: arg-type
HardJob.perform_bulk([[1, "a"]], size=5)  # error: call-arg

HardJob.set(queue="low").perform_async("a", 1)  # error: arg-type arg-type
HardJob.set(queue="low").perform_in(60, 1)  # error: call-arg
HardJob.set(queue="low").set(retry=1).perform_inline(1, 2)  # error: arg-type
jid: str = HardJob.perform_async(1, "a")  # error: assignment

EmptyJob.perform_async(1)  # error: call-arg
EmptyJob.perform_in()  # error: call-arg


class OtherJob(Job[[int, str]]):
    def perform(self, number: int) -> None: ...  # error: override


class OptionsJob(Job):
    sidekiq_options = {"queu": "low", "retry": "5"}  # error: typeddict-unknown-key typeddict-item

    def perform(self) -> None: ...


@HardJob.retry_in  # error: type-var
def soon(count: int) -> int:
    return count


Client.push("HardJob")  # error: arg-type
Client.enqueue(HardJob.perform_async)  # error: arg-type
Client.enqueue_in("60", HardJob)  # error: arg-type
AsyncClient().via(5)  # error: call-overload
app.register_job(5)  # error: type-var
app.config.capsule("serial").concurrency = "2"  # error: assignment
