"""Deletes jobs of a queue, or such as were put aside, one script for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..api.bulk import Progress
from ..instance import PausedClass, Queue
from .places import Filters, records

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..instance import Sidekiq

_STEP = 100
"""Jobs between two calls of `progress`."""


def delete_each(
    app: Sidekiq, place: str, *, progress: Callable[[Progress], object], **filters: str | None
) -> Progress:
    """Delete the jobs of `queue:NAME` or `held:CLASS` for which the filters hold.

    `seen` counts what was deleted. Raises RedisError, ConfigurationError. Keys: `queue:NAME`,
    `lua:held:CLASS`.
    """
    chosen = Filters(**filters)
    kind, _, name = place.partition(":")
    jobs: Any = Queue(name, app) if kind == "queue" else PausedClass(name, app)
    total = len(jobs)
    if kind == "queue" and not chosen.given:
        count = jobs.clear()
        return Progress(max(total, count), max(total, count), count)
    result = Progress(total)
    for found in records(app, place, chosen):
        job: Any = found.record
        if job.delete():
            done = result.done + 1
            result = result._replace(seen=min(total, done), done=done)
            if done % _STEP == 0:
                progress(result)
    progress(result)
    return result
