"""When a job is due: seconds, a timedelta or a datetime, as epoch seconds."""

from __future__ import annotations

from datetime import datetime, timedelta

from .errors import InvalidJob
from .payload import is_number

When = int | float | timedelta | datetime
"""Seconds from now (epoch seconds from 1,000,000,000 on), a timedelta, or an aware datetime."""

_EPOCH_FROM = 1_000_000_000


def due(when: When, now: float) -> float | None:
    """Epoch seconds, or None if that is not in the future. Raises InvalidJob for anything else."""
    at = absolute(when, now)
    return at if at > now else None


def absolute(when: When, now: float) -> float:
    """Epoch seconds. Raises InvalidJob for a naive datetime and for what is no time."""
    if isinstance(when, timedelta):
        return now + when.total_seconds()
    if isinstance(when, datetime):
        if when.utcoffset() is None:
            raise InvalidJob(
                f"{when!r} has no time zone: use datetime.now(timezone.utc) or .replace(tzinfo=…)"
            )
        return when.timestamp()
    if not is_number(when):
        raise InvalidJob(f"a time must be seconds, a timedelta or a datetime, not {when!r}")
    return now + when if when < _EPOCH_FROM else float(when)
