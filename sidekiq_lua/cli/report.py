"""Errors as one line on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable


class Session:
    """What one run of the command line was asked for."""

    def __init__(self) -> None:
        self.verbose = False
        self.command = "sidekiq-lua"
        self.prints_answers = True
        """Whether the command has failed if its output could not be written."""
        self.told: Callable[[str, int], None] | None = None
        """Who else is to hear of a failure: its line and the exit code."""

    def fail(self, error: BaseException) -> None:
        """Say what went wrong, in one line; with `verbose`, after the traceback."""
        from .place import full, sentence

        if self.verbose:
            complain(full(error))
        line = describe(self.command, sentence(error))
        complain(line)
        if self.told:
            self.told(line, 1)


def describe(command: str, text: str) -> str:
    """`command: text`, in one line that no control character can break."""
    line = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    return f"{command}: {printable(line)}"


def printable(text: str) -> str:
    """The text with control characters and the like spelt out, for a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def complain(text: str, end: str = "\n") -> None:
    """Write to standard error, if there is one: the exit code tells the rest."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"{text}{end}")
        sys.stderr.flush()
    except (OSError, ValueError):
        return
