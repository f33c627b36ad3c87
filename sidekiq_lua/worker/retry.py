"""What becomes of a job that failed: a pure decision, which the processor and the store carry out."""

from __future__ import annotations

import base64
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from math import isfinite
from numbers import Real
from typing import Any

import ujson

from ..errors import Shutdown
from ..payload import Payload, is_number, seconds

MESSAGE_LIMIT = 10_000
NO_MESSAGE = "!!! ERROR MESSAGE THREW AN ERROR !!!"


@dataclass(frozen=True)
class Retry:
    """To the retry set, due at epoch seconds."""

    payload: Payload
    due: float


@dataclass(frozen=True)
class Exhausted:
    """Out of retries: the exhausted hook, then the dead set, or nothing if `dead` is false."""

    payload: Payload


@dataclass(frozen=True)
class Discard:
    """Stored nowhere; death handlers see it. `ran_out`: retries are off, so the job is not changed."""

    payload: Payload


Outcome = Retry | Exhausted | Discard


@dataclass(frozen=True)
class Policy:
    """What a decision depends on beside the job. `stamp` is now as payloads write it, `now` epoch seconds."""

    max_retries: int
    now: float
    stamp: int | float
    jitter: Callable[[int], int]
    """A whole number of seconds in 0 … limit - 1."""
    retry_in: Callable[[int, BaseException, Payload], Any] | None
    clean: Callable[[list[str]], list[str]]


def decide(payload: Payload, queue: str, error: BaseException, default_retry: Any, policy: Policy) -> Outcome:
    """`payload` is the job as it was fetched, and is changed; `default_retry` is its class's option.

    Raises nothing but what the retry_in hook and the backtrace cleaner raise; callers guard those.
    """
    retry = payload.get("retry")
    if retry is None:
        retry = default_retry
    if retry is False or retry is None:
        return Discard(payload)
    # Left out, it is 25 tries from now on, for whoever moves the job back to its queue adds that.
    payload["retry"] = retry
    limit = retry if type(retry) is int else policy.max_retries
    payload["queue"] = payload.get("retry_queue") or queue
    payload["error_message"] = message_of(error)
    payload["error_class"] = class_name(error)
    count = payload.get("retry_count")
    if type(count) is int:
        count += 1
        payload["retried_at"] = policy.stamp
    else:
        count = 0
        payload["failed_at"] = policy.stamp
    payload["retry_count"] = count
    if payload.get("backtrace"):
        payload["error_backtrace"] = pack(_lines(error, payload["backtrace"], policy.clean))
    if _exhausted(payload, count, limit, policy.now):
        return Exhausted(payload)
    wish = policy.retry_in(count, error, payload) if policy.retry_in else None
    if wish == "discard":
        payload["discarded_at"] = policy.stamp
        return Discard(payload)
    if wish == "kill":
        return Exhausted(payload)
    # Two retries by hand without a failure in between, as of a poison pill, make the count negative.
    return Retry(payload, policy.now + _delay(wish, count) + policy.jitter(10 * (max(count, 0) + 1)))


def _exhausted(payload: Payload, count: int, limit: int, now: float) -> bool:
    """With retry_for the number of retries does not count, as in Sidekiq 8.1."""
    retry_for: Any = payload.get("retry_for")
    if not is_number(retry_for):
        return count >= limit
    first: Any = payload.get("failed_at")
    return is_number(first) and seconds(first) + retry_for < now


def _delay(wish: Any, count: int) -> float:
    asked_s = whole_seconds(wish)
    return asked_s if asked_s is not None and asked_s > 0 else float(count**4 + 15)


def whole_seconds(wish: Any) -> int | None:
    """What a retry_in hook wished, whatever kind of number it is; None for what is no time."""
    if isinstance(wish, timedelta):
        return int(wish.total_seconds())
    is_time = isinstance(wish, Real | Decimal) and not isinstance(wish, bool)
    try:
        return int(wish) if is_time and isfinite(wish) else None
    except (ValueError, OverflowError):  # also of an int that is beyond all floats
        return None


def class_name(error: BaseException) -> str:
    """The error's class as a traceback names it."""
    kind = type(error)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """The error's message, cut, and text whatever it holds."""
    try:
        message = str(error)[:MESSAGE_LIMIT]
    except Exception:
        return NO_MESSAGE
    return message.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def backtrace_of(error: BaseException) -> list[str]:
    """The traceback as Sidekiq writes backtraces, innermost frame first."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno}:in '{frame.name}'" for frame in reversed(frames)]


def _lines(error: BaseException, wanted: Any, clean: Callable[[list[str]], list[str]]) -> list[str]:
    lines = clean(backtrace_of(error))
    return lines if wanted is True or type(wanted) is not int else lines[:wanted]


def pack(lines: list[str]) -> str:
    """A backtrace as `error_backtrace` stores it: JSON, zlib, base64 without line breaks."""
    text = ujson.dumps(lines, ensure_ascii=False, escape_forward_slashes=False)
    return base64.b64encode(zlib.compress(text.encode("utf-8", "replace"))).decode()


def caused_by_shutdown(error: BaseException) -> bool:
    """Whether the error is, or was raised because of, a hard stop of the worker."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        if isinstance(link, Shutdown):
            return True
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return False
