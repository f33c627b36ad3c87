"""Running one job: its instance, the server middleware and `perform`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextvars import copy_context
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from .clock import monotonic
from .errors import ConfigurationError
from .payload import Payload

if TYPE_CHECKING:
    from .app import App
    from .job import JobBase
    from .middleware import Chain


def make_job(job_class: type[JobBase[Any]], payload: Payload, stopping: Callable[[], bool]) -> JobBase[Any]:
    """An instance of the job class for one run."""
    job = job_class()
    job.jid = payload.get("jid", "")
    job._stopping = stopping
    return job


def call_job(app: App, job: JobBase[Any], payload: Payload, queue: str, chain: Chain | None = None) -> Any:
    """Run a `def perform` through the server middleware, or through `chain`, in this thread."""
    if chain is None:
        chain = app.config.server_middleware
    perform: Callable[..., Any] = job.perform
    if chain:
        # What middleware puts in the place of `args` is what perform gets, as in Sidekiq.
        result = chain.invoke(job, payload, queue, partial(_perform, perform, payload))
    else:
        result = perform(*payload["args"])
    if type(result) is CoroutineType:
        result.close()
        raise ConfigurationError(
            f"{type(job).__qualname__}.perform answered a coroutine, so it did not run: "
            "it, and what decorates it, must be `async def`"
        )
    return result


async def await_job(
    app: App, job: JobBase[Any], payload: Payload, queue: str, chain: Chain | None = None
) -> Any:
    """Run an `async def perform` through the server middleware, or through `chain`, on this event loop."""
    if chain is None:
        chain = app.config.server_middleware
    perform: Callable[..., Coroutine[Any, Any, Any]] = job.perform
    if chain:  # which does not let a coroutine through that nobody awaited
        return await chain.invoke_async(job, payload, queue, partial(_perform, perform, payload))
    result = await perform(*payload["args"])
    if type(result) is CoroutineType:
        result.close()
        raise ConfigurationError(
            f"{type(job).__qualname__}.perform answered a coroutine, so it did not run: await it"
        )
    return result


def _perform(perform: Callable[..., Any], payload: Payload) -> Any:
    """Not a closure: its cells would be made for each job, and looked at by the garbage collector."""
    return perform(*payload["args"])


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
        run_loop(await_job(app, job, payload, payload["queue"]))
    else:
        call_job(app, job, payload, payload["queue"])
    return True if ran else None


def run_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Its result, from an event loop of its own, whether this thread has a running one or not."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(coroutine)
    # This thread has a running loop, which cannot run another: use a thread of its own.
    results: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            results.append(_run(coroutine))
        except BaseException as error:
            failure.append(error)

    # Log context and `via` hold in there as they would on this thread.
    thread = threading.Thread(target=copy_context().run, args=(run,))
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return results[0]


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(coroutine)


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    if isinstance(loop, asyncio.BaseEventLoop):
        # freezegun stops time.monotonic: whoever slept on such a loop would never wake up.
        loop.time = monotonic  # type: ignore[method-assign]
    return loop
