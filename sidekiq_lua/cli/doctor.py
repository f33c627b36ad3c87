"""`sidekiq-lua doctor`: what is wrong with the data in Redis, and what to do about it."""

from __future__ import annotations

import json
from typing import Any

import click

from .boot import CONTEXT, boot, shared_options
from .report import Session, printable

_EXIT = {"ok": 0, "notice": 0, "warning": 3, "critical": 4}


@click.command("doctor", context_settings=CONTEXT)
@click.option(
    "--limit", default=10_000, show_default=True, help="Read at most so many jobs of a queue or set."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", "-Q", is_flag=True, help="Print only what is wrong.")
@shared_options
@click.pass_obj
def command(
    session: Session, /, limit: int, as_json: bool, quiet: bool, verbose: bool, **options: Any
) -> int:
    """Examine live data and the server, and say what is wrong and what to do about it. Nothing is written.

    Exit code: 0 healthy, or notices only; 3 for a warning, 4 where jobs are in danger.

    \b
    Examples:
      sidekiq-lua doctor
      sidekiq-lua doctor --json | jq '.[] | select(.level != "ok")'
      sidekiq-lua doctor --quiet || page-somebody
    """
    session.command = "sidekiq-lua doctor"
    session.verbose = verbose
    if limit < 2:
        raise click.UsageError(f"--limit must be at least 2, not {limit}")
    app = boot(**options, settings={}, server=False)
    from ..api.doctor import LEVELS, Doctor

    found = Doctor(app, limit).examine()
    worst = max((finding.level for finding in found), key=LEVELS.index)
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in found], ensure_ascii=False, indent=2))
        return _EXIT[worst]
    for finding in found:
        if finding.level == "ok" and quiet:
            continue
        click.echo(f"{finding.level:<9} {finding.check}: {printable(finding.verdict)}")
        if finding.remedy:
            click.echo(f"{'':<9} -> {printable(finding.remedy)}")
    return _EXIT[worst]
