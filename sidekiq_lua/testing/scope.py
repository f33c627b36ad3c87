"""Which mode holds: in this thread and task, else in the whole process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from types import TracebackType
from typing import Self

from ..errors import ConfigurationError


class Mode(StrEnum):
    """What a push does."""

    FAKE = "fake"
    INLINE = "inline"
    DISABLE = "disable"


_local: ContextVar[Setting | None] = ContextVar("testing_mode", default=None)
_lock = threading.Lock()
_process: list[Setting] = []
"""The last one holds. Any may be withdrawn, so that blocks in several threads may end in any order."""
_REMEMBERED = 100


class Setting:
    """A mode that was asked for; in a `with` it holds for this thread and task only, until the block ends."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self._outer: Setting | None = None
        self._entered = False
        self._ended = False

    def __enter__(self) -> Self:
        if self._entered:
            raise ConfigurationError(
                f"write `with Testing.{self.mode}():` each time; this one was used already"
            )
        withdraw(self)
        self._entered = True
        self._outer = _local.get()
        _local.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Tasks and threads that began inside have copies of the variable, which a reset would not reach.
        self._ended = True
        if _local.get() is self:
            _local.set(self._outer)

    def current(self) -> Mode | None:
        """Its mode, or after its end that of the block around it."""
        setting: Setting | None = self
        while setting is not None and setting._ended:
            setting = setting._outer
        return setting.mode if setting is not None else None


def put(setting: Setting) -> None:
    """Let it hold for the whole process."""
    with _lock:
        _process.append(setting)
        del _process[:-_REMEMBERED]


def withdraw(setting: Setting) -> None:
    """Let what held before hold again, as far as this one held for the process."""
    with _lock:
        if setting in _process:
            _process.remove(setting)


@contextmanager
def for_process(mode: Mode) -> Iterator[None]:
    """Let a mode hold for the whole process, and at the end what held before."""
    setting = Setting(mode)
    put(setting)
    try:
        yield
    finally:
        with _lock:
            # What was asked for inside ends with it.
            if setting in _process:
                del _process[_process.index(setting) :]


def current() -> Mode:
    """The mode that holds here and now."""
    local = _local.get()
    mode = local.current() if local is not None else None
    if mode is not None:
        return mode
    with _lock:
        return _process[-1].mode if _process else Mode.DISABLE
