"""The lock of an instance, which no thread holds in a forked child."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType


class Guard:
    """A lock that its holder may take again."""

    def __init__(self) -> None:
        self._begin()
        _GUARDS.add(self)

    def _begin(self) -> None:
        """Also in a child after a fork: the thread of the parent that held it is not there."""
        self._lock = threading.RLock()
        self.configuring = False
        """Whether its holder runs the configure blocks."""

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


_GUARDS: weakref.WeakSet[Guard] = weakref.WeakSet()


def _after_fork() -> None:
    for guard in list(_GUARDS):
        if guard._lock.acquire(blocking=False):
            guard._lock.release()  # nobody's, or of this thread, which will give it back
        else:
            guard._begin()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
