"""Calls on the sorted sets. Keys: `retry`, `schedule`, `dead`, `queues`, `queue:NAME`, `lua:crashes:*`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from .calls import Call
from .keys import Keys
from .running import Burial
from .scripts import library

SetName = Literal["retry", "schedule", "dead"]
DUE_BYTES = 500_000
"""Once so many bytes of a set are read, `due` reads no more of it."""


class Entry(NamedTuple):
    """One entry exactly as it was read. A move of it does nothing once its score is another."""

    raw: bytes
    score: float


class Buried(NamedTuple):
    """`added` is False when the dead set held the same text already: the two are one entry now."""

    moved: bool
    added: bool


class Promotion(NamedTuple):
    """One due entry, exactly as it was read, and what to push to which queue in its stead.

    Without a queue the entry is forgotten: client middleware stopped it.
    """

    entry: bytes
    queue: str
    payload: bytes = b""


class Entries:
    """The retry and schedule sets as the scheduler sees them, and what a person does to one entry."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._sets = {"retry": keys.retry, "schedule": keys.schedule}
        self._all = {**self._sets, "dead": keys.dead}
        scripts = library()
        self._due = scripts["due"].call
        self._claim = scripts["claim"].call
        self._promote = scripts["promote"].call
        self._enqueue = scripts["enqueue_entry"].call
        self._bury = scripts["bury_entry"].call
        self._delete = scripts["delete_entry"].call
        self._reschedule = scripts["reschedule_entry"].call
        self._clear = scripts["clear_set"].call
        self._replace = scripts["replace_entry"].call
        self._schedule = scripts["schedule"].call
        self._trim = scripts["trim"].call

    def due(self, now: float, n: int, skips: Mapping[str, int]) -> Call[dict[str, list[bytes]]]:
        """Up to n entries each of `retry` and `schedule` that are due at epoch seconds `now`, or fewer that
        have DUE_BYTES or more.

        `skips` says for a set how many of its soonest entries to pass over.
        """
        return self._due(
            sets=list(self._sets.values()),
            now=repr(now),
            n=n,
            bytes=DUE_BYTES,
            skips=[skips.get(name, 0) for name in self._sets],
            read=lambda reply: dict(zip(self._sets, reply, strict=True)),
        )

    def claim(
        self, name: str, entries: Sequence[tuple[bytes, float]], now: float
    ) -> Call[list[float | None]]:
        """Give at most 200 entries of one set, due at epoch seconds `now`, the scores beside them.

        For each its score before; None: it is gone or not due.
        """
        return self._claim(
            entries=self._sets[name],
            now=repr(now),
            rest=[part for entry, score in entries for part in (entry, repr(score))],
            read=lambda reply: [float(score) if score else None for score in reply],
        )

    def promote(self, name: str, promotions: Sequence[Promotion], now: float) -> Call[list[int]]:
        """Move at most 100 entries of one set: 1 moved, 0 gone, -1 a queue of the wrong type."""
        queues = list(dict.fromkeys(p.queue for p in promotions if p.queue))
        place = {"": 0, **{queue: number for number, queue in enumerate(queues, 1)}}
        rest: list[str | bytes | int] = [*queues]
        for promotion in promotions:
            rest += (place[promotion.queue], promotion.entry, promotion.payload)
        return self._promote(
            entries=self._sets[name],
            queues=self._keys.queues,
            lists=[self._keys.queue(queue) for queue in queues],
            now=repr(now),
            rest=rest,
        )

    def enqueue(self, name: SetName, entry: Entry, queue: str, payload: bytes, crash_key: str) -> Call[bool]:
        """Push `payload` to a queue in an entry's stead; one out of `dead` is forgiven its crashes.

        False: the entry is gone or was rescheduled.
        """
        return self._enqueue(
            entries=self._all[name],
            queues=self._keys.queues,
            queue=self._keys.queue(queue),
            crashes=self._keys.crashes(crash_key),
            entry=entry.raw,
            score=repr(entry.score),
            name=queue,
            payload=payload,
            forgive=int(name == "dead"),
            read=_did,
        )

    def bury(
        self, name: Literal["retry", "schedule"], entry: Entry, payload: bytes, burial: Burial
    ) -> Call[Buried]:
        """Move an entry to the dead set, as `payload`."""
        return self._bury(
            entries=self._sets[name],
            dead=self._keys.dead,
            entry=entry.raw,
            score=repr(entry.score),
            payload=payload,
            now=repr(burial.now),
            cutoff=repr(burial.cutoff),
            limit=burial.limit,
            read=lambda reply: Buried(reply[0] == 1, reply[1] == 1),
        )

    def delete(self, name: SetName, entry: Entry) -> Call[bool]:
        """Delete an entry. False: it is gone or was rescheduled."""
        return self._delete(entries=self._all[name], entry=entry.raw, score=repr(entry.score), read=_did)

    def reschedule(self, name: SetName, entry: Entry, due: float) -> Call[bool]:
        """Give an entry another score, in epoch seconds. False: it is gone or was rescheduled."""
        return self._reschedule(
            entries=self._all[name], entry=entry.raw, score=repr(entry.score), due=repr(due), read=_did
        )

    def replace(self, name: SetName, entry: Entry, payload: bytes) -> Call[bool]:
        """Store `payload` in an entry's stead. False: gone, rescheduled, or `payload` is there too."""
        return self._replace(
            entries=self._all[name], entry=entry.raw, score=repr(entry.score), payload=payload, read=_did
        )

    def add(self, name: SetName, score: float, payload: bytes) -> Call[int]:
        """Add an entry; its score is epoch seconds."""
        return self._schedule(schedule=self._all[name], entries=[repr(score), payload])

    def trim(self, burial: Burial) -> Call[int]:
        """Drop at most 2000 dead jobs that are too old or too many; answers how many."""
        return self._trim(dead=self._keys.dead, cutoff=repr(burial.cutoff), limit=burial.limit)

    def clear(self, name: SetName) -> Call[int]:
        """Delete every entry of a set; answers how many."""
        return self._clear(entries=self._all[name])


def _did(reply: int) -> bool:
    return reply == 1
