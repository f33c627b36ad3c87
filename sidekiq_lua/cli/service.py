"""What surrounds a worker: the background, its log file, its pid file, and who hears that it runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click

from ..errors import ConfigurationError
from .report import Session, complain
from .supervisor.upgrade import inheritance, is_trial

if TYPE_CHECKING:
    from .pidfile import PidFile

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = [
    click.option(
        "-P", "--pidfile", metavar="FILE", help="Holds the pid; refused while another worker holds it."
    ),
    click.option("-L", "--logfile", metavar="FILE", help="Where output goes; USR1 opens it again."),
    click.option("-d", "--daemonize", is_flag=True, help="Return when it has booted; needs --logfile."),
]


def service_options(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Service:
    """Raises ConfigurationError for files that cannot be had. `with` gives the pid file back at the end."""

    def __init__(self, session: Session, pidfile: str | None, logfile: str | None, background: bool) -> None:
        self.is_trial = is_trial(os.environ)
        self.left = inheritance(os.environ)
        self._log = None
        self._birth = None
        self.pidfile: PidFile | None = None
        if background and logfile is None:
            raise ConfigurationError(
                "--daemonize needs --logfile FILE: a worker in the background has no terminal to write to"
            )
        if logfile is not None:
            from .logfile import LogFile

            self._log = LogFile(logfile)
        if self.is_trial:
            return
        if background and self.left is None and self._log is not None:
            from .daemon import daemonize

            self._birth = daemonize(str(self._log.path))
            session.told = self._birth.failed
        try:
            self.reopen()
        except ConfigurationError as error:
            if not self.left:
                raise
            # The processes of the supervisor before this one run, and would end with it.
            complain(f"{session.command}: the log goes on where it was: {error}")
        if pidfile is not None:
            from .pidfile import PidFile

            self.pidfile = PidFile(pidfile, self.left.pidfile if self.left else None)

    def reopen(self) -> None:
        """Open the log file, again if it was moved away. Raises ConfigurationError."""
        if self._log:
            self._log.open()

    def booted(self) -> None:
        """Let the command that has started a worker in the background return."""
        if self._birth:
            self._birth.booted()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the pid file back."""
        if self.pidfile:
            self.pidfile.release()
            self.pidfile = None
