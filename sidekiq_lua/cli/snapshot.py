"""What `sidekiq-lua monitor` knows: one document, which it prints as text or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..version import SIDEKIQ_VERSION, __version__

if TYPE_CHECKING:
    from ..instance import Sidekiq

FORMAT = 1
"""Raised when a field is renamed, removed or means something else; new fields do not raise it."""


def header(now_s: float) -> dict[str, Any]:
    """Whose document it is, and when it was made (epoch seconds)."""
    return {"format": FORMAT, "at": now_s, "sidekiq_lua": __version__, "sidekiq": SIDEKIQ_VERSION}


def overview(app: Sidekiq) -> dict[str, int]:
    """Totals."""
    from ..instance import Stats

    stats = Stats(app)
    return {
        "processed": stats.processed,
        "failed": stats.failed,
        "busy": stats.workers_size,
        "enqueued": stats.enqueued,
        "retries": stats.retry_size,
        "scheduled": stats.scheduled_size,
        "dead": stats.dead_size,
    }


def processes(app: Sidekiq) -> list[dict[str, Any]]:
    """The processes that beat, by identity; times in epoch seconds, memory in KB, rtt in microseconds."""
    from ..instance import ProcessSet

    return [
        {
            "identity": process.identity,
            **{name: process[name] for name in ("hostname", "pid", "started_at")},
            "tag": process.tag,
            "labels": process.labels,
            "queues": process.queues,
            "capsules": process.capsules,
            "weights": process["weights"],
            **{name: process[name] for name in ("concurrency", "busy", "beat", "quiet")},
            "rss_kb": process["rss"],
            "rtt_us": process["rtt_us"],
            "embedded": process.is_embedded,
            "version": process.version,
            "lua_version": process["lua_version"],
        }
        for process in ProcessSet(app, clean=False)
    ]


def queues(app: Sidekiq) -> list[dict[str, Any]]:
    """The queues by name; `latency` is how many seconds the oldest job has waited."""
    from ..instance import Stats

    return [queue._asdict() for queue in sorted(Stats(app).queue_summaries)]


SECTIONS: dict[str, Callable[[Sidekiq], Any]] = {
    "overview": overview,
    "processes": processes,
    "queues": queues,
}


def document(app: Sidekiq, section: str) -> dict[str, Any]:
    """The header and a section, or with `all` every one. Raises RedisError."""
    parts = {name: read(app) for name, read in SECTIONS.items() if section in (name, "all")}
    return {**header(app.clock.now()), **parts}
