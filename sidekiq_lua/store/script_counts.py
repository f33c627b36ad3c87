"""What scripts were called and came to: counted in each process, kept in Redis. Keys: `lua:script_counts`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from .calls import Call
from .scripts import library

KINDS = ("calls", "failures", "reloads", "fenced")


class News(NamedTuple):
    """What was counted of one script since it was last written."""

    name: str
    kind: str
    n: int


class ScriptCounts:
    """One process's counts, by name of script. Any thread may add one; one at a time may take the news.

    `calls` were sent; of those `failures` ended in an error or without an answer, `reloads` met a server that
    did not know the script, and `fenced` were refused results: somebody else had settled the job.
    There is no lock: CPython changes threads at calls and jumps, and `counts.calls[name] += 1` has neither.
    """

    __slots__ = ("_written", *KINDS)

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: in a forked child the counts are the parent's to write."""
        self.calls: dict[str, int] = defaultdict(int)
        self.failures: dict[str, int] = defaultdict(int)
        self.reloads: dict[str, int] = defaultdict(int)
        self.fenced: dict[str, int] = defaultdict(int)
        self._written: dict[tuple[str, str], int] = {}

    def many(self, calls: Sequence[Call[Any]], replies: Sequence[Any]) -> None:
        """Calls that went together; those without a reply, or with an exception for one, have failed."""
        for n, call in enumerate(calls):
            self.calls[call.script.name] += 1
            if n >= len(replies) or isinstance(replies[n], Exception):
                self.failures[call.script.name] += 1

    def news(self) -> list[News]:
        """What was counted since the last `settle`."""
        return [
            News(name, kind, n - before)
            for kind in KINDS
            for name, n in getattr(self, kind).copy().items()
            if n > (before := self._written.get((name, kind), 0)) and name in library()
        ]

    def settle(self, news: Sequence[News]) -> None:
        """These are in Redis."""
        for name, kind, n in news:
            self._written[name, kind] = self._written.get((name, kind), 0) + n


class Counted(NamedTuple):
    """The counts of all workers by script hash and kind; `since` is epoch seconds, 0 if there are none."""

    since: float
    scripts: dict[str, dict[str, int]]


def read(reply: Sequence[bytes]) -> Counted:
    """What HGETALL has of the counts; a field that is nobody's is passed over."""
    since, scripts = 0.0, dict[str, dict[str, int]]()
    texts = [part.decode("utf-8", "replace") for part in reply]
    for field, value in zip(texts[::2], texts[1::2], strict=True):
        sha, _, kind = field.partition(":")
        if kind in KINDS and value.isdigit():
            scripts.setdefault(sha, dict.fromkeys(KINDS, 0))[kind] = int(value)
        elif field == "since":
            since = _number(value)
    return Counted(since, scripts)


def _number(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        return 0.0
