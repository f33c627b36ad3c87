"""Profiles jobs that ask for it: the setting `profiler`, or pyinstrument's sampler and a profile in Redis."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..clock import monotonic
from ..errors import ConfigurationError, RedisError
from ..payload import Payload, is_number
from ..profiling import Recording, packed
from ..store.profiles import SIZE_LIMIT
from .failure import ErrorReporter

if TYPE_CHECKING:
    from ..app import App

T = TypeVar("T")
Store = Callable[[], None]

INTERVAL_S = 0.001
_SHORTEST_S = 0.0001
_TOKEN_LENGTH = 200
_AWAIT = "[await]\0<await>\x000"
_ELSEWHERE = "[out-of-context]\0<out-of-context>\x000"


class Profiler:
    """Runs a job's `fn` and answers what keeps its profile, to be called once the job is settled.

    Only a job that succeeds leaves a profile, as in Sidekiq. Nothing that is wrong with profiling fails it.
    """

    def __init__(self, app: App, errors: ErrorReporter) -> None:
        self._app = app
        self._errors = errors
        self._lock = threading.Lock()
        self._warned = False

    def call(self, payload: Payload, fn: Callable[[], object]) -> Store | None:
        """Run `fn()` in this thread. Raises what it raises."""
        if self._app.config.profiler is not None:
            ran = Ran(fn)
            try:
                self._app.config.profiler(payload, ran)
            except Exception as error:
                return self._failed(ran, error)
            ran.check()
            return None
        with self._recording(payload, is_async=False) as run:
            fn()
        return run.store

    async def call_async(self, payload: Payload, fn: Callable[[], Awaitable[object]]) -> Store | None:
        """Await `fn()` on this event loop; the setting's profiler may be `async def`, or answer what `fn()`
        answered."""
        if self._app.config.profiler is not None:
            ran = RanAsync(fn)
            try:
                answer = self._app.config.profiler(payload, ran)
                if isinstance(answer, Awaitable):
                    await answer
            except Exception as error:
                return self._failed(ran, error)
            ran.check()
            return None
        with self._recording(payload, is_async=True) as run:
            await fn()
        return run.store

    def _failed(self, ran: Ran, error: Exception) -> Store:
        """The setting's profiler raised: it is told of where the job has run, which must not run again."""
        if not ran.done:
            raise error
        return partial(self._errors.report, error, {"context": "the setting `profiler` failed after its job"})

    @contextmanager
    def _recording(self, payload: Payload, *, is_async: bool) -> Iterator[_Run]:
        run = _Run(self, payload)
        saw = None
        try:
            saw = self._subscribe(run.recording, run.interval_s, is_async=is_async)
        except ImportError:
            self._warn(
                "a job wants a profile, but pyinstrument is missing: pip install 'sidekiq-lua[profile]'"
            )
        except Exception as error:
            self._warn(f"a job cannot be profiled: {error}")
        began = monotonic()
        try:
            yield run
        finally:
            run.elapsed_s = monotonic() - began
            if saw is not None:
                _sampler().unsubscribe(saw)
        if saw is not None:
            run.store = run.keep

    def _subscribe(self, recording: Recording, interval_s: float, *, is_async: bool) -> Callable[..., None]:
        def saw(stack: list[str], elapsed_s: float, state: Any) -> None:
            if state is not None and state.state != "in_context":
                # Other jobs run on this event loop meanwhile; the time is that of our `await`.
                mark = _AWAIT if state.state == "out_of_context_awaited" else _ELSEWHERE
                stack = [*state.info, mark]
            recording.add(stack, elapsed_s)

        _sampler().subscribe(
            saw, desired_interval=interval_s, use_async_context=is_async, use_timing_thread=None
        )
        return saw

    def _warn(self, text: str) -> None:
        with self._lock:
            warned, self._warned = self._warned, True
        if not warned:
            self._app.logger.warning("%s; it runs without", text)

    def keep(self, run: _Run) -> None:
        """Write a profile to Redis. Keys: `profiles`, TOKEN-JID."""
        payload, app = run.payload, self._app
        token, jid = _token(payload["profile"]), str(payload.get("jid", ""))
        type_ = str(payload.get("wrapped") or payload["class"])
        data = packed(
            run.recording, SIZE_LIMIT, name=f"{type_} {jid}", pid=os.getpid(), started_at=run.started_at,
            elapsed_s=run.elapsed_s, interval_s=run.interval_s,
        )  # fmt: skip
        if data is None:
            app.logger.warning("the profile of %s is over %d bytes, it is not kept", jid, SIZE_LIMIT)
            return
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(run.started_at))
        fields: dict[str, str | bytes | int | float] = {
            "started_at": int(run.started_at),
            "token": token,
            "type": type_,
            "jid": jid,
            "filename": f"{token}-{type_}-{jid}-{stamp}.json.gz",
            "elapsed": repr(run.elapsed_s),
            "data": data,
            "size": len(data),
        }
        try:
            app.transport().run(app.store.profiles.store(f"{token}-{jid}", fields, app.clock.now()))
        except RedisError as error:
            self._errors.report(error, {"context": f"the profile of {jid} could not be written"})


class _Run:
    """One profiled run of a job."""

    def __init__(self, profiler: Profiler, payload: Payload) -> None:
        self._profiler = profiler
        self.payload = payload
        self.recording = Recording(skip=_depth())
        self.interval_s = _interval(payload)
        self.started_at = profiler._app.clock.now()
        self.elapsed_s = 0.0
        self.store: Store | None = None

    def keep(self) -> None:
        try:
            self._profiler.keep(self)
        except Exception as error:  # the job is done: what a profile is worth is less than the worker
            self._profiler._errors.report(error, {"context": "a profile could not be kept"})


class Ran:
    """A job's run as the setting `profiler` gets it, which has to call it."""

    def __init__(self, fn: Callable[[], Any]) -> None:
        self._fn = fn
        self.done = False

    def __call__(self) -> Any:
        result = self._fn()
        self.done = True
        return result

    def check(self) -> None:
        """Raises ConfigurationError if the job has not run: it must not count as done."""
        if not self.done:
            raise ConfigurationError("the setting `profiler` did not run the job: it has to call fn()")


class RanAsync(Ran):
    """The same of an `async def` job: fn() answers what has to be awaited."""

    async def __call__(self) -> Any:
        result = await self._fn()
        self.done = True
        return result


def _sampler() -> Any:
    from pyinstrument.stack_sampler import get_stack_sampler

    return get_stack_sampler()


def _depth() -> int:
    """How many frames lie below the job's, and the one that pyinstrument puts there for the thread.

    Called by _Run, in _recording, in the context manager's __enter__, in `call`.
    """
    frame, depth = sys._getframe(4), 0
    while frame is not None:
        depth += 1
        frame = frame.f_back  # type: ignore[assignment]
    return depth + 1


def _interval(payload: Payload) -> float:
    """Seconds; `profiler_options` has `interval` in microseconds, as Sidekiq's profiler does."""
    options = payload.get("profiler_options")
    wanted: Any = options.get("interval") if isinstance(options, dict) else None
    return max(wanted / 1e6, _SHORTEST_S) if is_number(wanted) and wanted > 0 else INTERVAL_S


def _token(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:_TOKEN_LENGTH]
