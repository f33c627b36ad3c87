"""`sidekiq-lua monitor`: what Sidekiq's `sidekiqmon` prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from ..clock import Clock
from ..version import SIDEKIQ_VERSION, __version__
from .boot import CONTEXT, boot, shared_options
from .report import Session, printable
from .text import since, utc, wrapped

if TYPE_CHECKING:
    from ..instance import Sidekiq
    from ..store.processes import ProcessInfo

Lines = Iterator[str]


@click.command("monitor", context_settings=CONTEXT)
@click.argument("section", default="all", metavar="[all|version|overview|processes|queues]")
@shared_options
@click.pass_obj
def command(session: Session, /, section: str, verbose: bool, **options: Any) -> None:
    """Show what there is to do, who does it, and the queues.

    Reads Redis and writes nothing.
    """
    session.command = "sidekiq-lua monitor"
    session.verbose = verbose
    if section != "all" and section not in _SECTIONS:
        from ..errors import ConfigurationError

        raise ConfigurationError(f"there is no section {section!r}, try one of: all, {', '.join(_SECTIONS)}")
    if section == "version":
        show(version(Clock()))
        return
    app = boot(**options, settings={}, server=False)
    parts = _SECTIONS if section == "all" else [section]
    show(*(_SECTIONS[part](app) for part in parts))


def show(*parts: Lines) -> None:
    """Print parts with an empty line between each two; nothing at all if one of them cannot be had."""
    click.echo("\n\n".join("\n".join(part) for part in parts))


def version(clock: Clock) -> Lines:
    yield f"sidekiq-lua {__version__}"
    yield f"{utc(clock.now())} UTC"


def overview(app: Sidekiq) -> Lines:
    from ..instance import Stats

    stats = Stats(app)
    yield "---- Overview ----"
    counts = {
        "Processed": stats.processed,
        "Failed": stats.failed,
        "Busy": stats.workers_size,
        "Enqueued": stats.enqueued,
        "Retries": stats.retry_size,
        "Scheduled": stats.scheduled_size,
        "Dead": stats.dead_size,
    }
    for label, count in counts.items():
        yield f"{label:>11}: {count:,}"


def processes(app: Sidekiq) -> Lines:
    from ..api.pages import process_infos

    found = process_infos(app)
    yield f"---- Processes ({len(found)}) ----"
    for number, process in enumerate(found):
        if number:
            yield ""
        yield from _process(process, app.clock.now())


def _process(process: ProcessInfo, now: float) -> Lines:
    try:
        info = json.loads(process.info)
    except ValueError:
        info = {}
    tags = [info.get("tag"), *(info.get("labels") or []), "quiet" if process.quiet else None]
    yield printable(" ".join([process.identity, *(f"[{tag}]" for tag in tags if tag)]))
    started = info.get("started_at")
    yield f"  Started: {since(started, now) if started else 'unknown'}"
    threads = process.concurrency or info.get("concurrency")
    yield f"  Threads: {threads or 'unknown'} ({process.busy} busy)"
    yield f"   Queues: {wrapped([printable(queue) for queue in _queues(info)], 11) or 'none'}"
    ours, theirs = info.get("lua_version"), info.get("version")
    if ours not in (None, __version__):
        yield f"  Version: sidekiq-lua {printable(str(ours))}"
    elif theirs != SIDEKIQ_VERSION:
        yield f"  Version: {printable(str(theirs or 'unknown'))}"


def _queues(info: dict[str, Any]) -> list[str]:
    """Since Sidekiq 7 a text for each capsule, before that one for each queue."""
    weights = info.get("weights")
    if not weights:
        return sorted(info.get("queues") or [])
    return [
        ", ".join(f"{name}: {weight}" if weight else name for name, weight in capsule.items())
        for capsule in ([weights] if isinstance(weights, dict) else weights)
    ]


def queues(app: Sidekiq) -> Lines:
    from ..instance import Stats

    found = sorted(Stats(app).queue_summaries)
    yield f"---- Queues ({len(found)}) ----"
    rows = [("NAME", "SIZE", "LATENCY")]
    rows += [(printable(queue.name), str(queue.size), f"{queue.latency:.2f}") for queue in found]
    first, second, third = (max(map(len, column)) + 2 for column in zip(*rows, strict=True))
    for name, size, latency in rows:
        yield f"{name:<{first}}{size:>{second}}{latency:>{third}}"


_SECTIONS: dict[str, Callable[[Sidekiq], Lines]] = {
    "version": lambda app: version(app.clock),
    "overview": overview,
    "processes": processes,
    "queues": queues,
}
