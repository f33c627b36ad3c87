"""Calls that act on many entries. Keys: `retry`, `schedule`, `dead`, `queue:NAME`, `lua:crashes:*`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from .calls import Call
from .entries import Entry, SetName
from .keys import Keys
from .running import Burial
from .scripts import library

MOVES = 100
"""The most entries that one call acts on."""
MOVE_BYTES = 250_000
"""The most bytes of entries that one call carries, but for one larger entry."""

States = list[int]
"""For each entry: 1 done, 0 gone or rescheduled, -1 its queue is not a list."""


class Return(NamedTuple):
    """An entry, and what to push to which queue in its stead; "": client middleware stopped it."""

    entry: Entry
    queue: str
    payload: bytes
    crash_key: str


class Bulk:
    """Each call acts on at most MOVES entries."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._sets = {"retry": keys.retry, "schedule": keys.schedule, "dead": keys.dead}
        self._enqueue = library()["enqueue_entries"].call
        self._bury = library()["bury_entries"].call
        self._delete = library()["delete_entries"].call

    def enqueue(self, name: SetName, returns: Sequence[Return]) -> Call[States]:
        """Move entries to their queues; those out of `dead` are forgiven their crashes."""
        queues = list(dict.fromkeys(r.queue for r in returns if r.queue))
        place = {"": 0, **{queue: number for number, queue in enumerate(queues, 1)}}
        keys = [self._keys.queue(queue) for queue in queues]
        if name == "dead":
            keys += [self._keys.crashes(r.crash_key) for r in returns]
        moves: list[str | bytes | int] = [*queues]
        for r in returns:
            moves += (place[r.queue], r.entry.raw, repr(r.entry.score), r.payload)
        return self._enqueue(
            entries=self._sets[name], queues=self._keys.queues, rest=keys, m=len(queues), moves=moves
        )

    def bury(
        self, name: Literal["retry", "schedule"], entries: Sequence[Entry], burial: Burial
    ) -> Call[States]:
        """Move entries to the dead set as they are."""
        return self._bury(
            entries=self._sets[name],
            dead=self._keys.dead,
            now=repr(burial.now),
            cutoff=repr(burial.cutoff),
            limit=burial.limit,
            moves=_flat(entries),
        )

    def delete(self, name: SetName, entries: Sequence[Entry]) -> Call[States]:
        return self._delete(entries=self._sets[name], moves=_flat(entries))


def slices(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """What one call carries each: at most MOVES entries, of at most MOVE_BYTES."""
    part: list[Entry] = []
    size = 0
    for entry in entries:
        if part and (len(part) == MOVES or size + len(entry.raw) > MOVE_BYTES):
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry.raw)
    if part:
        yield part


def _flat(entries: Sequence[Entry]) -> list[bytes | str]:
    return [part for entry in entries for part in (entry.raw, repr(entry.score))]
