"""Progress on the standard error."""

from __future__ import annotations

import shutil
import sys

LINE_EVERY_S = 5.0


class Bar:
    """One line that changes; where the standard error is no terminal, a line every five seconds."""

    def __init__(self, files: int) -> None:
        self._files = files
        self._live = sys.stderr.isatty()
        self._next_s = 0.0
        self._open = False

    def show(self, succeeded: int, retrying: int, dead: int, elapsed_s: float) -> None:
        done = succeeded + dead
        text = f"{done:,} of {self._files:,} files, {dead} dead, {retrying} to be retried, {elapsed_s:.0f} s"
        if self._live:
            width = max(0, min(40, shutil.get_terminal_size().columns - len(text) - 4))
            full = width * done // self._files
            bar = f"[{'#' * full}{'.' * (width - full)}] " if width else ""
            print(f"\r\033[K{bar}{text}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif elapsed_s >= self._next_s:
            print(text, file=sys.stderr, flush=True)
            self._next_s = elapsed_s + LINE_EVERY_S

    def close(self) -> None:
        if self._open:
            print(file=sys.stderr, flush=True)
