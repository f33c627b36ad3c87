"""The question before what cannot be undone, and the line that tells how far it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click

from .report import complain, printable

if TYPE_CHECKING:
    from ..api.bulk import Progress

F = TypeVar("F", bound=Callable[..., Any])

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask. Needed where no terminal is.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_STEP = 10_000
"""Jobs between two lines where standard error is no terminal."""


def must_be_answered(yes: bool) -> None:
    """Raises UsageError where a question would have to be asked and nobody is there to answer."""
    if not yes and not (sys.stdin is not None and sys.stdin.isatty()):
        raise click.UsageError("this asks before it acts, and there is no terminal: give --yes")


def be_sure(yes: bool, question: str) -> None:
    """Ask, on standard error. Raises SidekiqError if the answer is no, Abort if the terminal went away."""
    from ..errors import SidekiqError

    if not yes and not click.confirm(printable(question), err=True):
        raise SidekiqError("nothing was done")


class ProgressLine:
    """Tells on standard error how far an action on many jobs is: one line that is redrawn on a terminal,
    elsewhere a line every 10,000 jobs."""

    def __init__(self) -> None:
        self._redraws = sys.stderr is not None and sys.stderr.isatty()
        self._lines = 0

    def __call__(self, progress: Progress) -> None:
        line = f"{progress.seen:,} of {progress.total:,} jobs looked at, {progress.done:,} done"
        if self._redraws:
            self._lines = 1
            complain(f"\r{line}\x1b[K", "")
        elif progress.seen // _STEP > self._lines:
            self._lines = progress.seen // _STEP
            complain(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._redraws and self._lines:
            complain("")
