"""`sidekiq-lua queues`: what waits, and what is to be done with a queue as a whole."""

from __future__ import annotations

import json
from typing import Any

import click

from .ask import be_sure, json_option, must_be_answered, yes_option
from .boot import CONTEXT, boot, shared_options
from .pause import pause_queues
from .report import Session, printable
from .text import jobs, table


@click.group("queues", context_settings=CONTEXT, invoke_without_command=True)
@json_option
@shared_options
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """List the queues; clear, pause or unpause some.

    \b
    Examples:
      sidekiq-lua queues
      sidekiq-lua queues list --json
      sidekiq-lua queues clear low
      sidekiq-lua queues pause mail billing
    """
    context.obj.command = "sidekiq-lua queues"
    name = context.invoked_subcommand
    if name is None:
        context.invoke(list_queues, **options)
        return
    for parameter in context.command.params:
        # The subcommand has options of its own: one that was dropped here could mean another Redis.
        if options.get(parameter.name or ""):
            raise click.UsageError(f"give {parameter.opts[-1]} after {name}, not before it")


@command.command("list", context_settings=CONTEXT)
@json_option
@shared_options
@click.pass_obj
def list_queues(session: Session, /, as_json: bool, verbose: bool, **options: Any) -> None:
    """List them by name: how many jobs wait, and how many seconds the oldest has waited.

    \b
    Examples:
      sidekiq-lua queues list
      sidekiq-lua queues list --json | jq '.[] | select(.latency > 60)'
    """
    session.verbose = verbose
    app = boot(**options, settings={}, server=False)
    from ..instance import Stats

    found = sorted(Stats(app).queue_summaries)
    if as_json:
        click.echo(json.dumps([queue._asdict() for queue in found], ensure_ascii=False))
    elif not found:
        click.echo("No queues.")
    else:
        rows = [("NAME", "SIZE", "LATENCY", "")]
        rows += [
            (
                printable(queue.name),
                f"{queue.size:,}",
                f"{queue.latency:,.2f}",
                "paused" if queue.paused else "",
            )
            for queue in found
        ]
        click.echo("\n".join(table(rows, right={1, 2})))


@command.command(context_settings=CONTEXT)
@click.argument("names", nargs=-1, required=True, metavar="QUEUE...")
@yes_option
@json_option
@shared_options
@click.pass_obj
def clear(
    session: Session, /, names: tuple[str, ...], yes: bool, as_json: bool, verbose: bool, **options: Any
) -> None:
    """Delete all jobs that wait in queues, and forget the queues' names. Asks first.

    \b
    Examples:
      sidekiq-lua queues clear low
      sidekiq-lua queues clear low reports --yes --json
    """
    session.command = "sidekiq-lua queues clear"
    session.verbose = verbose
    must_be_answered(yes)
    app = boot(**options, settings={}, server=False)
    from ..instance import Queue
    from .places import known_queue

    queues = [Queue(known_queue(app, name), app) for name in dict.fromkeys(names)]
    sizes = ", ".join(f"{queue.size:,} in {queue.name}" for queue in queues)
    be_sure(yes, f"Delete all jobs of {'these queues' if len(queues) > 1 else 'this queue'}: {sizes}?")
    results = []
    for queue in queues:
        count = queue.clear()
        results.append({"queue": queue.name, "deleted": count})
        if not as_json:
            click.echo(f"Deleted {jobs(count)} of {printable(queue.name)}.")
    if as_json:
        click.echo(json.dumps(results, ensure_ascii=False))


@command.command(context_settings=CONTEXT)
@click.argument("names", nargs=-1, required=True, metavar="QUEUE...")
@json_option
@shared_options
@click.pass_obj
def pause(session: Session, /, names: tuple[str, ...], **options: Any) -> None:
    """Let no worker take from queues; see sidekiq-lua pause.

    \b
    Examples:
      sidekiq-lua queues pause mail billing
      sidekiq-lua queues pause mail --json
    """
    session.command = "sidekiq-lua queues pause"
    pause_queues(session, names, True, **options)


@command.command(context_settings=CONTEXT)
@click.argument("names", nargs=-1, required=True, metavar="QUEUE...")
@json_option
@shared_options
@click.pass_obj
def unpause(session: Session, /, names: tuple[str, ...], **options: Any) -> None:
    """Let workers take from queues again; see sidekiq-lua unpause.

    \b
    Examples:
      sidekiq-lua queues unpause mail billing
      sidekiq-lua queues unpause mail --json
    """
    session.command = "sidekiq-lua queues unpause"
    pause_queues(session, names, False, **options)
