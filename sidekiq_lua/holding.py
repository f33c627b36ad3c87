"""Returns the held jobs of a job class that goes on, for the Data API and for workers."""

from __future__ import annotations

from collections.abc import Callable

from .store import Store, Transport


def release(
    transport: Transport, store: Store, name: str, report: Callable[[int], object] | None = None
) -> int:
    """Move what is held of a resumed class to the consuming end of its queues; answers how many jobs.

    `report` is called with that number after each call. Any number of processes may do it at once. Raises
    RedisError; what is left is released by whoever comes next.
    """
    holding, released, stuck = store.holding, 0, 0
    while True:
        # The newest go first: what comes later goes in front of it.
        _, jobs = transport.run(holding.held(name, stuck))
        moved = transport.run(holding.release(name, jobs))
        if moved is None:
            return released
        # Those whose queue is not a list stay where they are, and hold up nobody.
        stuck += len(jobs) - moved
        released += moved
        if report is not None:
            report(released)
        if not jobs:
            return released
