"""Marks of deploys, which the metrics pages draw into their graphs."""

from __future__ import annotations

import calendar
import datetime
import subprocess
import time
from typing import TYPE_CHECKING

from ..client import shared
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..app import App

LABEL_LENGTH = 1000
_DAY_S = 86_400
_GIT_S = 10


class Deploys:
    """Marks deploys and reads the marks; the class does so for the default instance. All raises RedisError.

    Keys: `YYYYMMDD-marks`, `deploylock-LABEL`.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    @shared
    def mark(self, label: str | None = None, at: float | datetime.datetime | None = None) -> bool:
        """Mark a deploy at its minute; without `label`, as `git_label` names it.

        `at` is epoch seconds or an aware datetime, the present without it. True if it was marked; False where
        the same label was marked within 60 seconds (each of many processes may mark), or another one has that
        minute. Raises ConfigurationError for an empty label, one of more than 1000 characters, and a naive
        datetime.
        """
        label = git_label() if label is None else label.encode("utf-8", "replace").decode()
        if not label.strip() or len(label) > LABEL_LENGTH:
            raise ConfigurationError(f"the label of a deploy has 1 to {LABEL_LENGTH} characters")
        if isinstance(at, datetime.datetime):
            if at.tzinfo is None:
                raise ConfigurationError("`at` has no time zone: give datetime.now(UTC), for instance")
            at = at.timestamp()
        stamp = stamp_of(self._app.clock.now() if at is None else at)
        return self._app.transport().run(self._app.store.metrics.mark(stamp, label))

    @shared
    def fetch(self, day: datetime.date | None = None) -> dict[str, str]:
        """The labels of one UTC day by minute (ISO 8601), of today without `day`."""
        name = self._app.clock.day() if day is None else day.isoformat()[:10]
        (marks,) = self._app.transport().run(self._app.store.metrics.marks([name]))
        return dict(sorted(marks.items()))


def marks_between(app: App, starts_at: float, ends_at: float) -> list[tuple[float, str, str]]:
    """(epoch seconds, the minute as ISO 8601, label), in order; at most 60 days. Raises RedisError."""
    days = [
        app.clock.day(day * _DAY_S) for day in range(int(starts_at // _DAY_S), int(ends_at // _DAY_S) + 1)
    ]
    found: list[dict[str, str]] = []
    while len(found) < len(days):
        part = app.transport().run(app.store.metrics.marks(days[len(found) :]))
        found.extend(part)
    timed = [(_seconds(stamp), stamp, label) for marks in found for stamp, label in marks.items()]
    return sorted((at, stamp, label) for at, stamp, label in timed if starts_at <= at <= ends_at)


def stamp_of(at: float) -> str:
    """The minute as the marks name it."""
    return time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(at))


def _seconds(stamp: str) -> float:
    """-1 for a field that is no time of ours or of Ruby's."""
    try:
        return calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return -1.0


def git_label() -> str:
    """The short hash and the subject of the last commit in the current directory.

    Raises ConfigurationError where there is none.
    """
    try:
        done = subprocess.run(
            ["git", "log", "-1", "--format=%h %s"], capture_output=True, text=True, timeout=_GIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError("no git commit is found here: give the deploy a label") from error
    return done.stdout.strip()[:LABEL_LENGTH]
