"""Runs one job: parse, middleware, perform, and what becomes of it.

Nothing in it is a closure: its cells would be made for each job, and looked at by the garbage collector.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context as Variables
from functools import partial
from os import getpid
from typing import TYPE_CHECKING, Any, NamedTuple

from ..clock import monotonic
from ..context import Context, tid
from ..errors import Interrupted, RedisError, Shutdown, UnknownJobClass, UnparsablePayload
from ..execution import await_job, call_job, make_job
from ..job import JobBase
from ..log import JobLogger
from ..middleware import Chain
from ..payload import Payload, crash_key
from .delivery import Delivery
from .exchange import Exchange
from .failure import FailureHandler
from .forked import end_fork
from .iterations import Iterations
from .marks import Marks
from .pausing import PausedClasses
from .profiler import Profiler
from .retry import caused_by_shutdown

if TYPE_CHECKING:
    from ..app import App

JobClass = type[JobBase[Any]]


class Work(NamedTuple):
    """A running job, as the heartbeat shows it. `run_at` is epoch seconds."""

    delivery: Delivery
    payload: Payload
    run_at: float
    thread_id: int | None
    """None for a job on the event loop."""


class Processor:
    """Runs the deliveries of one capsule; `work` holds those under way by thread id."""

    def __init__(
        self, app: App, exchange: Exchange, failures: FailureHandler, job_logger: JobLogger,
        submit: Callable[[Delivery, Payload, JobClass], None], stopping: Callable[[], bool], marks: Marks,
        paused: PausedClasses, chain: Chain,
    ) -> None:  # fmt: skip
        self._app = app
        self._exchange = exchange
        self._ran = exchange.pace.ran
        self._failures = failures
        self._log = job_logger
        self._submit = submit
        self._stopping = stopping
        self._marks = marks
        self._paused = paused
        self._chain = chain
        self._pool = app.pool
        self._profiler = Profiler(app, failures)
        self._iterations = Iterations(app, exchange)
        self._tally = app.tally if app.config.metrics else None
        self._pid = getpid()
        self.work: dict[str, Work] = {}

    def foresee(self, delivery: Delivery) -> None:
        """Parse a job that may not start yet, and tell whether the event loop will run it."""
        try:
            payload = delivery.payload = delivery.payload or self._app.codec.load(delivery.raw)
        except Exception:
            return  # also the application's `load_json`; who runs the job meets it again, and deals with it
        job_class = self._app.registry.find(payload["class"])
        delivery.on_loop = job_class is not None and job_class.is_async

    def process(self, delivery: Delivery) -> None:
        """Run one job in this thread, or hand it to the event loop. Raises Shutdown only."""
        try:
            self._process(delivery)
        except Shutdown:
            raise
        except BaseException as error:
            self._failures.internal(delivery, error)

    def _process(self, delivery: Delivery) -> None:
        try:
            payload = delivery.payload or self._app.codec.load(delivery.raw)
        except UnparsablePayload as error:
            self._failures.unparsable(delivery, error)
            return
        if self._paused.names and self._paused.hold(self._exchange, delivery, payload):
            return
        job_class = self._app.registry.find(payload["class"])
        if job_class is not None and job_class.is_async:
            try:
                self._submit(delivery, payload, job_class)
            except RuntimeError as error:  # no thread is to be had for the event loop
                Variables().run(self._not_begun, delivery, payload, job_class, error)
            return
        # A context of its own: what one job sets, the next does not see.
        Variables().run(self._run, delivery, payload, job_class)

    def _run(self, delivery: Delivery, payload: Payload, job_class: JobClass | None) -> None:
        name = tid()
        if self._pool is not None:
            self._failures.settle_in()
        if payload.get("log_level") is not None:
            self._failures.log_at(payload["log_level"])
        Context.replace(self._log.context_for(payload))
        self._log.start()
        self.work[name] = Work(delivery, payload, self._app.clock.now(), threading.get_ident())
        mark = self._marks.begin(crash_key(payload, delivery.raw))
        began = monotonic()
        job = None
        try:
            if job_class is None:
                self._app.registry.get(payload["class"])
                raise UnknownJobClass(payload["class"])
            job = self._make(job_class, delivery, payload)
            keep_profile = None
            if payload.get("profile"):
                keep_profile = self._profiler.call(
                    payload, partial(call_job, self._app, job, payload, delivery.queue, self._chain)
                )
            else:
                call_job(self._app, job, payload, delivery.queue, self._chain)
        except BaseException as error:
            if getpid() != self._pid:
                end_fork(error)
            self._marks.end(mark)
            del self.work[name]
            self._failed(delivery, payload, job_class, job, error, monotonic() - began)
        else:
            if getpid() != self._pid:
                end_fork(None)
            self._marks.end(mark)
            del self.work[name]
            self._returned(delivery, payload, job, monotonic() - began)
            if keep_profile is not None:
                keep_profile()

    def _not_begun(
        self, delivery: Delivery, payload: Payload, job_class: JobClass, error: BaseException
    ) -> None:
        """It fails like any other, and is tried again when there may be a thread."""
        Context.replace(self._log.context_for(payload))
        self._failed(delivery, payload, job_class, None, error, 0.0)

    def pass_by(self, delivery: Delivery) -> None:
        """It was given back before it had begun."""
        self._exchange.done(delivery)

    def settle(self, delivery: Delivery, outcome: Callable[[], None] | BaseException) -> None:
        """Call what `run_async` answered, or deal with what it raised."""
        try:
            if isinstance(outcome, BaseException):
                raise outcome
            outcome()
        except BaseException as error:
            self._failures.internal(delivery, error)

    async def run_async(
        self, delivery: Delivery, payload: Payload, job_class: JobClass, name: str
    ) -> Callable[[], None] | None:
        """Run an `async def` job on the event loop; what is answered goes to `settle`, where it may block."""
        if self._pool is not None:
            self._failures.settle_in()
        if payload.get("log_level") is not None:
            self._failures.log_at(payload["log_level"])
        Context.replace(self._log.context_for(payload))
        self._log.start()
        self.work[name] = Work(delivery, payload, self._app.clock.now(), None)
        mark = self._marks.begin(crash_key(payload, delivery.raw))
        began = monotonic()
        job = None
        try:
            job = self._make(job_class, delivery, payload)
            keep_profile = None
            if payload.get("profile"):
                keep_profile = await self._profiler.call_async(
                    payload, partial(await_job, self._app, job, payload, delivery.queue, self._chain)
                )
            else:
                await await_job(self._app, job, payload, delivery.queue, self._chain)
        except BaseException as error:
            if getpid() != self._pid:
                end_fork(error)
            self._marks.end(mark)
            del self.work[name]
            elapsed = monotonic() - began
            return partial(self._failed, delivery, payload, job_class, job, error, elapsed)
        if getpid() != self._pid:
            end_fork(None)
        self._marks.end(mark)
        del self.work[name]
        elapsed = monotonic() - began
        if not job_class.is_iterable:
            self._returned(delivery, payload, job, elapsed)
            return keep_profile
        return partial(self._settle_iterable, delivery, payload, job, elapsed, keep_profile)

    def _settle_iterable(
        self,
        delivery: Delivery,
        payload: Payload,
        job: JobBase[Any],
        elapsed: float,
        keep_profile: Callable[[], None] | None,
    ) -> None:
        self._returned(delivery, payload, job, elapsed)
        if keep_profile is not None:
            keep_profile()

    def _make(self, job_class: JobClass, delivery: Delivery, payload: Payload) -> JobBase[Any]:
        job = make_job(job_class, payload, self._stopping)
        if job_class.is_iterable:
            self._iterations.attach(job, delivery, payload)
        return job

    def _returned(self, delivery: Delivery, payload: Payload, job: JobBase[Any], elapsed: float) -> None:
        if job.is_iterable and self._iterations.interrupted(job):
            self._interrupted(delivery, job, elapsed)
            return
        self._ran(elapsed)
        if self._tally is not None:
            self._tally.succeeded(payload, elapsed)
        self._log.done(elapsed)
        if job.is_iterable:
            self._iterations.finish(job, delivery)
        else:
            self._exchange.done(delivery)

    def _interrupted(self, delivery: Delivery, job: JobBase[Any], elapsed: float) -> None:
        self._ran(elapsed)
        self._log.interrupted(elapsed)
        self._iterations.put_back(job, delivery)

    def _failed(
        self,
        delivery: Delivery,
        payload: Payload,
        job_class: JobClass | None,
        job: JobBase[Any] | None,
        error: BaseException,
        elapsed: float,
    ) -> None:
        if isinstance(error, Interrupted) and job is not None and self._iterations.interrupted(job):
            self._interrupted(delivery, job, elapsed)
            return
        self._ran(elapsed)
        if delivery.given_back or (self._stopping() and caused_by_shutdown(error)):
            # The hard stop has put the job back in its queue.
            self._exchange.active.pop(delivery, None)
            self._log.fail(elapsed)
            return
        if self._tally is not None and job_class is not None:
            self._tally.failed(payload)
        self._save_iteration(delivery, job)
        will_retry = False
        try:
            will_retry = self._failures.failed(delivery, job_class, error)
        except BaseException as problem:
            self._failures.internal(delivery, problem)
        self._log.fail(elapsed)
        if payload.get("log_level") is not None:
            self._failures.log_at(None)  # a job that is to be quiet must not fail unseen
        context = {"context": "Job raised exception", "job": payload, "queue": delivery.queue}
        self._failures.report(error, {**context, "will_retry": will_retry})

    def _save_iteration(self, delivery: Delivery, job: JobBase[Any] | None) -> None:
        try:
            self._iterations.failing(job, delivery)
        except RedisError as error:
            self._failures.report(
                error, {"context": "The iteration of a failed job was not saved", "queue": delivery.queue}
            )
