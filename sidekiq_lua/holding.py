"""Returns the held jobs of a job class that goes on, for the Data API and for workers."""

from __future__ import annotations

from collections.abc import Callable

from .store import Store, Transport
from .store.holding import HELD_PAGE


def release(
    transport: Transport, store: Store, name: str, report: Callable[[int], object] | None = None
) -> int:
    """Move what is held of a resumed class to the consuming end of its queues; answers how many jobs.

    `report` is called with that number after each call. Any number of processes may do it at once. Raises
    RedisError; what is left is released by whoever comes next.
    """
    holding, released, skip = store.holding, 0, 0
    while True:
        length, jobs = transport.run(holding.held(name, skip))
        if length > skip + len(jobs) and len(jobs) == HELD_PAGE:
            # The newest go first: what comes later goes in front of it.
            skip = length - HELD_PAGE
            continue
        moved = transport.run(holding.release(name, jobs))
        if moved is None or (jobs and not moved and skip == 0):
            return released
        released += moved
        if report is not None:
            report(released)
        if not jobs and skip == 0:
            return released
        skip = max(skip - HELD_PAGE, 0)
