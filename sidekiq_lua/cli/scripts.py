"""`sidekiq-lua scripts`: which scripts the server knows, and how often they are called."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from .boot import CONTEXT, boot, shared_options
from .report import Session, printable

if TYPE_CHECKING:
    from ..store.heard import Line


@click.command("scripts", context_settings=CONTEXT)
@click.option(
    "--seconds", type=click.FloatRange(min=0.001), metavar="N",
    help="Watch for so long how often each is called and loaded again (MONITOR).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared_options
@click.pass_obj
def command(session: Session, /, seconds: float | None, as_json: bool, verbose: bool, **options: Any) -> None:
    """Show the scripts of all versions that work here, whether Redis has them, and the calls of all together.

    Redis counts calls, failures and calls of scripts that it had forgotten for all scripts in one, since its
    start or CONFIG RESETSTAT. For each script they are counted while --seconds lasts.

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
    calls, reloads = counted(heard.listen(transport, seconds)) if seconds else (None, None)
    known = dict(zip(scripts, transport.command("SCRIPT", "EXISTS", *scripts), strict=True))
    info = b"\n".join(transport.command("INFO", section) for section in ("commandstats", "errorstats"))
    total = heard.statistics(info.decode("utf-8", "replace"))
    rows = [
        {
            "name": named.name, "version": named.version, "hash": sha, "loaded": bool(known[sha]),
            "calls": None if calls is None else calls[sha],
            "reloads": None if reloads is None else reloads[sha],
        }
        for sha, named in sorted(scripts.items(), key=lambda item: item[1])
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps({"seconds": seconds, "total": total, "scripts": rows}, ensure_ascii=False))
        return
    click.echo("\n".join([*table(rows), "", summary(total)]))


def counted(lines: Iterable[Line | None]) -> tuple[Counter[str], Counter[str]]:
    """How often each script was called, and made known to the server, by hash."""
    from ..store import heard

    calls: Counter[str] = Counter()
    loads: Counter[str] = Counter()
    for line in lines:
        if line is not None and line.sender != "lua":
            loaded = heard.loads(line.words)
            loads[loaded] += 1
            if line.words[0] != b"SCRIPT":
                calls[heard.called(line.words, {}).sha] += 1
    return calls, loads


def table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Columns; those of the counts only if they were taken."""
    cells = [("SCRIPT", "VERSION", "LOADED", "CALLS", "RELOADS")]
    for row in rows:
        counts = ["" if row[name] is None else f"{row[name]:,}" for name in ("calls", "reloads")]
        loaded = "yes" if row["loaded"] else "no"
        cells.append((printable(row["name"]), printable(row["version"]), loaded, counts[0], counts[1]))
    if not any(line[3] for line in cells[1:]):
        cells = [(*line[:3], "", "") for line in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def summary(total: Mapping[str, int]) -> str:
    return (
        f"All scripts: {total['calls']:,} calls, {total['failures']:,} failed, "
        f"{total['reloads']:,} of scripts that Redis had forgotten"
    )
