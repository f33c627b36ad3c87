"""Calls on the sorted sets. Keys: `retry`, `schedule`, `queues`, `queue:NAME`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .calls import Call
from .keys import Keys
from .scripts import library


class Promotion(NamedTuple):
    """One due entry, exactly as it was read, and what to push to which queue in its stead.

    Without a queue the entry is forgotten: client middleware stopped it.
    """

    entry: bytes
    queue: str
    payload: bytes = b""


class Entries:
    """The retry and schedule sets, as the scheduler sees them."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._sets = {"retry": keys.retry, "schedule": keys.schedule}
        self._due = library()["due"].call
        self._promote = library()["promote"].call

    def due(self, now: float, n: int, skips: Mapping[str, int]) -> Call[dict[str, list[bytes]]]:
        """Up to n entries each of `retry` and `schedule` that are due at epoch seconds `now`.

        `skips` says for a set how many of its soonest entries to pass over.
        """
        return self._due(
            sets=list(self._sets.values()),
            now=repr(now),
            n=n,
            skips=[skips.get(name, 0) for name in self._sets],
            read=lambda reply: dict(zip(self._sets, reply, strict=True)),
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
