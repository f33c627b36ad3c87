"""`--logfile`: where standard output and standard error go, also what jobs and libraries print."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from ..errors import ConfigurationError


def fill_streams() -> None:
    """Open what whoever started this process has closed of descriptors 0 to 2 (`<&- >&- 2>&-`).

    A connection would get such a number, and what is printed there or pointed to a log file would hit it.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(fd, True)
    if sys.stdout is None:
        sys.stdout = _stream(1)
    if sys.stderr is None:
        sys.stderr = _stream(2)


def _stream(fd: int) -> TextIO:
    return os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


class LogFile:
    """Points descriptors 1 and 2 to the end of `path`. Raises ConfigurationError where it cannot be written.

    Several processes may share the file: it is opened for appending, and each line is one write.
    """

    def __init__(self, path: str | Path) -> None:
        # The current directory may be another one when the file is opened again.
        self.path = Path(path).absolute()
        if not self.path.parent.is_dir():
            raise ConfigurationError(
                f"--logfile {self.path}: there is no directory {self.path.parent}; make it"
            )

    def open(self) -> None:
        """Open it, or open it again after something has moved it away. Raises ConfigurationError."""
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigurationError(f"--logfile {self.path}: {error.strerror or error}") from None
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with suppress(OSError):  # the old file's disk may be full, which is why there is a new one
                    stream.flush()
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)
