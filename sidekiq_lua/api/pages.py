"""Reads the queues and the processes, never more than a page of them in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..store.calls import Call
from ..store.processes import ProcessInfo
from ..store.queues import PAGE, QueueSize

if TYPE_CHECKING:
    from ..app import App

T = TypeVar("T")


def queue_sizes(app: App) -> list[QueueSize]:
    """Every known queue, by name. Raises RedisError. Keys: `queues`, `queue:NAME`, `paused`."""
    queues = app.store.queues
    return _details(app, sorted(_members(app, queues.names)), queues.sizes)


def process_infos(app: App) -> list[ProcessInfo]:
    """Every process that has a heartbeat, by identity. Raises RedisError. Keys: `processes`, IDENTITY."""
    processes = app.store.processes
    return _details(app, sorted(_members(app, processes.identities)), processes.info)


def _members(app: App, page: Callable[[str], Call[tuple[str, list[str]]]]) -> set[str]:
    """A set's members; a scan may answer one of them twice."""
    found: set[str] = set()
    cursor = "0"
    while True:
        cursor, members = app.transport().run(page(cursor))
        found.update(members)
        if cursor == "0":
            return found


def _details(app: App, names: Sequence[str], call: Callable[[Sequence[str]], Call[list[T]]]) -> list[T]:
    slices = (names[start : start + PAGE] for start in range(0, len(names), PAGE))
    return [item for part in slices for item in app.transport().run(call(part))]
