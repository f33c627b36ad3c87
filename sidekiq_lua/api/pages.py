"""Reads the queues and the processes, never more than a page of them in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..store.calls import Call
from ..store.processes import ProcessInfo
from ..store.queues import PAGE, QueueSize

if TYPE_CHECKING:
    from ..app import App


def queue_sizes(app: App) -> list[QueueSize]:
    """Every known queue, by name. Raises RedisError. Keys: `queues`, `queue:NAME`, `paused`."""
    queues = app.store.queues
    names = sorted(members(app, queues.names))
    found: list[QueueSize] = []
    while len(found) < len(names):
        # A call answers for fewer where the oldest jobs are large.
        page = app.transport().run(queues.sizes(names[len(found) : len(found) + PAGE]))
        found += page
    return found


def paused_names(app: App) -> list[str]:
    """Every paused queue, also one that has had no job yet. Raises RedisError. Keys: `paused`."""
    return sorted(members(app, app.store.queues.paused))


def process_infos(app: App) -> list[ProcessInfo]:
    """Every process that has a heartbeat, by identity. Raises RedisError. Keys: `processes`, IDENTITY."""
    processes = app.store.processes
    names = sorted(members(app, processes.identities))
    slices = (names[start : start + PAGE] for start in range(0, len(names), PAGE))
    return [info for part in slices for info in app.transport().run(processes.info(part))]


def members(app: App, page: Callable[[str], Call[tuple[str, list[str]]]]) -> set[str]:
    """A set's members; a scan may answer one of them twice."""
    found: set[str] = set()
    cursor = "0"
    while True:
        cursor, some = app.transport().run(page(cursor))
        found.update(some)
        if cursor == "0":
            return found
