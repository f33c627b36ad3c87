"""`sidekiq-lua metrics`: what ran, by class; or a page of figures for Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from .boot import CONTEXT, boot, shared_options
from .report import Session, printable

if TYPE_CHECKING:
    from ..api.metrics import Result
    from ..instance import Sidekiq


@click.command("metrics", context_settings=CONTEXT)
@click.argument("job_class", required=False, metavar="[CLASS]")
@click.option("--minutes", type=int, metavar="N", help="The last 1 to 480 minutes. Default: 60.")
@click.option("--hours", type=int, metavar="N", help="The last 1 to 72 hours instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--listen", metavar="HOST:PORT",
    help="Serve figures of Redis at http://HOST:PORT/metrics, for Prometheus, until interrupted.",
)  # fmt: skip
@shared_options
@click.pass_obj
def command(
    session: Session, /, job_class: str | None, minutes: int | None, hours: int | None, as_json: bool,
    listen: str | None, verbose: bool, **options: Any,
) -> None:  # fmt: skip
    """Show what ran, by class, the longest time in total first; of one CLASS also how long its runs took.

    --listen needs `pip install 'sidekiq-lua[prometheus]'`.

    \b
    Examples:
      sidekiq-lua metrics
      sidekiq-lua metrics ChargeJob --hours 24
      sidekiq-lua metrics --minutes 5 --json
      sidekiq-lua metrics --listen 127.0.0.1:9394
    """
    session.command = "sidekiq-lua metrics"
    session.verbose = verbose
    if listen is not None and (job_class or minutes or hours or as_json):
        raise click.UsageError("--listen takes neither a class nor a time nor --json")
    app = boot(**options, settings={}, server=False)
    if listen is not None:
        _serve(app, listen)
        return
    from ..instance import MetricsQuery

    query = MetricsQuery(app)
    if job_class is None:
        result = query.top_jobs(minutes=minutes, hours=hours)
    else:
        result = query.for_job(job_class, minutes=minutes, hours=hours)
    if as_json:
        click.echo(json.dumps(asdict(result), ensure_ascii=False))
        return
    click.echo("\n".join([*_table(result), *_histogram(result, job_class), *_marks(result)]))


def _serve(app: Sidekiq, address: str) -> None:
    import signal
    import threading

    from ..contrib.prometheus import serve

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with serve(app, address) as url:
        click.echo(f"Serving {url} until interrupted")
        ended.wait()


def _table(result: Result) -> Iterator[str]:
    rows = [("CLASS", "RUNS", "FAILED", "TOTAL", "AVERAGE")]
    found = sorted(result.job_results.items(), key=lambda item: -item[1].totals.get("s", 0))
    for name, job in found:
        totals = job.totals
        rows.append((
            printable(name), f"{totals.get('p', 0):,.0f}", f"{totals.get('f', 0):,.0f}",
            f"{totals.get('s', 0):,.3f}s", f"{job.total_avg('s'):,.3f}s",
        ))  # fmt: skip
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *cells in rows:
        yield name.ljust(first) + "".join(
            cell.rjust(width + 2) for cell, width in zip(cells, others, strict=True)
        )


def _histogram(result: Result, job_class: str | None) -> Iterator[str]:
    from ..api.metrics import LABELS

    if job_class is None or not result.job_results[job_class].hist:
        return
    sums = [sum(column) for column in zip(*result.job_results[job_class].hist.values(), strict=True)]
    yield ""
    for label, count in zip(LABELS, sums, strict=True):
        if count:
            yield f"{'under ' + label if label != 'Slow' else 'longer':>12}: {count:,}"


def _marks(result: Result) -> Iterator[str]:
    if result.marks:
        yield ""
    for mark in result.marks:
        yield f"{mark.time}  {printable(mark.label)}"
