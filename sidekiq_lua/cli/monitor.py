"""`sidekiq-lua monitor`: what Sidekiq's `sidekiqmon` prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import click

from ..clock import Clock
from ..version import SIDEKIQ_VERSION, __version__
from .ask import json_option
from .boot import CONTEXT, boot, shared_options
from .report import Session, printable
from .snapshot import SECTIONS, document, header
from .text import since, utc, wrapped

Lines = Iterator[str]
_NAMES = ("all", "version", *SECTIONS)
_EVERY_S = "2"


@click.command("monitor", context_settings=CONTEXT)
@click.argument("section", required=False, metavar=f"[{'|'.join(_NAMES)}]")
@click.option(
    "--watch", is_flag=False, flag_value=_EVERY_S, metavar="[SECONDS]",
    help="Show it anew every 2 seconds, or SECONDS, until Ctrl-C.",
)  # fmt: skip
@json_option
@shared_options
@click.pass_obj
def command(
    session: Session, /, section: str | None, watch: str | None, as_json: bool, verbose: bool, **options: Any
) -> None:
    """Show what there is to do, who does it, and the queues.

    Reads Redis and writes nothing. --watch goes on through an outage of Redis, and tells of it. --json prints
    one document, with --watch a line for each; docs/cli.md has its fields.

    \b
    Examples:
      sidekiq-lua monitor
      sidekiq-lua monitor queues
      sidekiq-lua monitor --watch 5
      sidekiq-lua monitor overview --json | jq .overview.enqueued
    """
    session.command = "sidekiq-lua monitor"
    session.verbose = verbose
    if section is None and watch in _NAMES:
        section, watch = watch, _EVERY_S
    section = section or "all"
    if section not in _NAMES:
        raise click.UsageError(f"there is no section {section!r}, try one of: {', '.join(_NAMES)}")
    every_s = _seconds(watch) if watch is not None else None
    if section == "version" and every_s is None:
        found = header(Clock().now())
        click.echo(json.dumps(found, indent=2) if as_json else "\n".join(version(found)))
        return
    app = boot(**options, settings={}, server=False)
    if every_s is not None:
        from .watching import as_lines, as_screens, until_interrupted, watching

        moments = watching(lambda: document(app, section), app.clock, every_s)
        show = as_lines if as_json else as_screens
        until_interrupted(lambda: show(moments, lambda found: text(found, section)))
        return
    found = document(app, section)
    click.echo(json.dumps(found, ensure_ascii=False, indent=2) if as_json else text(found, section))


def _seconds(given: str) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86_400:
        raise click.UsageError(f"--watch takes seconds from 0.1 to 86400, not {given!r}")
    return seconds


def text(found: dict[str, Any], section: str) -> str:
    """The document as sidekiqmon shows it, with an empty line between each two sections."""
    parts = _SECTIONS if section == "all" else [section]
    return "\n\n".join("\n".join(_SECTIONS[part](found)) for part in parts)


def version(found: dict[str, Any]) -> Lines:
    yield f"sidekiq-lua {found['sidekiq_lua']}"
    yield f"{utc(found['at'])} UTC"


def overview(found: dict[str, Any]) -> Lines:
    yield "---- Overview ----"
    for label, count in found["overview"].items():
        yield f"{label.capitalize():>11}: {count:,}"


def processes(found: dict[str, Any]) -> Lines:
    yield f"---- Processes ({len(found['processes'])}) ----"
    for number, process in enumerate(found["processes"]):
        if number:
            yield ""
        yield from _process(process, found["at"])


def _process(process: dict[str, Any], now_s: float) -> Lines:
    tags = [process["tag"], *process["labels"], "quiet" if process["quiet"] else None]
    yield printable(" ".join([process["identity"], *(f"[{tag}]" for tag in tags if tag)]))
    started = process["started_at"]
    known = isinstance(started, int | float) and 0 < started < 1e11
    yield f"  Started: {since(started, now_s) if known else 'unknown'}"
    yield f"  Threads: {process['concurrency'] or 'unknown'} ({process['busy']} busy)"
    yield f"   Queues: {wrapped([printable(queue) for queue in _queues(process)], 11) or 'none'}"
    ours, theirs = process["lua_version"], process["version"]
    if ours not in (None, __version__):
        yield f"  Version: sidekiq-lua {printable(str(ours))}"
    elif theirs != SIDEKIQ_VERSION:
        yield f"  Version: {printable(str(theirs or 'unknown'))}"


def _queues(process: dict[str, Any]) -> list[str]:
    """A text for each capsule; with the weights from Sidekiq 7, and for each queue from an older one."""
    if process["capsules"]:
        capsules = [each for each in process["capsules"].values() if isinstance(each, dict)]
        return [", ".join(capsule.get("weights") or {}) for capsule in capsules]
    weights = process["weights"]
    if not weights:
        return sorted(map(str, process["queues"]))
    return [
        ", ".join(f"{name}: {weight}" if weight else name for name, weight in capsule.items())
        for capsule in (weights if isinstance(weights, list) else [weights])
        if isinstance(capsule, dict)
    ]


def queues(found: dict[str, Any]) -> Lines:
    rows = [("NAME", "SIZE", "LATENCY")]
    rows += [
        (printable(each["name"]), str(each["size"]), f"{each['latency']:.2f}") for each in found["queues"]
    ]
    first, second, third = (max(map(len, column)) + 2 for column in zip(*rows, strict=True))
    yield f"---- Queues ({len(rows) - 1}) ----"
    for name, size, latency in rows:
        yield f"{name:<{first}}{size:>{second}}{latency:>{third}}"


_SECTIONS: dict[str, Callable[[dict[str, Any]], Lines]] = {
    "version": version,
    "overview": overview,
    "processes": processes,
    "queues": queues,
}
