"""`sidekiq-lua slowlog`: what took Redis long, with the names of scripts."""

from __future__ import annotations

import json
from typing import Any

import click

from .boot import CONTEXT, boot, shared_options
from .report import Session
from .text import utc


@click.command("slowlog", context_settings=CONTEXT)
@click.option("-n", "count", type=click.IntRange(1, 100_000), default=20, help="How many. Default: 20.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared_options
@click.pass_obj
def command(session: Session, /, count: int, as_json: bool, verbose: bool, **options: Any) -> None:
    """Show what took Redis long, the newest first: SLOWLOG with scripts by name, and jids.

    Redis notes what takes over `slowlog-log-slower-than` microseconds, and 128 characters of each argument:
    a jid further back is missing.

    \b
    Examples:
      sidekiq-lua slowlog
      sidekiq-lua slowlog -n 100 --json
    """
    session.command = "sidekiq-lua slowlog"
    session.verbose = verbose
    app = boot(**options, settings={}, server=False)
    from ..store import heard
    from . import shown

    scripts = heard.names(app.transport(), app.store)
    entries = [heard.slow(entry, scripts) for entry in app.transport().command("SLOWLOG", "GET", count)]
    if as_json:
        found = [
            {"id": e.number, "at": e.at, "micros": e.micros, "client": e.client, **shown.plain(e.called)}
            for e in entries
        ]
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    lines = [f"{utc(e.at)}  {e.micros / 1000:>10,.3f}ms  {shown.sentence(e.called)}" for e in entries]
    click.echo("\n".join(lines) or "The slow log is empty.")
