"""Starts and feeds the process that stands in for this one's heartbeat: see standin.py."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..clock import monotonic
from .marks import Marks
from .standin import BEAT, BYE

if TYPE_CHECKING:
    from ..app import App

_NOTE_TTL_S = 86_400
_AGAIN_AFTER_S = 60.0
_ROOT = str(Path(__file__).parents[2])
_PROGRAM = "import sys; sys.path.append(sys.argv[3]); from sidekiq_lua.worker.standin import main; main()"
"""Run with -P, so that a file of the application that is called signal.py, say, is not taken for Python's."""


def is_python() -> bool:
    """Whether `sys.executable` is a Python, and not a program that has one built in."""
    return Path(sys.executable or "").name.lower().startswith(("python", "pypy"))


class Understudy:
    """The stand-in of one worker. Where it cannot be started the worker goes on without one."""

    def __init__(self, app: App, identity: str, marks: Marks, log: logging.Logger) -> None:
        config = app.config
        self._marks = marks
        self._log = log
        self._spec = {
            "identity": identity,
            "interval": config.heartbeat_interval,
            "ttl": config.heartbeat_ttl,
            "note_ttl": _NOTE_TTL_S,
            "marks": marks.size,
            "server": app.transport().endpoint.plain(),
            "scripts": app.store.owners.standin_scripts(identity),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._outdated = False

    def start(self) -> None:
        self._started = monotonic()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(os.getpid()), str(self._marks.fd), _ROOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[self._marks.fd],
                start_new_session=True,
            )
            self._write(json.dumps(self._spec).encode() + b"\n")
        except OSError as error:
            self._process = None
            self._log.warning("no stand-in for the heartbeat could be started: %s", error)

    def beat(self) -> None:
        """Tell the stand-in that a beat has gone out."""
        if self._outdated:
            self._outdated = False
            self.end()
            self.start()
            return
        if self._write(BEAT) or monotonic() - self._started < _AGAIN_AFTER_S:
            return
        self._log.warning("the stand-in for the heartbeat has ended, another one starts")
        self.end()
        self.start()

    def renew(self) -> None:
        """Have another one at the next beat: this one keeps the log file of before, even a deleted one."""
        self._outdated = True

    def end(self, timeout_s: float = 2.0) -> None:
        """Say goodbye, so that it does not take the end for a death."""
        self._write(BYE)
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with suppress(BrokenPipeError):  # it may be gone already
                process.stdin.close()
            try:
                process.wait(min(timeout_s, 2.0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _write(self, what: bytes) -> bool:
        if self._process is None or self._process.stdin is None:
            return False
        try:
            self._process.stdin.write(what)
            self._process.stdin.flush()
        except OSError:
            return False
        return True
