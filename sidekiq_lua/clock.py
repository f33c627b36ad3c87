"""The only reader of the clock: wall time that tests can freeze, and a monotonic time they cannot."""

from __future__ import annotations

import calendar
import datetime
import time
from collections.abc import Callable
from types import FunctionType

if hasattr(time, "clock_gettime"):

    def monotonic() -> float:
        """Seconds since an arbitrary moment; never set back, and not stopped by freezegun."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

else:
    # freezegun replaces the attributes of modules, not the defaults of functions.
    _real_monotonic = (time.monotonic,)

    def monotonic() -> float:
        """Seconds since an arbitrary moment; never set back, and not stopped by freezegun."""
        return _real_monotonic[0]()


_real_time = (time.time,)
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)
_COURSE_S = 120.0
"""For how long a clock that follows the server's goes by itself."""


def boottime() -> float:
    """As `monotonic`, but it goes on while the machine sleeps, where the system has such a clock."""
    return monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


def _frozen_time() -> float:
    if not str(getattr(time.time, "__module__", "")).startswith("freezegun"):
        return time.time()
    # freezegun's time.time gives real time where a caller up the stack is in `threading` or `queue`,
    # so in every worker thread; its datetime does not look at the stack.
    now = datetime.datetime.utcnow()  # noqa: DTZ003 - its now(UTC) adds a frozen tz_offset
    return calendar.timegm(now.timetuple()) + now.microsecond / 1_000_000


class Clock:
    """Wall time in epoch seconds, shifted by `offset`.

    `offset` is in seconds, 0.0 at first; a worker follows the Redis server's clock, and sets it to what that
    is ahead of this machine's. A frozen clock ignores both.
    """

    __slots__ = ("_course", "_day", "offset")

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset
        self._course = (0.0, 0.0)
        self._day = (-1, "")

    def now(self) -> float:
        """Epoch seconds, with microseconds."""
        read: Callable[[], float] = time.time
        if type(read) is FunctionType:
            return _frozen_time()
        ahead, until = self._course
        if until and (at := boottime()) < until:
            return at + ahead
        return read() + self.offset

    def local(self) -> float:
        """This machine's time, without the offset, and never frozen."""
        read: Callable[[], float] = time.time
        if type(read) is FunctionType:
            return time.clock_gettime(time.CLOCK_REALTIME) if _BOOTTIME is not None else _real_time[0]()
        return read()

    def follow(self, offset: float, local: float, at: float) -> None:
        """Set the offset from `local`, and go on for a while by `boottime`, which was `at` then.

        Nobody sets that one. Else jobs would be due before their time once this machine's clock is put right,
        and the offset is still what it was before.
        """
        self.offset = offset
        if _BOOTTIME is not None:
            self._course = (local + offset - at, at + _COURSE_S)

    def now_ms(self) -> int:
        """Epoch milliseconds, cut off, not rounded."""
        return to_ms(self.now())

    def day(self, now: float | None = None) -> str:
        """The UTC day 'YYYY-MM-DD' of `now` (epoch seconds), of the present without it."""
        number = int((self.now() if now is None else now) // 86_400)
        known, text = self._day
        if number != known:
            text = time.strftime("%Y-%m-%d", time.gmtime(number * 86_400))
            self._day = (number, text)
        return text


def to_ms(seconds: float) -> int:
    """Epoch seconds as whole milliseconds, cut off.

    Rounded to microseconds first: a float of .438 may lie a hair below it, and would give 437.
    """
    return int(seconds * 1_000_000 + 0.5) // 1000


_second = (-1, "")


def iso_ms(now: float) -> str:
    """Epoch seconds as UTC ISO 8601 with milliseconds: '2026-11-24T02:52:44.438Z'."""
    global _second
    ms = to_ms(now)
    second = ms // 1000
    known, text = _second
    if second != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _second = (second, text)
    return f"{text}.{ms % 1000:03}Z"
