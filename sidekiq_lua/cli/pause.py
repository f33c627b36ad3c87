"""`sidekiq-lua pause` and `unpause`: queues, and job classes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from .ask import json_option
from .boot import CONTEXT, boot, shared_options
from .report import Session, printable
from .text import jobs

if TYPE_CHECKING:
    from ..instance import Sidekiq

_classes = click.option("--class", "classes", metavar="CLASS", multiple=True, help="A job class. Repeatable.")


@click.command("pause", context_settings=CONTEXT)
@click.argument("names", nargs=-1, metavar="[QUEUE...]")
@_classes
@json_option
@shared_options
@click.pass_obj
def pause(
    session: Session, /, names: tuple[str, ...], classes: tuple[str, ...], as_json: bool, verbose: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Let no worker start jobs of queues or of classes; without either, list what is paused.

    Jobs that run go on. Workers obey at once for a queue; for a class at their next heartbeat, within 10
    seconds, and then put its jobs aside (sidekiq-lua jobs held:CLASS). Ruby's open-source workers
    do not obey.

    \b
    Examples:
      sidekiq-lua pause
      sidekiq-lua pause mail billing
      sidekiq-lua pause --class ChargeJob --json
    """
    session.command = "sidekiq-lua pause"
    if names or classes:
        pause_queues(session, names, True, as_json, verbose, classes, **options)
        return
    session.verbose = verbose
    found = _paused(boot(**options, settings={}, server=False))
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    lines = [f"queue {queue['name']}: {jobs(queue['size'])} waiting" for queue in found["queues"]]
    lines += [f"class {kind['name']}: {jobs(kind['held'])} put aside" for kind in found["classes"]]
    click.echo("\n".join(map(printable, lines)) or "Nothing is paused.")


@click.command("unpause", context_settings=CONTEXT)
@click.argument("names", nargs=-1, metavar="[QUEUE...]")
@_classes
@json_option
@shared_options
@click.pass_obj
def unpause(session: Session, /, names: tuple[str, ...], classes: tuple[str, ...], **options: Any) -> None:
    """Let workers start jobs of queues or of classes again.

    The jobs of a class that were put aside go back to the front of their queues, the oldest first.

    \b
    Examples:
      sidekiq-lua unpause mail billing
      sidekiq-lua unpause --class ChargeJob --json
    """
    session.command = "sidekiq-lua unpause"
    if not names and not classes:
        raise click.UsageError(
            "name a queue, or a class with --class; sidekiq-lua pause lists what is paused"
        )
    pause_queues(session, names, False, classes=classes, **options)


def pause_queues(
    session: Session, names: tuple[str, ...], on: bool, as_json: bool, verbose: bool,
    classes: tuple[str, ...] = (), **options: Any,
) -> None:  # fmt: skip
    """Pause queues and classes, or let them go on; nothing if a queue is unknown. Raises SidekiqError."""
    session.verbose = verbose
    app = boot(**options, settings={}, server=False)
    from ..instance import PausedClass, Queue
    from .places import known_queue

    queues = [Queue(known_queue(app, name), app) for name in dict.fromkeys(names)]
    kinds = [PausedClass(name, app) for name in dict.fromkeys(classes)]
    results: list[dict[str, Any]] = []
    for queue in queues:
        changed = queue.pause() if on else queue.unpause()
        results.append({"queue": queue.name, "paused": on, "changed": changed})
        _tell(as_json, f"queue {queue.name}", on, changed)
    for kind in kinds:
        was = kind.paused
        returned = 0
        if on:
            kind.pause()
        else:
            returned = kind.resume()
        changed = was != on
        results.append({"class": kind.name, "paused": on, "changed": changed, "returned": returned})
        more = f"; {jobs(returned)} put back" if returned else ""
        _tell(as_json, f"class {kind.name}", on, changed, more)
    if as_json:
        click.echo(json.dumps(results, ensure_ascii=False))


def _tell(as_json: bool, what: str, on: bool, changed: bool, more: str = "") -> None:
    if not as_json:
        now, before = ("is paused", "was paused already") if on else ("goes on", "was not paused")
        click.echo(printable(f"{what} {now if changed else before}{more}."))


def _paused(app: Sidekiq) -> dict[str, list[dict[str, Any]]]:
    from ..api.pages import paused_names
    from ..instance import PausedClass, Queue

    queues = [Queue(name, app) for name in paused_names(app)]
    return {
        "queues": [{"name": queue.name, "size": queue.size} for queue in queues],
        "classes": [{"name": kind.name, "held": len(kind)} for kind in PausedClass.all(app) if kind.paused],
    }
