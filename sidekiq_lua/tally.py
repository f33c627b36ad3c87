"""Counts what this process ran, by class: how often, how often in vain, how long.

A thread writes to rows of its own, so that no job waits for a lock. Rows only grow; what is new is the
difference to what was taken before. So nothing is lost between a thread that counts and one that takes.
"""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

BOUNDS_MS = (
    *(20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1100, 1700, 2500, 3800, 5750, 8500, 13000, 20000),
    *(30000, 45000, 65000, 100000, 150000, 225000, 335000),
)
"""Sidekiq's buckets: the first holds what took less than 20 ms, and one more what took 335 s or longer."""
BUCKETS = len(BOUNDS_MS) + 1
CLASSES = 50
"""The most classes that one batch has."""
_NAMES = 1000
_NAME_LENGTH = 200
_BOUNDS_S = [bound / 1000 for bound in BOUNDS_MS]
_SECONDS, _FAILED, _FIRST = 0, 1, 2
_EMPTY = (0.0, *[0] * (BUCKETS + 1))

Row = list[Any]
"""Seconds of the runs that succeeded, number of failed runs, number of others in each bucket."""


def empty_row() -> Row:
    """The row of a class that has not run."""
    return list(_EMPTY)


class Count(NamedTuple):
    """What a class ran: `runs` are all, `failed` those of them that raised; `ms` is of the others."""

    name: str
    runs: int
    failed: int
    ms: int
    buckets: dict[int, int]


class Batch(NamedTuple):
    """What ran since the last one, of at most CLASSES classes. `at` is epoch seconds."""

    number: int
    at: float
    counts: list[Count]


class Tally:
    """One process's counts. Any thread may count; one at a time may take a batch."""

    def __init__(self) -> None:
        self._begin()
        _TALLIES.add(self)

    def _begin(self) -> None:
        self.token = secrets.token_hex(8)
        """Names this tally in Redis, where the number of its last batch stands."""
        self._mine = threading.local()
        self._tables: list[dict[str, Row]] = []
        self._taken: dict[str, Row] = {}
        self._number = 0
        self._pending: Batch | None = None

    def succeeded(self, payload: Mapping[str, Any], elapsed_s: float) -> None:
        """Count a run that took so many seconds."""
        try:
            row = self._mine.rows[payload.get("wrapped") or payload["class"]]
        except (AttributeError, KeyError, TypeError):
            row = self._row(payload)
        row[_SECONDS] += elapsed_s
        row[_FIRST + bisect_right(_BOUNDS_S, elapsed_s)] += 1

    def failed(self, payload: Mapping[str, Any]) -> None:
        """Count a run that raised. As in Sidekiq its time is not kept: it says little of the job."""
        self._row(payload)[_FAILED] += 1

    def _row(self, payload: Mapping[str, Any]) -> Row:
        rows: dict[str, Row] | None = getattr(self._mine, "rows", None)
        if rows is None:
            rows = self._mine.rows = {}
            self._tables.append(rows)
        name = payload.get("wrapped") or payload["class"]
        if not isinstance(name, str) or (
            name not in rows and (len(name) > _NAME_LENGTH or len(rows) >= _NAMES)
        ):
            # Any text may stand in `wrapped`; a class that ran is one of this process's own.
            name = payload["class"]
        row = rows.get(name)
        if row is None:
            row = rows[name] = empty_row()
        return row

    def totals(self) -> dict[str, Row]:
        """All that was counted since the start, by class."""
        return merged(table.copy() for table in list(self._tables))

    def include(self, totals: Mapping[str, Row]) -> None:
        """Add what other processes have counted."""
        self._tables.append({name: [*row] for name, row in totals.items()})

    # -- for Redis ----------------------------------------------------------------------

    def batch(self, now: float) -> Batch | None:
        """What is new, as of epoch seconds `now`; the same batch until it is settled or refused."""
        if self._pending is None:
            counts = []
            for name, row in self.totals().items():
                count = _difference(name, row, self._taken.get(name, _EMPTY))
                if count is not None:
                    counts.append(count)
                    if len(counts) == CLASSES:
                        break
            if counts:
                self._number += 1
                self._pending = Batch(self._number, now, counts)
        return self._pending

    def settle(self, batch: Batch) -> None:
        """The batch is in Redis."""
        for count in batch.counts:
            row = self._taken.setdefault(count.name, [0, *_EMPTY[1:]])
            row[_SECONDS] += count.ms
            row[_FAILED] += count.failed
            for bucket, n in count.buckets.items():
                row[_FIRST + bucket] += n
        self._pending = None

    def refuse(self) -> None:
        """The batch did not get into Redis, and will not: what it has is part of the next one."""
        self._pending = None


def merged(tables: Iterable[Mapping[str, Row]]) -> dict[str, Row]:
    """The sum of some tables, by class."""
    totals: dict[str, Row] = {}
    for table in tables:
        for name, row in table.items():
            known = totals.get(name)
            totals[name] = row[:] if known is None else [a + b for a, b in zip(known, row, strict=True)]
    return totals


_TALLIES: weakref.WeakSet[Tally] = weakref.WeakSet()


def _after_fork() -> None:
    """What was counted is the parent's to write, and a name in Redis is for one process only."""
    for tally in _TALLIES:
        tally._begin()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _difference(name: str, row: Row, taken: Any) -> Count | None:
    """`row` has seconds, `taken` whole milliseconds: the rest of one stays for the next batch."""
    buckets = {i: row[_FIRST + i] - taken[_FIRST + i] for i in range(BUCKETS)}
    buckets = {i: n for i, n in buckets.items() if n}
    failed = row[_FAILED] - taken[_FAILED]
    if not buckets and not failed:
        return None
    ms = int(row[_SECONDS] * 1000) - int(taken[_SECONDS])
    return Count(name, failed + sum(buckets.values()), failed, ms, buckets)
