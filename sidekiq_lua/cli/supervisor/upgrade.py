"""USR2: the supervisor becomes a new one, by exec, and keeps its pid and its processes.

First a trial loads the code in a process of its own, so that code that cannot be loaded changes nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .family import RETIRING, UP, Child
from .line import Line

TRIAL = "SIDEKIQ_LUA_TRIAL"
ADOPT = "SIDEKIQ_LUA_ADOPT"


@dataclass
class Inheritance:
    """What a supervisor was left by the one before it, numbers of open files among it."""

    children: list[list[int | str]] = field(default_factory=list)
    pidfile: int | None = None
    probe: int | None = None
    address: str = ""

    def adopted(self) -> list[Child]:
        """The processes that run already."""
        found = []
        for pid, number, fd, state in self.children:
            child = Child(int(pid), int(number), Line.inherited(int(fd)), state=str(state), old=True)
            found.append(child)
        return found


def is_trial(environ: MutableMapping[str, str]) -> bool:
    """Whether this process only finds out if everything can be loaded."""
    return environ.pop(TRIAL, "") == "1"


def inheritance(environ: MutableMapping[str, str]) -> Inheritance | None:
    """What the supervisor before this one has left to this process, if it was one."""
    text = environ.pop(ADOPT, "")
    left: dict[str, Any] = json.loads(text) if text else {}
    return Inheritance(**left["what"]) if left.get("pid") == os.getpid() else None


class Upgrade:
    """`directory`: where the command was started, by a name that may have come to mean another one since."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        around = os.environ if environ is None else environ
        here = Path.cwd()
        named = Path(around.get("PWD", ""))
        self._directory = named if named.is_absolute() and named.exists() and named.samefile(here) else here
        self._command = [sys.executable, *sys.orig_argv[1:]]
        self._trial: subprocess.Popen[bytes] | None = None

    @property
    def under_way(self) -> bool:
        return self._trial is not None

    @property
    def pids(self) -> list[int]:
        """The trial's process, while its verdict is not known."""
        return [self._trial.pid] if self._trial else []

    def begin(self) -> None:
        """Start the trial. Raises OSError."""
        self._trial = subprocess.Popen(
            self._command, cwd=self._directory, env={**os.environ, TRIAL: "1"}, stdin=subprocess.DEVNULL
        )

    def verdict(self) -> int | None:
        """The trial's exit code, once, when it has ended."""
        code = self._trial.poll() if self._trial else None
        if code is not None:
            self._trial = None
        return code

    def cancel(self) -> None:
        if self._trial:
            self._trial.kill()
            self._trial.wait()
            self._trial = None

    def go(
        self, children: Iterable[Child], pidfile: int | None, probe: int | None, address: str,
        environ: Mapping[str, str], held: Iterable[str],
    ) -> None:  # fmt: skip
        """Become the new supervisor; `environ` is added to the environment, the signals `held` wait until
        there are handlers for them. Returns only by OSError."""
        kept: list[list[int | str]] = []
        for child in children:
            child.line.set_inheritable()
            state = child.state if child.state == RETIRING else UP
            kept.append([child.pid, child.number, child.line.fileno(), state])
        if pidfile is not None:
            os.set_inheritable(pidfile, True)
        what = {"children": kept, "pidfile": pidfile, "probe": probe, "address": address}
        left = json.dumps({"pid": os.getpid(), "what": what})
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.Signals[f"SIG{name}"] for name in held])
        os.chdir(self._directory)
        os.execve(self._command[0], self._command, {**os.environ, **environ, ADOPT: left})
