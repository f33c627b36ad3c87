"""How much was done on each day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..store.counters import Total

if TYPE_CHECKING:
    from ..app import App

_MOST_DAYS = 5 * 365
_PAGE = 1000


class StatsHistory:
    """Counts of some UTC days up to `start_date` (a date; today without it), the last day first.

    Raises ConfigurationError for fewer days than 1 or more than 1825, which is how long they are kept, and
    RedisError. Keys: `stat:processed:DAY`, `stat:failed:DAY`.
    """

    def __init__(self, app: App, days_previous: int, start_date: date | None = None) -> None:
        if type(days_previous) is not int or not 1 <= days_previous <= _MOST_DAYS:
            raise ConfigurationError(f"days_previous must be from 1 to {_MOST_DAYS}, not {days_previous!r}")
        if isinstance(start_date, datetime):
            start_date = start_date.astimezone(UTC).date()
        start = start_date or date.fromisoformat(app.clock.day())
        self._app = app
        self._days = [(start - timedelta(days=back)).isoformat() for back in range(days_previous)]

    @cached_property
    def processed(self) -> dict[str, int]:
        """Runs that have ended on each day, by YYYY-MM-DD."""
        return self._read("processed")

    @cached_property
    def failed(self) -> dict[str, int]:
        """Runs that have failed on each day, by YYYY-MM-DD."""
        return self._read("failed")

    def _read(self, name: Total) -> dict[str, int]:
        counts: list[int] = []
        for first in range(0, len(self._days), _PAGE):
            part = self._days[first : first + _PAGE]
            some = self._app.transport().run(self._app.store.counters.days(name, part))
            counts += some
        return dict(zip(self._days, counts, strict=True))
