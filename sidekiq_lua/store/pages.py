"""Calls that read a set or a queue page by page. Keys: `retry`, `schedule`, `dead`, `queue:NAME`."""

from __future__ import annotations

from typing import Any, NamedTuple

from .calls import Call
from .entries import Entry, SetName
from .keys import Keys
from .queues import PAGE_BYTES
from .scripts import library

LOOK = 1000
"""The most members that one call looks at."""


class EntryPage(NamedTuple):
    """The entries that were asked for; how many were looked at, and the last of these, None without any."""

    entries: list[Entry]
    looked_at: int
    last: Entry | None


class JobPage(NamedTuple):
    """The jobs that were asked for, the newest first; how many older ones are left, the newest of them."""

    jobs: list[bytes]
    left: int
    anchor: bytes


class Pages:
    """Reading in bounded calls, with a text that the members have to contain, or b"" for all."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._sets = {"retry": keys.retry, "schedule": keys.schedule, "dead": keys.dead}
        self._page = library()["page"].call
        self._waiting = library()["waiting"].call

    def entries(
        self, name: SetName, after: Entry | None, *, upward: bool, text: bytes = b"", n: int = LOOK
    ) -> Call[EntryPage]:
        """The page behind an entry, which may be gone; without one, the first page."""

        def read(reply: list[Any]) -> EntryPage:
            seen, member, score, found = reply
            entries = [Entry(found[i], float(found[i + 1])) for i in range(0, len(found), 2)]
            return EntryPage(entries, seen, Entry(member, float(score)) if seen else None)

        return self._page(
            entries=self._sets[name],
            upward=int(upward),
            score=repr(after.score) if after else "",
            member=after.raw if after else b"",
            n=n,
            bytes=PAGE_BYTES,
            text=text,
            read=read,
        )

    def jobs(self, queue: str, after: JobPage | None, *, text: bytes = b"", n: int = LOOK) -> Call[JobPage]:
        """The page of older jobs after another page of the same queue; without one, the newest jobs."""
        return self._list(self._keys.queue(queue), after, text, n)

    def held(self, name: str, after: JobPage | None, *, n: int = LOOK) -> Call[JobPage]:
        """The same of what is held for a paused class, as it is held."""
        return self._list(self._keys.held(name), after, b"", n)

    def _list(self, key: str, after: JobPage | None, text: bytes, n: int) -> Call[JobPage]:
        return self._waiting(
            queue=key,
            left=after.left if after else "",
            anchor=after.anchor if after else b"",
            n=n,
            bytes=PAGE_BYTES,
            text=text,
            read=lambda reply: JobPage(reply[2], reply[0], reply[1]),
        )
