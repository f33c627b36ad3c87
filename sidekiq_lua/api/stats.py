"""How much there is to do, and how much was done."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, cast

from ..errors import ConfigurationError
from ..store.counters import Total
from .pages import process_infos, queue_sizes
from .record import latency

if TYPE_CHECKING:
    from ..app import App

_TOTALS: tuple[Total, ...] = ("processed", "failed")


class QueueSummary(NamedTuple):
    """A queue: `latency` is how many seconds its oldest job has waited, 0.0 if it is empty."""

    name: str
    size: int
    latency: float
    paused: bool


class Stats:
    """Totals of one instance's Redis, as they were when this was made or `fetch_stats` was last called.

    `queues` and `queue_summaries` are read whenever they are asked for. Every read raises RedisError.
    Keys: `stat:processed`, `stat:failed`, `schedule`, `retry`, `dead`, `processes`, IDENTITY, `queues`,
    `queue:NAME`, `paused`; none is written but by `reset`.
    """

    processed: int
    """Runs that have ended, well or not."""
    failed: int
    """Runs that have failed."""
    scheduled_size: int
    """Jobs that are due later."""
    retry_size: int
    """Jobs that wait for another try."""
    dead_size: int
    processes_size: int
    """Listed processes, also such as have just died."""
    default_queue_latency: float
    """Seconds that the oldest job of the queue `default` has waited."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.fetch_stats()

    def fetch_stats(self) -> None:
        """Read it all anew."""
        app = self._app
        totals = app.transport().run(app.store.counters.totals())
        (default,) = app.transport().run(app.store.queues.sizes(["default"]))
        self.processed = totals.processed
        self.failed = totals.failed
        self.scheduled_size = totals.scheduled
        self.retry_size = totals.retries
        self.dead_size = totals.dead
        self.processes_size = totals.processes
        self.default_queue_latency = self._latency(default.oldest)
        for name in ("enqueued", "workers_size"):
            vars(self).pop(name, None)

    @cached_property
    def enqueued(self) -> int:
        """Jobs in all queues; counted when first asked for."""
        return sum(queue.size for queue in queue_sizes(self._app))

    @cached_property
    def workers_size(self) -> int:
        """Jobs that run now, by the last heartbeats; counted when first asked for."""
        return sum(process.busy for process in process_infos(self._app))

    @property
    def queues(self) -> dict[str, int]:
        """The size of each queue by its name, the largest first."""
        return {queue.name: queue.size for queue in self.queue_summaries}

    @property
    def queue_summaries(self) -> list[QueueSummary]:
        """Every queue, the largest first."""
        summaries = [
            QueueSummary(queue.name, queue.size, self._latency(queue.oldest), queue.paused)
            for queue in queue_sizes(self._app)
        ]
        return sorted(summaries, key=lambda queue: -queue.size)

    def reset(self, *names: str) -> None:
        """Set `"processed"` or `"failed"` back to 0 in Redis; without names, both. The days' counts stay.

        What was read before stays as it was until `fetch_stats`. Raises ConfigurationError for another name.
        """
        for name in names:
            if name not in _TOTALS:
                raise ConfigurationError(f"there is no total {name!r}: reset takes {' and '.join(_TOTALS)}")
        chosen = cast("tuple[Total, ...]", names) or _TOTALS
        self._app.transport().run(self._app.store.counters.reset(chosen))

    def _latency(self, oldest: bytes) -> float:
        return latency(self._app, self._app.codec.look(oldest)) if oldest else 0.0
