"""Carries out what was decided for a job that failed, with the user's hooks and handlers around it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, Shutdown, UnparsablePayload, UnserializableArguments
from ..job import JobBase
from ..log import SidekiqLogger
from ..payload import Payload, new_jid, shorten
from ..store.running import Burial
from .delivery import Delivery
from .exchange import Exchange
from .retry import Discard, Exhausted, Policy, Retry, decide, whole_seconds

if TYPE_CHECKING:
    from ..app import App

JobClass = type[JobBase[Any]]

_WISHES = ("discard", "kill", "default")


class ErrorReporter:
    """Tells the error handlers of an error; never raises."""

    def __init__(self, app: App) -> None:
        self._app = app

    def report(self, error: BaseException, context: Mapping[str, Any]) -> None:
        """Call every error handler with (error, context, config)."""
        self.settle_in()
        self._app.handle_exception(error, context)

    def settle_in(self) -> None:
        """What is pushed from here on in this context goes to the server that this is about."""
        if self._app.pool is not None:
            self._app.home.set(self._app.pool)


class FailureHandler(ErrorReporter):
    """Settles jobs that failed, for one capsule."""

    def __init__(self, app: App, exchange: Exchange) -> None:
        super().__init__(app)
        self._exchange = exchange

    def log_at(self, level: Any) -> None:
        """Log at a job's own level for the rest of this contextvars context, if it is one and we can.

        None: at the worker's again.
        """
        logger = self._app.logger
        if isinstance(logger, SidekiqLogger):
            with suppress(ConfigurationError):  # anything may stand in a payload
                logger.set_level_here(level)

    def burial(self) -> Burial:
        """The limits of the dead set, now."""
        config, now = self._app.config, self._app.clock.now()
        return Burial(now, now - config.dead_timeout_in_seconds, config.dead_max_jobs)

    def unparsable(self, delivery: Delivery, error: UnparsablePayload) -> None:
        """What is no job goes to the dead set as it is. It did not run, so nothing is counted."""
        context = {
            "context": "Invalid JSON for job",
            "jobstr": delivery.raw.decode("utf-8", "backslashreplace"),
        }
        call = delivery.running.bury(
            delivery.queue, delivery.raw, delivery.raw, self.burial(), self._app.clock.day(), ran=False
        )
        self._exchange.settle(delivery, call, lambda settled: self.report(error, context))

    def internal(self, delivery: Delivery, error: BaseException) -> None:
        """Something beside the job failed while it was handled: it goes to the dead set as it is."""
        text = delivery.raw.decode("utf-8", "backslashreplace")
        self.report(error, {"context": "Internal exception!", "jobstr": text})
        call = delivery.running.bury(
            delivery.queue, delivery.raw, delivery.raw, self.burial(), self._app.clock.day()
        )
        self._exchange.settle(delivery, call, lambda settled: None)

    def failed(self, delivery: Delivery, job_class: JobClass | None, error: BaseException) -> bool:
        """Decide on a failed run and settle it: retry, bury or drop, with hooks and death handlers.

        Answers whether it will be tried again.

        The decision is taken on the job as it was fetched, so what middleware changed in it is not kept.
        """
        payload = self._app.codec.load(delivery.raw)
        if delivery.jid is not None:
            payload["jid"] = delivery.jid
        elif not payload.get("jid"):
            # A sorted set holds equal texts once: equal jobs that fail in one millisecond would become one.
            payload["jid"] = new_jid()
        hooks = self._hooks(job_class, payload)
        default = hooks.get_sidekiq_options().get("retry", True) if hooks else True
        outcome = decide(payload, delivery.queue, error, default, self._policy(hooks))
        try:
            self._settle(delivery, outcome, hooks, error)
        except UnserializableArguments as problem:
            # Nothing that could be written in its stead: the job stays as it is, in the dead set.
            self.report(problem, {"context": "A failed job could not be written", "queue": delivery.queue})
            self._bury(delivery, payload, delivery.raw, error)
            return False
        return isinstance(outcome, Retry)

    def _hooks(self, job_class: JobClass | None, payload: Payload) -> JobClass | None:
        wrapped = payload.get("wrapped")
        if isinstance(wrapped, str):
            return self._app.registry.find(wrapped)
        return job_class

    def _policy(self, hooks: JobClass | None) -> Policy:
        hook = hooks._retry_in if hooks else None

        def retry_in(count: int, error: BaseException, payload: Payload) -> Any:
            try:
                wish = hook(count, error, payload) if hook else None
                if wish and wish not in _WISHES and whole_seconds(wish) is None:
                    raise TypeError(f"it answered {shorten(wish)}, not seconds, 'discard', 'kill' or None")
                return wish
            except Shutdown:
                raise
            except BaseException as failure:  # also SystemExit: the job is to be tried again
                self.report(failure, {"context": f"retry_in of {hooks} failed, the default delay is taken"})
                return None

        def clean(lines: list[str]) -> list[str]:
            try:
                return list(self._app.config.backtrace_cleaner(lines))
            except Exception as failure:
                self.report(failure, {"context": "the backtrace_cleaner failed, all lines are kept"})
                return lines

        return Policy(
            max_retries=self._app.config.max_retries,
            now=self._app.clock.now(),
            stamp=self._app.stamp.now(),
            jitter=random.randrange,
            retry_in=retry_in,
            clean=clean,
        )

    def _settle(
        self,
        delivery: Delivery,
        outcome: Retry | Exhausted | Discard,
        hooks: JobClass | None,
        error: BaseException,
    ) -> None:
        app = self._app
        match outcome:
            case Retry(payload, due):
                call = delivery.running.retry(
                    delivery.queue, delivery.raw, app.codec.dump(payload), due, app.clock.day()
                )
                self._exchange.settle(delivery, call, lambda settled: None)
            case Exhausted(payload):
                verdict = self._exhausted_hook(hooks, payload, error)
                if payload.get("dead") is False or verdict == "discard":
                    payload["discarded_at"] = app.stamp.now()
                    self._drop(delivery, payload, error)
                else:
                    self._bury(delivery, payload, app.codec.dump(payload), error)
            case Discard(payload):
                self._drop(delivery, payload, error)

    def _exhausted_hook(self, hooks: JobClass | None, payload: Payload, error: BaseException) -> Any:
        hook = hooks._exhausted if hooks else None
        try:
            return hook(payload, error) if hook else None
        except Shutdown:
            raise
        except BaseException as failure:
            self.report(failure, {"context": "Error calling retries_exhausted", "job": payload})
            return None

    def _bury(self, delivery: Delivery, payload: Payload, text: bytes, error: BaseException) -> None:
        self._app.logger.info("Adding dead %s job %s", payload.get("class"), payload.get("jid"))
        call = delivery.running.bury(delivery.queue, delivery.raw, text, self.burial(), self._app.clock.day())
        self._exchange.settle(delivery, call, lambda settled: self.died(payload, error))

    def _drop(self, delivery: Delivery, payload: Payload, error: BaseException) -> None:
        call = delivery.running.drop(delivery.queue, delivery.raw, self._app.clock.day())
        self._exchange.settle(delivery, call, lambda settled: self.died(payload, error))

    def died(self, payload: Payload, error: BaseException) -> None:
        """Call every death handler with (payload, error)."""
        self.settle_in()
        for handler in self._app.config.death_handlers:
            try:
                handler(payload, error)
            except BaseException as failure:  # also SystemExit: the fetcher's thread may be here
                self.report(failure, {"context": "Error calling death handler", "job": payload})
