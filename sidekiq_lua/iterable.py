"""Iterable jobs: long work as many short items, which can stop between two of them and go on elsewhere."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from .errors import ConfigurationError, Interrupted
from .iterating import loop, loop_async
from .iterating.run import Aborted, Keeper, Run, seconds_of
from .job import JobBase, P
from .payload import shorten
from .signatures import signature

if TYPE_CHECKING:
    from .app import App


class IterableJobBase(JobBase[P]):
    """Base of iterable job classes: `build_enumerator` says what there is to do, `each_iteration` does one.

    `build_enumerator(self, *args, cursor)` gives pairs of an item and its cursor: JSON from which it can
    begin again **with that item**; `cursor` is None in the first run. `each_iteration(self, item, *args)`
    should be short, and safe to repeat. With `async def each_iteration` all methods may be `async def`.

    The cursor is saved every `state_flush_interval` seconds, when the job fails, and when it is
    interrupted: the worker stops or becomes quiet, or `max_iteration_runtime` is over. Then the job goes
    back to its queue and any process goes on, in Python or Ruby. A killed worker's job repeats what it did
    since the last save. Key: `it-JID`.
    """

    abstract = True
    is_iterable = True
    _entry = "build_enumerator"
    _given = ("cursor",)

    max_iteration_runtime: ClassVar[float | timedelta | None] = None
    """Seconds after which a run makes room for other jobs; None: the setting of that name."""
    state_flush_interval: ClassVar[float | timedelta] = 5.0
    """Seconds between saves; what a killed worker did since the last one is repeated."""

    _run: Run | None = None
    _keeper: Keeper | None = None
    _arguments: tuple[Any, ...] = ()

    if TYPE_CHECKING:

        def build_enumerator(self, *args: Any, **kwargs: Any) -> Any:
            """The pairs (item, cursor) that are left to do from `cursor` on, or None for nothing."""

        def each_iteration(self, *args: Any, **kwargs: Any) -> Any:
            """Do one item: `each_iteration(self, item, *args)`."""

    def __init_subclass__(cls, app: App | None = None, **kwargs: Any) -> None:
        if not cls.is_abstract():
            _check(cls)
            awaits = inspect.iscoroutinefunction(cls.each_iteration)
            cls.perform = loop_async.perform if awaits else loop.perform  # type: ignore[method-assign, assignment]
        super().__init_subclass__(app=app, **kwargs)

    # -- hooks, to be overridden ----------------------------------------------------------

    def on_start(self) -> Any:
        """Runs before the first item of the first run."""

    def on_resume(self) -> Any:
        """Runs before the first item of a later run."""

    def on_stop(self) -> Any:
        """Runs whenever a run ends, interrupted, cancelled or done, but not when it fails."""

    def on_cancel(self) -> Any:
        """Runs when the job is cancelled; `on_stop` and `on_complete` follow."""

    def on_complete(self) -> Any:
        """Runs once everything is done, or the job is cancelled or aborted."""

    def around_iteration(self) -> Any:
        """A context manager around each item: override it with `@contextmanager` and one `yield`."""
        return nullcontext()

    # -- for the job ------------------------------------------------------------------------

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the job."""
        return self._arguments

    @property
    def cursor(self) -> Any:
        """The cursor of the present item; before the first one, where the run goes on from."""
        return self._run.cursor if self._run else None

    @property
    def current_object(self) -> Any:
        """The present item; the hooks after the loop see the last one."""
        return self._run.item if self._run else None

    def cancelled(self) -> bool:
        """Whether this run knows that the job is cancelled."""
        return self._run is not None and self._run.cancelled_at is not None

    def cancel(self) -> None:
        """Do no more items after this one: the job is cancelled, also if this one fails and is retried."""
        if self._run is not None and self._run.cancelled_at is None:
            self._run.cancelled_at = int(self._app.clock.now())
            self._run.wants_save = True

    def interrupt(self, wait: float | timedelta = 0) -> None:
        """Make room after this item; the job goes on after `wait` seconds. Inline it does nothing."""
        seconds = seconds_of(wait, "wait", lambda: 0)
        if seconds == float("inf"):
            raise ConfigurationError("wait is for ever, so the job would never go on: cancel() or abort() it")
        if self._run is not None:
            self._run.asked_s = seconds

    def abort(self) -> NoReturn:
        """End the loop now, as if everything were done; in or around an item, `on_start` or `on_resume`."""
        raise Aborted("abort() ends the loop, and there is none here")

    # -- the run ------------------------------------------------------------------------------

    def _prepare(self, args: tuple[Any, ...]) -> Run:
        limit = seconds_of(
            self.max_iteration_runtime,
            "max_iteration_runtime",
            lambda: self._app.config.max_iteration_runtime,
        )
        flush = seconds_of(self.state_flush_interval, "state_flush_interval", lambda: None)
        self._arguments = args
        self._run = Run(self._app, self._keeper, limit, flush)
        return self._run

    def _skipped(self, run: Run) -> None:
        run.completed = True
        self.logger.info("build_enumerator answered None, there is nothing to do")

    def _cut_short(self, run: Run) -> NoReturn:
        run.interrupted = True
        self.logger.debug("Interrupting job (cursor=%s)", shorten(run.cursor))
        raise Interrupted

    def _completed(self, run: Run) -> None:
        run.completed = True
        self.logger.debug("Completed iteration. executions=%d runtime=%.3f", run.executions, run.runtime_s())

    def _judge(self, elapsed_s: float) -> None:
        limit = float(self._app.config.timeout)
        if elapsed_s > limit:
            self.logger.warning(
                "One iteration took %.2f s; a worker that stops cuts it off after %g s, to be repeated",
                elapsed_s, limit,
            )  # fmt: skip


def _check(cls: type[IterableJobBase[Any]]) -> None:
    """Raises ConfigurationError, naming what is missing."""
    name = cls.__qualname__
    if getattr(cls, "perform", None) not in (None, loop.perform, loop_async.perform):
        raise ConfigurationError(f"{name} is an iterable job: it must not define perform, but each_iteration")
    for method in ("build_enumerator", "each_iteration"):
        if getattr(cls, method, None) is None:
            raise ConfigurationError(f"{name} has no {method} method (or set abstract = True)")
    parameters = signature(cls.build_enumerator).parameters.values()
    if not any(p.name == "cursor" or p.kind is p.VAR_KEYWORD for p in parameters):
        raise ConfigurationError(f"{name}.build_enumerator must take `cursor`: where to go on from, or None")
    if inspect.isasyncgenfunction(cls.each_iteration) or inspect.isgeneratorfunction(cls.each_iteration):
        raise ConfigurationError(f"{name}.each_iteration does one item; it must not contain `yield`")
    awaits = inspect.iscoroutinefunction(cls.each_iteration)
    for hook in ("on_start", "on_resume", "on_stop", "on_cancel", "on_complete"):
        method = getattr(cls, hook)
        if inspect.iscoroutinefunction(method) and not awaits:
            raise ConfigurationError(f"{name}.{hook} is `async def`, so each_iteration must be so too")
        if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
            raise ConfigurationError(f"{name}.{hook} must not contain `yield`: nothing of it would run")
