"""Calls of the relays of an outbox. Keys: `lua:relay:*`, `lua:relayed:*`, `queues`, `queue:*`, `schedule`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .calls import Call
from .keys import Keys
from .queues import PAGE, read_page
from .scripts import library

FENCED = -1
"""What `push` and `settle` answer a relay whose claim is not the last one."""


class Row(NamedTuple):
    """One row to push: its name in Redis, when it is due (epoch seconds, None: at once), and the payload."""

    name: str
    due: float | None
    payload: bytes


class Relays:
    """What moves jobs from an outbox's table to Redis; `outbox` names the table among all of this Redis."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._claim = library()["relay_claim"].call
        self._relay = library()["relay"].call
        self._settle = library()["relay_settle"].call
        self._members = library()["members"].call

    def claim(self, outbox: str, me: str, ttl_ms: int) -> Call[int]:
        """Become the relay that works; answers the epoch, or 0 if another one does."""
        keys = self._keys
        return self._claim(holder=keys.relay(outbox), epoch=keys.relay_epoch(outbox), me=me, ttl_ms=ttl_ms)

    def push(
        self, outbox: str, me: str, epoch: int, ttl_ms: int, queue: str, rows: Sequence[Row]
    ) -> Call[int]:
        """Push rows of one queue, oldest first; answers how many were new, or FENCED."""
        keys = self._keys
        flat: list[str | bytes] = []
        for row in rows:
            flat += (row.name, "" if row.due is None else repr(row.due), row.payload)
        return self._relay(
            holder=keys.relay(outbox),
            epoch=keys.relay_epoch(outbox),
            relayed=keys.relayed(outbox),
            schedule=keys.schedule,
            queues=keys.queues,
            queue=keys.queue(queue),
            me=me,
            mine=epoch,
            ttl_ms=ttl_ms,
            name=queue,
            rows=flat,
        )

    def settle(
        self, outbox: str, me: str, epoch: int, rows: Sequence[str], *, leaves: bool = False
    ) -> Call[int]:
        """Forget rows whose deletion was committed; `leaves` gives the claim back.

        Answers how many, or FENCED; without rows the epoch does not matter.
        """
        keys = self._keys
        return self._settle(
            holder=keys.relay(outbox),
            epoch=keys.relay_epoch(outbox),
            relayed=keys.relayed(outbox),
            me=me,
            mine=epoch,
            leaves=int(leaves),
            rows=rows,
        )

    def relayed(self, outbox: str, cursor: str = "0") -> Call[tuple[str, list[str]]]:
        """One page of the rows that were pushed and not forgotten: the next cursor, "0" at the end."""
        return self._members(set=self._keys.relayed(outbox), cursor=cursor, size=PAGE, read=read_page)
