"""`sidekiq-lua monitor --watch`: the same again and again, through an outage of Redis, until Ctrl-C."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from ..errors import RedisError
from .report import printable
from .text import utc

if TYPE_CHECKING:
    from ..clock import Clock

Document = dict[str, Any]
Moment = tuple[float, Document | RedisError]
"""Epoch seconds, and what there was then."""

_TOP, _LINE_END, _BELOW = "\x1b[H", "\x1b[K\n", "\x1b[J"


def watching(read: Callable[[], Document], clock: Clock, every_s: float) -> Iterator[Moment]:
    """What `read` answers, or the RedisError that it raises, every so many seconds, without end."""
    never = threading.Event()
    while True:
        try:
            found: Document | RedisError = read()
        except RedisError as error:
            found = error
        yield clock.now(), found
        never.wait(every_s)


def until_interrupted(show: Callable[[], None]) -> None:
    """Run `show` until SIGINT or SIGTERM, also in the middle of a wait for Redis."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        show()
    except KeyboardInterrupt:
        return


def as_lines(moments: Iterator[Moment], _: Callable[[Document], str]) -> None:
    """A line of JSON for each; in an outage with the field `error`, and without sections."""
    for now_s, found in moments:
        document = {"at": now_s, "error": str(found)} if isinstance(found, RedisError) else found
        click.echo(json.dumps(document, ensure_ascii=False))


def as_screens(moments: Iterator[Moment], text: Callable[[Document], str]) -> None:
    """On a terminal one screen that is redrawn, elsewhere one after the other with an empty line between.

    In an outage the terminal keeps the last that was known, under the message.
    """
    redraws = sys.stdout is not None and sys.stdout.isatty()
    last = ""
    for number, (now_s, found) in enumerate(moments):
        if isinstance(found, RedisError):
            message = printable(f"{utc(now_s)} UTC: {found}")
            screen = f"{message}\n\n{last}" if redraws and last else message
        else:
            screen = last = text(found)
        if redraws:
            click.echo(_drawn(screen, first=not number), nl=False)
        else:
            click.echo(f"\n{screen}" if number else screen)


def _drawn(screen: str, *, first: bool) -> str:
    """The escape codes that draw it over what is there, as much of it as the terminal has room for."""
    columns, rows = shutil.get_terminal_size()
    lines = screen.split("\n")
    if len(lines) > rows - 1:
        room = max(rows - 2, 0)
        lines = [*lines[:room], f"… and {len(lines) - room} more lines"]
    clear = "\x1b[2J" if first else ""
    return f"{clear}{_TOP}{''.join(line[:columns] + _LINE_END for line in lines)}{_BELOW}"
