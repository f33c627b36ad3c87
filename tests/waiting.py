"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_INTERVAL_S = 0.005


def real_now_s() -> float:
    """Seconds of a clock that goes on while freezegun holds `time.monotonic` still."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def hurry(redis: Any) -> None:
    """Make every retry due now, as the time would."""
    for raw in redis.zrange("retry", 0, -1):
        redis.zadd("retry", {raw: time.time() - 1}, xx=True)


def wait_until(predicate: Callable[[], T], timeout: float = 20, what: str = "") -> T:
    """Poll `predicate` every 5 ms until it answers something true, and return that.

    Raises AssertionError with `what` and the last answer after `timeout` seconds.
    What the predicate raises goes through.
    """
    pause = threading.Event()
    deadline = real_now_s() + timeout
    while True:
        answer = predicate()
        if answer:
            return answer
        if real_now_s() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or predicate!r} (last answer: {answer!r})")
        pause.wait(_INTERVAL_S)
