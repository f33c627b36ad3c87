"""Running one job: its instance, the server middleware and `perform`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextvars import copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError
from .payload import Payload

if TYPE_CHECKING:
    from .app import App
    from .job import JobBase


def make_job(job_class: type[JobBase[Any]], payload: Payload, stopping: Callable[[], bool]) -> JobBase[Any]:
    """An instance of the job class for one run."""
    job = job_class()
    job.jid = payload.get("jid", "")
    job._stopping = stopping
    return job


def call_job(app: App, job: JobBase[Any], payload: Payload, queue: str) -> Any:
    """Run a `def perform` through the server middleware, in this thread."""
    chain = app.config.server_middleware
    perform: Callable[..., Any] = job.perform
    args = payload["args"]
    result = chain.invoke(job, payload, queue, lambda: perform(*args)) if chain else perform(*args)
    if type(result) is CoroutineType:
        result.close()
        raise ConfigurationError(
            f"{type(job).__qualname__}.perform answered a coroutine, so it did not run: "
            "it, and what decorates it, must be `async def`"
        )
    return result


async def await_job(app: App, job: JobBase[Any], payload: Payload, queue: str) -> Any:
    """Run an `async def perform` through the server middleware, on this event loop."""
    chain = app.config.server_middleware
    perform: Callable[..., Coroutine[Any, Any, Any]] = job.perform
    args = payload["args"]
    if not chain:
        return await perform(*args)
    return await chain.invoke_async(job, payload, queue, lambda: perform(*args))


def run_inline(app: App, job_class: type[JobBase[Any]], item: Mapping[str, Any]) -> bool | None:
    """Client middleware, a round trip through JSON, server middleware and perform, in this thread.

    True, or None if a middleware did not go on. An `async def` job runs on an event loop of its own.
    """
    prepared = app.enqueuer.prepare(item, None)
    if prepared is None:
        return None
    payload = app.codec.load(app.codec.dump_new(prepared))
    job = make_job(job_class, payload, lambda: False)
    ran = []
    inner: Callable[..., Any] = job.perform

    def perform(*args: Any) -> Any:
        ran.append(True)
        return inner(*args)

    job.perform = perform  # type: ignore[method-assign]
    if job_class.is_async:
        _run_loop(await_job(app, job, payload, payload["queue"]))
    else:
        call_job(app, job, payload, payload["queue"])
    return True if ran else None


def _run_loop(coroutine: Coroutine[Any, Any, Any]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(coroutine)
        return
    # This thread has a running loop, which cannot run another: use a thread of its own.
    failure: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(coroutine)
        except BaseException as error:
            failure.append(error)

    # Log context and `via` hold in there as they would on this thread.
    thread = threading.Thread(target=copy_context().run, args=(run,))
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
