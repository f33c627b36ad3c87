"""`sidekiq-lua jobs`: the jobs of a queue or set, and one of them whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from .ask import json_option
from .boot import CONTEXT, boot, shared_options
from .places import SETS, Filters, Found, checked, every, find_each, place_of, records
from .report import Session, complain, printable
from .text import cut, table, utc

if TYPE_CHECKING:
    from ..api.record import JobRecord

_AT = {"scheduled": "due", "retry": "due", "dead": "died", "running": "began"}


@click.command("jobs", context_settings=CONTEXT)
@click.argument(
    "place", required=False, callback=place_of("queue:", *SETS, "held:", "running"), metavar="[PLACE]"
)
@click.option("--jid", metavar="JID", help="Show this one whole, wherever it is if no PLACE is given.")
@click.option("--class", "job_class", metavar="CLASS", help="Those of a class; also what an ActiveJob wraps.")
@click.option("--tag", metavar="TAG", help="Those with a tag.")
@click.option("--text", metavar="TEXT", help="Those with a text in their JSON; a * stands for anything.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=50,
    metavar="N",
    help="Show at most N; 0: all. Default: 50.",
)
@json_option
@shared_options
@click.pass_obj
def command(
    session: Session, /, place: str | None, jid: str | None, job_class: str | None, tag: str | None,
    text: str | None, limit: int, as_json: bool, verbose: bool, **options: Any,
) -> None:  # fmt: skip
    """List jobs, or show one whole. Reads Redis and writes nothing.

    PLACE is queue:NAME, scheduled, retry, dead, running, or held:CLASS for the jobs that were put aside since
    their class is paused. Without it: all of these but running. The newest come first, in a set the latest.

    --json prints a line of JSON for each job: its place, `at` (epoch seconds: when it is due, died, began or
    was enqueued), the process that runs it, its backtrace if one was kept, and the whole job.

    \b
    Examples:
      sidekiq-lua jobs queue:mail
      sidekiq-lua jobs retry --class ChargeJob --limit 0
      sidekiq-lua jobs dead --tag billing --text 'card_*declined'
      sidekiq-lua jobs --jid 2bfbbd5a2b2bca6f5b76a7ad
      sidekiq-lua jobs dead --json | jq -r .job.error_message | sort | uniq -c
    """
    session.command = "sidekiq-lua jobs"
    session.verbose = verbose
    filters = Filters(job_class, tag, text)
    if jid is not None and filters.given:
        raise click.UsageError("--jid names one job, and takes no filter")
    app = boot(**options, settings={}, server=False)
    if jid is not None:
        (found,) = find_each(app, [jid], checked(app, place) if place else [*every(app), "running"])
        click.echo(json.dumps(as_dict(found), ensure_ascii=False) if as_json else "\n".join(_whole(found)))
        return
    every_one = chain.from_iterable(records(app, name, filters) for name in checked(app, place))
    chosen = islice(every_one, limit) if limit else every_one
    if as_json:
        for found in chosen:
            click.echo(json.dumps(as_dict(found), ensure_ascii=False))
    else:
        shown = list(chosen)
        click.echo("\n".join(_lines(shown, place is None)) if shown else "No jobs.")
    if limit and next(every_one, None):
        complain(f"There are more: --limit 0 shows all, and this showed {limit}.")


def as_dict(found: Found) -> dict[str, Any]:
    """A job for JSON. What is no job has `job` null, and its text in `raw`."""
    record = found.record
    fields: dict[str, Any] = {"place": found.place, "at": found.at, "jid": record.jid}
    if found.process:
        fields["process"] = found.process
    if record.error_backtrace:
        fields["backtrace"] = record.error_backtrace
    if record.item:
        return {**fields, "job": record.item}
    return {**fields, "job": None, "raw": record.value.decode("utf-8", "backslashreplace")}


def _lines(shown: list[Found], with_place: bool) -> Iterator[str]:
    failed = any(found.record.error_class for found in shown)
    rows = [
        ["AT", "JID", *(["PLACE"] if with_place else []), "CLASS", "ARGS", *(["ERROR"] if failed else [])]
    ]
    for found in shown:
        record = found.record
        row = [_time(found.at), record.jid or "none"]
        if with_place:
            row.append(found.place)
        row += [record.display_class or "none", cut(_args(record), 60)]
        if failed:
            row.append(cut(_error(record), 60))
        rows.append([printable(cell) for cell in row])
    return table(rows)


def _whole(found: Found) -> Iterator[str]:
    record = found.record
    where = f"{found.place} of {found.process}" if found.process else found.place
    fields = {
        "jid": record.jid,
        "place": where,
        _AT.get(found.place, "enqueued"): _time(found.at),
        "class": record.display_class,
        "args": _args(record),
        "queue": record.queue,
        "tags": ", ".join(map(str, record.tags)),
        "created": _time(record.created_at.timestamp()) if record.created_at else None,
        "error": _error(record),
        "failed": _time(record.failed_at.timestamp()) if record.failed_at else None,
        "retried": _time(record.retried_at.timestamp()) if record.retried_at else None,
    }
    known = {"jid", "class", "wrapped", "args", "queue", "tags", "created_at", "enqueued_at", "failed_at",
             "retried_at", "error_class", "error_message", "error_backtrace"}  # fmt: skip
    fields.update({name: json.dumps(value, ensure_ascii=False)
                   for name, value in record.item.items() if name not in known})  # fmt: skip
    shown = {name: value for name, value in fields.items() if value}
    width = max(map(len, shown))
    for name, value in shown.items():
        yield printable(f"{name:>{width}}: {value}")
    for line in record.error_backtrace or []:
        yield printable(f"{'':{width}}  {line}")


def _args(record: JobRecord) -> str:
    return json.dumps(record.display_args, ensure_ascii=False)


def _error(record: JobRecord) -> str:
    return f"{record.error_class}: {record.error_message or ''}".rstrip(": ") if record.error_class else ""


def _time(at: float | None) -> str:
    try:
        return utc(at) if at is not None else "unknown"
    except (OverflowError, OSError, ValueError):
        return "unknown"
