"""Calls on counters and on the schema's version.

Keys: `stat:*`, sizes of the sets, `lua:scripts`, `lua:script_counts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from ..version import SCHEMA_VERSION, __version__
from .calls import Call
from .keys import Keys
from .script_counts import News
from .scripts import library

Total = Literal["processed", "failed"]

COUNT_FIELDS = 2000
"""With more the counts of scripts begin anew: a release has some 150, and one that is gone leaves them."""


class Totals(NamedTuple):
    """The counters and the sizes of the sets."""

    processed: int
    failed: int
    scheduled: int
    retries: int
    dead: int
    processes: int


class Counters:
    """Totals, and which scripts run here."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._stats = library()["stats"].call
        self._reset = library()["reset_stats"].call
        self._strings = library()["read_strings"].call
        self._announce = library()["announce"].call
        self._count = library()["count_scripts"].call
        self._preflight = library()["preflight"].call

    def totals(self) -> Call[Totals]:
        keys = self._keys

        def read(reply: list[Any]) -> Totals:
            return Totals(*map(_number, reply))

        return self._stats(
            processed=keys.processed,
            failed=keys.failed,
            schedule=keys.schedule,
            retry=keys.retry,
            dead=keys.dead,
            processes=keys.processes,
            read=read,
        )

    def reset(self, names: Sequence[Total]) -> Call[int]:
        """Set totals back to 0; answers how many."""
        return self._reset(totals=[getattr(self._keys, name) for name in names])

    def days(self, name: Total, days: Sequence[str]) -> Call[list[int]]:
        """The counts of at most 1000 UTC days, given as YYYY-MM-DD."""
        key = self._keys.processed_on if name == "processed" else self._keys.failed_on
        return self._strings(
            strings=[key(day) for day in days], read=lambda reply: [_number(value or 0) for value in reply]
        )

    def announce(self) -> Call[int]:
        """Write down this version's scripts; answers the schema number that was there before, or 0."""
        entries = [
            part for script in library().values() for part in (script.sha, f"{script.name} {__version__}")
        ]
        return self._announce(scripts=self._keys.scripts, schema=SCHEMA_VERSION, entries=entries)

    def count_scripts(self, news: Sequence[News], now: float) -> Call[str]:
        """Add what one process counted; answers the text of an error that left out a part, or ""."""
        entries: list[str | int] = []
        for name, kind, n in news:
            entries += (f"{library()[name].sha}:{kind}", n)
        return self._count(
            counts=self._keys.script_counts,
            since=repr(now),
            limit=COUNT_FIELDS,
            entries=entries,
            read=lambda reply: reply.decode("utf-8", "replace"),
        )

    def preflight(self, identity: str, lists: Sequence[str]) -> Call[list[tuple[str, str]]]:
        """What this user may not do, or finds in the way: (key, command or wrong type)."""
        keys = self._keys

        def read(reply: list[bytes]) -> list[tuple[str, str]]:
            parts = [part.decode("utf-8", "replace") for part in reply]
            return list(zip(parts[::2], parts[1::2], strict=True))

        return self._preflight(
            queues=keys.queues,
            schedule=keys.schedule,
            retry=keys.retry,
            dead=keys.dead,
            processes=keys.processes,
            owners=keys.owners,
            processed=keys.processed,
            failed=keys.failed,
            process=keys.process(identity),
            signals=keys.signals(identity),
            crashes=keys.crashes("preflight"),
            paused=keys.paused,
            work=keys.work(identity),
            fallen=keys.fallen(identity),
            lists=lists,
            read=read,
        )


def _number(part: bytes | int) -> int:
    """A counter that something foreign has overwritten reads as 0, as it does in Ruby."""
    try:
        return int(part)
    except ValueError:
        return 0
