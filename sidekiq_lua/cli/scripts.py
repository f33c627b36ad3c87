"""`sidekiq-lua scripts`: which scripts the server knows, how often they are called, and with what success."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from . import text
from .boot import CONTEXT, boot, shared_options
from .report import Session, printable

if TYPE_CHECKING:
    from ..store.heard import Line

COUNTS = ("calls", "failures", "reloads", "fenced")


@click.command("scripts", context_settings=CONTEXT)
@click.option(
    "--seconds", type=click.FloatRange(min=0.001), metavar="N",
    help="Instead of the workers' counts: how often all call each in so long (MONITOR).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared_options
@click.pass_obj
def command(session: Session, /, seconds: float | None, as_json: bool, verbose: bool, **options: Any) -> None:
    """Show the scripts of all versions that work here, whether Redis has them, and what their calls came to.

    Workers count calls, failures, reloads of what Redis had forgotten, and fenced results: those of jobs that
    somebody else had settled. They write their counts each minute, and all but calls at once. The last line
    is Redis's own count, for all scripts and callers in one.

    \b
    Examples:
      sidekiq-lua scripts
      sidekiq-lua scripts --seconds 10
      sidekiq-lua scripts --json
    """
    session.command = "sidekiq-lua scripts"
    session.verbose = verbose
    app = boot(**options, settings={}, server=False)
    from ..store import heard

    transport = app.transport()
    scripts = heard.names(transport, app.store)
    counts = heard.counts(transport, app.store)
    found = counted(heard.listen(transport, seconds)) if seconds else counts.scripts
    known = dict(zip(scripts, transport.command("SCRIPT", "EXISTS", *scripts), strict=True))
    info = b"\n".join(transport.command("INFO", section) for section in ("commandstats", "errorstats"))
    total = heard.statistics(info.decode("utf-8", "replace"))
    rows = [
        {
            "name": named.name, "version": named.version, "hash": sha, "loaded": bool(known[sha]),
            **{kind: found.get(sha, {}).get(kind, 0) for kind in COUNTS},
            **(dict.fromkeys(("failures", "fenced")) if seconds else {}),
        }
        for sha, named in sorted(scripts.items(), key=lambda item: item[1])
    ]  # fmt: skip
    if as_json:
        since = None if seconds else counts.since or None
        shown = {"seconds": seconds, "since": since, "total": total, "scripts": rows}
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    told = heading(seconds, counts.since)
    click.echo("\n".join([*table(rows), "", told, summary(total)]))


def counted(lines: Iterable[Line | None]) -> Mapping[str, Mapping[str, int]]:
    """How often each script was called, and made known to the server, by hash."""
    from ..store import heard

    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        if line is not None and line.sender != "lua":
            found[heard.loads(line.words)]["reloads"] += 1
            if line.words[0] != b"SCRIPT":
                found[heard.called(line.words, {}).sha]["calls"] += 1
    return found


def table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Columns; those of the counts only if they were taken."""
    rows = list(rows)
    kinds = [kind for kind in COUNTS if any(row[kind] is not None for row in rows)]
    cells = [("SCRIPT", "VERSION", "LOADED", *(kind.upper() for kind in kinds))]
    for row in rows:
        loaded = "yes" if row["loaded"] else "no"
        counts = (f"{row[kind]:,}" for kind in kinds)
        cells.append((printable(row["name"]), printable(row["version"]), loaded, *counts))
    return list(text.table(cells, right=range(3, 3 + len(kinds))))


def heading(seconds: float | None, since: float) -> str:
    """What the counts of the table are."""
    if seconds:
        return f"Counts: of all callers, in {seconds:g} s"
    return (
        f"Counts: of workers and their jobs, since {text.utc(since)}"
        if since
        else "Counts: no worker wrote any yet"
    )


def summary(total: Mapping[str, int]) -> str:
    return (
        f"All scripts: {total['calls']:,} calls, {total['failures']:,} failed, "
        f"{total['reloads']:,} of scripts that Redis had forgotten"
    )
