"""What the processes of a supervisor have run, in one sum that outlives them.

Each of them says what is new since it last said something; see Tally for the rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...tally import empty_row
from .line import Line

if TYPE_CHECKING:
    from ...tally import Row

Ran = dict[str, list[Any]]
"""For each class what is new: seconds, failed runs, then pairs of a bucket and its runs."""


class Sum:
    """The supervisor's side."""

    def __init__(self) -> None:
        self.totals: dict[str, Row] = {}

    def add(self, ran: Ran) -> None:
        for name, (seconds, failed, *buckets) in ran.items():
            row = self.totals.setdefault(name, empty_row())
            row[0] += seconds
            row[1] += failed
            for bucket, runs in buckets:
                row[2 + bucket] += runs


class Teller:
    """A process's side."""

    def __init__(self, totals: Callable[[], dict[str, Row]], line: Line) -> None:
        self._totals = totals
        self._line = line
        self._told: dict[str, Row] = {}
        self._lock = threading.Lock()

    def say(self, **more: Any) -> bool:
        """Say what is new, and more; False if nobody hears it any more."""
        with self._lock:
            totals = self._totals()
            ran = {name: new for name, row in totals.items() if (new := self._new(name, row))}
            if not self._line.say(**more, **({"ran": ran} if ran else {})):
                return False
            self._told = totals
            return True

    def _new(self, name: str, row: Row) -> list[Any]:
        told = self._told.get(name) or [0] * len(row)
        if row == told:
            return []
        seconds, failed, *buckets = (now - before for now, before in zip(row, told, strict=True))
        return [seconds, failed, *([bucket, runs] for bucket, runs in enumerate(buckets) if runs)]
