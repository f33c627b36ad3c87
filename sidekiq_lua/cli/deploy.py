"""`sidekiq-lua deploy`: a mark in the graphs of the metrics."""

from __future__ import annotations

import json
from typing import Any

import click

from .boot import CONTEXT, boot, shared_options
from .report import Session, printable


@click.command("deploy", context_settings=CONTEXT)
@click.argument("label", required=False, metavar="[LABEL]")
@click.option("--list", "listing", is_flag=True, help="Show the marks of today (UTC) instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared_options
@click.pass_obj
def command(
    session: Session, /, label: str | None, listing: bool, as_json: bool, verbose: bool, **options: Any
) -> None:
    """Mark a deploy, now, in the graphs of the metrics.

    Without LABEL the mark has the short hash and the subject of the last git commit of the current directory.
    A minute has one mark, the first; the same label is marked once in 60 seconds, so that each process of a
    deploy may run this.

    \b
    Examples:
      sidekiq-lua deploy                    as git log names it
      sidekiq-lua deploy "v2.1 to eu-west"
      sidekiq-lua deploy --list --json
    """
    session.command = "sidekiq-lua deploy"
    session.verbose = verbose
    if listing and label is not None:
        raise click.UsageError("--list takes no label")
    app = boot(**options, settings={}, server=False)
    from ..instance import Deploy

    deploy = Deploy(app)
    if listing:
        marks = deploy.fetch()
        lines = [f"{stamp}  {printable(text)}" for stamp, text in marks.items()]
        click.echo(
            json.dumps(marks, ensure_ascii=False) if as_json else "\n".join(lines) or "No marks today."
        )
        return
    if label is None:
        from ..api.deploy import git_label

        label = git_label()
    marked = deploy.mark(label)
    if as_json:
        click.echo(json.dumps({"label": label, "marked": marked}, ensure_ascii=False))
    elif marked:
        click.echo(f"Marked: {printable(label)}")
    else:
        click.echo(
            f"Not marked: this minute has a mark, or this label was marked just now: {printable(label)}"
        )
