"""`sidekiq-lua profiles`: how jobs spent their time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .boot import CONTEXT, boot, shared_options
from .report import Session, printable
from .text import utc

if TYPE_CHECKING:
    from ..api.profiles import ProfileRecord
    from ..instance import ProfileSet


@click.group("profiles", context_settings=CONTEXT, invoke_without_command=True)
@click.pass_context
def command(context: click.Context, /) -> None:
    """List and export the profiles of jobs.

    A job is profiled whose option `profile` is set: `ChargeJob.set(profile="slow").perform_async(1)`. Its
    worker needs `pip install 'sidekiq-lua[profile]'`. Profiles are kept for a day.

    \b
    Examples:
      sidekiq-lua profiles
      sidekiq-lua profiles list --json
      sidekiq-lua profiles export slow -o slow.json.gz        for https://profiler.firefox.com
      sidekiq-lua profiles export slow -o slow.json --format speedscope
    """
    context.obj.command = "sidekiq-lua profiles"
    if context.invoked_subcommand is None:
        context.invoke(list_profiles, **dict.fromkeys(("app", "config", "environment")), modules=())


def _profiles(session: Session, verbose: bool, options: dict[str, Any]) -> ProfileSet:
    session.verbose = verbose
    app = boot(**options, settings={}, server=False)
    from ..instance import ProfileSet

    return ProfileSet(app)


@command.command("list", context_settings=CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared_options
@click.pass_obj
def list_profiles(session: Session, /, as_json: bool = False, verbose: bool = False, **options: Any) -> None:
    """List them, the newest first.

    \b
    Examples:
      sidekiq-lua profiles list
      sidekiq-lua profiles list --json
    """
    records = list(_profiles(session, verbose, options))
    if as_json:
        click.echo(json.dumps([_json(record) for record in records], ensure_ascii=False))
    elif not records:
        click.echo("No profiles are kept.")
    else:
        rows = [("STARTED", "ELAPSED", "SIZE", "CLASS", "NAME"), *map(_row, records)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            click.echo("  ".join(cells).rstrip())


def _row(record: ProfileRecord) -> tuple[str, ...]:
    cells = (utc(record.started_at), f"{record.elapsed:.3f}s", f"{record.size:,}", record.type, record.name)
    return tuple(printable(cell) for cell in cells)


def _json(record: ProfileRecord) -> dict[str, Any]:
    names = ("name", "token", "jid", "type", "started_at", "elapsed", "size", "ends_at")
    return {name: getattr(record, name) for name in names}


@command.command(context_settings=CONTEXT)
@click.argument("name", metavar="TOKEN|JID|TOKEN-JID")
@click.option("-o", "--output", metavar="FILE", required=True, type=click.Path(dir_okay=False))
@click.option(
    "--format", "form", type=click.Choice(["firefox", "speedscope"]), default="firefox",
    help="firefox (default): gzipped JSON as it is stored, for https://profiler.firefox.com; "
    "speedscope: JSON for https://www.speedscope.app",
)  # fmt: skip
@shared_options
@click.pass_obj
def export(session: Session, /, name: str, output: str, form: str, verbose: bool, **options: Any) -> None:
    """Write one to a file.

    \b
    Examples:
      sidekiq-lua profiles export slow -o slow.json.gz
      sidekiq-lua profiles export slow-2bfbbd5a2b2bca6f5b76a7ad -o slow.json --format speedscope
    """
    from ..errors import SidekiqError

    found = _profiles(session, verbose, options).find(name)
    if len(found) != 1:
        names = ", ".join(record.name for record in found)
        raise SidekiqError(
            f"{len(found)} profiles are called {name!r}, name one of them: {names}"
            if found
            else f"there is no profile {name!r}, see sidekiq-lua profiles list"
        )
    (record,) = found
    if form == "speedscope":
        text = json.dumps(record.speedscope(), separators=(",", ":"))
        Path(output).write_text(text, "utf-8")
    else:
        Path(output).write_bytes(record.data())
    click.echo(f"Wrote {printable(output)} ({printable(record.type)}, {record.elapsed:.3f}s)")
