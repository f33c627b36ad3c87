"""`sidekiq-lua trace`: what Redis is asked, live, with the names of scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from .boot import CONTEXT, boot, shared_options
from .report import Session

if TYPE_CHECKING:
    from ..store.heard import Line, Named


@click.command("trace", context_settings=CONTEXT)
@click.option("--seconds", type=click.FloatRange(min=0.001), metavar="N", help="Default: until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each.")
@shared_options
@click.pass_obj
def command(session: Session, /, seconds: float | None, as_json: bool, verbose: bool, **options: Any) -> None:
    """Show what Redis is asked, live: MONITOR with scripts by name, their keys and jids.

    The commands that a script runs stand indented under it. MONITOR takes a busy server a good part of its
    speed, and shows what everyone sends.

    \b
    Examples:
      sidekiq-lua trace
      sidekiq-lua trace --seconds 5 --json
    """
    session.command = "sidekiq-lua trace"
    session.verbose = verbose
    app = boot(**options, settings={}, server=False)
    from ..store import heard

    scripts = heard.names(app.transport(), app.store)
    write = as_objects if as_json else as_text
    try:
        for text in write(heard.listen(app.transport(), seconds), scripts):
            click.echo(text)
    except KeyboardInterrupt:
        return


def as_text(lines: Iterable[Line | None], scripts: Mapping[str, Named]) -> Iterator[str]:
    """A line for each command, those of a script indented under it."""
    from ..store import heard
    from .shown import sentence

    for line in lines:
        if line is None:
            continue
        said = sentence(heard.called(line.words, scripts))
        if line.sender == "lua":
            yield f"{'':17}{said}"
        else:
            yield f"{datetime.fromtimestamp(line.at, UTC):%H:%M:%S.%f}  {said}"


def as_objects(lines: Iterable[Line | None], scripts: Mapping[str, Named]) -> Iterator[str]:
    """A line of JSON for each command; a script's has its own commands in `inner`."""
    from ..store import heard
    from .shown import plain

    last: dict[str, Any] | None = None
    for line in lines:
        if line is not None and line.sender == "lua" and last is not None:
            last["inner"].append([word.decode("utf-8", "replace") for word in line.words])
            continue
        if last is not None:
            yield json.dumps(last, ensure_ascii=False)
        last = None
        if line is not None:
            call = plain(heard.called(line.words, scripts))
            last = {"at": line.at, "db": line.db, "client": line.sender, **call, "inner": []}
    if last is not None:
        yield json.dumps(last, ensure_ascii=False)
