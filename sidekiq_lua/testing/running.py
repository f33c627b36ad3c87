"""Running a job in a test: through JSON, inside the tests' own middleware, then `perform`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ..errors import EmptyQueueError
from ..execution import await_job, call_job, make_job, run_loop
from ..middleware import Chain
from ..payload import Payload
from .queues import JobClass, Kept, Queues, of_class

if TYPE_CHECKING:
    from ..app import App

Wanted = Callable[[Kept], bool]

server_middleware = Chain(kind="server")
_box = Queues.box


def any_job(_: Kept) -> bool:
    return True


def stored(app: App, payload: Payload) -> Payload:
    """The payload as it would come out of Redis, with `at` where it is scheduled, else with `enqueued_at`.

    Raises PayloadTooLarge and UnserializableArguments.
    """
    scheduled = "at" in payload
    whole = {name: value for name, value in payload.items() if name != "enqueued_at"}
    if scheduled:
        at = float(whole.pop("at"))
    else:
        whole["enqueued_at"] = app.stamp.now()
    read = app.codec.load(app.codec.dump_new(whole))
    return {**read, "at": at} if scheduled else read


def due(app: App, payload: Payload) -> Payload:
    """A scheduled payload as its queue gets it when its time has come."""
    if "at" not in payload:
        return payload
    rest = {name: value for name, value in payload.items() if name != "at"}
    return {**rest, "enqueued_at": app.stamp.now()}


def run(app: App, job_class: JobClass, payload: Payload) -> Any:
    """What it sets in context variables ends with it, as on a worker, or it would be there in later tests."""
    job = make_job(job_class, payload, lambda: False)
    queue, chain = payload.get("queue", "default"), _chain(app)
    if job_class.is_async:
        return run_loop(await_job(app, job, payload, queue, chain))
    return copy_context().run(call_job, app, job, payload, queue, chain)


async def run_async(app: App, job_class: JobClass, payload: Payload) -> Any:
    if not job_class.is_async:
        return run(app, job_class, payload)
    job = make_job(job_class, payload, lambda: False)
    coroutine = await_job(app, job, payload, payload.get("queue", "default"), _chain(app))
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return await coroutine  # another kind of loop, such as trio's
    return await loop.create_task(coroutine)


def _chain(app: App) -> Chain:
    """The tests' middleware; what declares `config` is given that of the job's instance, as on a worker."""
    return server_middleware.copy(app.config) if server_middleware else server_middleware


def run_kept(job: Kept) -> Any:
    return run(job.app, job.job_class(), due(job.app, job.payload))


async def run_kept_async(job: Kept) -> Any:
    return await run_async(job.app, job.job_class(), due(job.app, job.payload))


def drain(wanted: Wanted) -> int:
    """Run what is wanted until none is left; answers how many ran."""
    count = 0
    while job := _box.take(wanted):
        run_kept(job)
        count += 1
    return count


async def drain_async(wanted: Wanted) -> int:
    count = 0
    while job := _box.take(wanted):
        await run_kept_async(job)
        count += 1
    return count


def _one(job_class: JobClass) -> Kept:
    job = _box.take(of_class(job_class))
    if job is None:
        raise EmptyQueueError(f"{job_class.__qualname__} has no job to perform")
    return job


class Runs:
    """What stands behind the class methods of `Faked`."""

    def jobs(self, job_class: JobClass) -> list[Payload]:
        return [job.payload for job in _box.find(of_class(job_class))]

    def clear(self, job_class: JobClass) -> int:
        return _box.remove(of_class(job_class))

    def drain(self, job_class: JobClass) -> int:
        return drain(of_class(job_class))

    async def drain_async(self, job_class: JobClass) -> int:
        return await drain_async(of_class(job_class))

    def perform_one(self, job_class: JobClass) -> Any:
        return run_kept(_one(job_class))

    async def perform_one_async(self, job_class: JobClass) -> Any:
        return await run_kept_async(_one(job_class))

    def process(self, job_class: JobClass, payload: Payload) -> Any:
        return run(job_class._app, job_class, payload)

    async def process_async(self, job_class: JobClass, payload: Payload) -> Any:
        return await run_async(job_class._app, job_class, payload)
