"""What a run of an iterable job knows: its cursor, its times, and when it has to save or to stop."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from ..clock import monotonic
from ..errors import ConfigurationError, InvalidCursor, RedisError, UnserializableArguments
from ..payload import is_number, shorten
from ..store.iterations import Saved, State
from ..strict import unsafe

if TYPE_CHECKING:
    from ..app import App
    from ..iterable import IterableJobBase

CURSOR_LIMIT = 65_536
"""Bytes of JSON that a cursor may have; it is written every few seconds."""
PATIENCE_S = 1.0
"""How long a run waits before it tries again to reach Redis."""


class Aborted(BaseException):
    """Raised by `abort`, to leave the loop. Not an Exception: an item that catches these would go on."""


class Keeper(Protocol):
    """Where a worker keeps the state of one run. None in answer: Redis is not available, try again."""

    def load(self) -> State | None: ...

    def save(self, state: State) -> Saved | None: ...

    def stopping(self) -> bool:
        """Whether the worker starts no more jobs."""
        ...


class Run:
    """What `perform` knows of its run. Without a keeper it is in memory only, and nobody interrupts it."""

    def __init__(self, app: App, keeper: Keeper | None, limit_s: float, flush_s: float) -> None:
        self._app = app
        self._limit_s = limit_s
        self._flush_s = flush_s
        self._began = self._saved = monotonic()
        self._before_s = 0.0
        self.keeper = keeper
        self.executions = 1
        self.cursor: Any = None
        self.item: Any = None
        self.cancelled_at: int | None = None
        self.wants_save = False
        self.begun = False
        """Whether it has come to its first item."""
        self.progressed = False
        """Whether an item is done: the first one always is, or a run that starts slowly gets nowhere."""
        self.lost = False
        """The job is no longer this process's: it was taken for dead."""
        self.interrupted = False
        self.completed = False
        """Its loop and its hooks came to their end: the job is done, and its state is no longer needed."""
        self.kept = False
        """The state of a run that failed is saved."""
        self.asked_s: float | None = None
        """The job itself asked to be interrupted, for at least so many seconds."""

    def take(self, state: State) -> None:
        """Go on from a state. Raises InvalidCursor."""
        self.executions = state.executions + 1
        self._before_s = state.runtime_s
        self.cancelled_at = state.cancelled_at
        try:
            self.cursor = self._app.codec.load_value(state.cursor)
        except (ValueError, RecursionError) as error:
            raise InvalidCursor(
                f"the cursor in Redis is not JSON: {error}: {shorten(state.cursor)}"
            ) from error

    def advance(self, pair: Any) -> None:
        """Come to the next item and its cursor. Raises ConfigurationError for what is no pair."""
        if type(pair) is not tuple or len(pair) != 2:
            raise ConfigurationError(
                f"build_enumerator must give (item, cursor) pairs, not {shorten(pair)}; "
                "sidekiq_lua.enumerators has some that do"
            )
        self.item, self.cursor = pair
        if not self.begun:
            self.cursor_text()  # a cursor that cannot be saved is told of at once, not after five seconds
            self.begun = True

    @property
    def must_save(self) -> bool:
        return self.wants_save or monotonic() - self._saved >= self._flush_s

    def saved(self, saved: Saved) -> None:
        """Redis has the state, and says whether it is cancelled or no longer ours."""
        self._saved = monotonic()
        self.wants_save = False
        self.lost = self.lost or not saved.held
        if saved.cancelled and self.cancelled_at is None:
            self.cancelled_at = int(self._app.clock.now())

    def keep(self) -> None:
        """Save how far a run came that fails, if Redis is there, before middleware sees its error."""
        if self.keeper is not None and self.begun:
            with suppress(InvalidCursor, RedisError):
                self.kept = self.keeper.save(self.state()) is not None

    @property
    def must_stop(self) -> bool:
        if self.keeper is None:
            return False
        return (
            self.lost
            or self.asked_s is not None
            or self.keeper.stopping()
            or (self.progressed and monotonic() - self._began > self._limit_s)
        )

    def runtime_s(self) -> float:
        """Seconds of all runs together."""
        return self._before_s + monotonic() - self._began

    def state(self) -> State:
        """What has to be saved. Raises InvalidCursor."""
        return State(self.executions, self.cursor_text(), round(self.runtime_s(), 6), self.cancelled_at)

    def cursor_text(self) -> bytes:
        """The cursor as JSON. Raises InvalidCursor."""
        cursor = _plain(self.cursor)
        wrong = unsafe([cursor])
        if wrong:
            raise InvalidCursor(f"a cursor is saved as JSON: {wrong.replace('argument 0', 'the cursor')}")
        try:
            text = self._app.codec.dump_value(cursor)
        except UnserializableArguments as error:
            raise InvalidCursor(f"a cursor is saved as JSON: {error}") from error
        if len(text) > CURSOR_LIMIT:
            raise InvalidCursor(
                f"a cursor is saved every few seconds: {len(text):,} bytes are over {CURSOR_LIMIT:,}; "
                "give the place to go on from, not what was done"
            )
        return text


def _plain(cursor: Any) -> Any:
    """A tuple is the natural cursor of two columns, and comes back as a list."""
    return [_plain(part) for part in cursor] if type(cursor) is tuple else cursor


def seconds_of(value: Any, name: str, default: Callable[[], float | None]) -> float:
    """A limit in seconds, for ever if nobody sets one. Raises ConfigurationError."""
    if value is None:
        value = default()
    if value is None:
        return float("inf")
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if value != float("inf") and (not is_number(value) or value < 0):
        raise ConfigurationError(f"{name} must be seconds or a timedelta, not {value!r}")
    return float(value)


def checked(job: IterableJobBase[Any], pairs: Any) -> Iterator[Any]:
    if not isinstance(pairs, Iterable) or isinstance(pairs, str | bytes | dict):
        if inspect.iscoroutine(pairs):
            pairs.close()
        awaits = isinstance(pairs, AsyncIterable) or inspect.iscoroutine(pairs)
        hint = ", which takes `async def each_iteration`" if awaits else "; see sidekiq_lua.enumerators"
        raise ConfigurationError(
            f"{type(job).__qualname__}.build_enumerator must answer (item, cursor) pairs, "
            f"not {type(pairs).__name__}{hint}"
        )
    return iter(pairs)


def answered(job: IterableJobBase[Any], method: str, result: Any) -> None:
    """Raises ConfigurationError for a coroutine that nobody awaits: it was called, and nothing of it ran."""
    if type(result) is CoroutineType:
        result.close()
        raise ConfigurationError(
            f"{type(job).__qualname__}.{method} answered a coroutine, so it did not run: each_iteration and "
            "what decorates it must be `async def`, and await what they call"
        )
