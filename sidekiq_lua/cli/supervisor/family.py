"""The processes of a supervisor: born, heard, told, buried."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ...clock import monotonic
from .figures import Sum
from .line import Line

BOOTING, UP, RETIRING, STOPPING = "booting", "up", "retiring", "stopping"


@dataclass(eq=False)
class Child:
    """One process. `number` is its place, 0 and up; `old`: it runs what the supervisor ran before."""

    pid: int
    number: int
    line: Line
    state: str = BOOTING
    old: bool = False
    born: float = field(default_factory=monotonic)
    heard_at: float = field(default_factory=monotonic)
    kill_at: float | None = None
    report: dict[str, Any] = field(default_factory=dict)
    failure: str = ""
    """Why it could not boot, in its own words."""

    @property
    def age_s(self) -> float:
        return monotonic() - self.born

    def tell(self, what: str) -> bool:
        """Give it an order: quiet, retire, stop, force, dump or reopen."""
        return self.line.say(do=what)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class Family:
    """All that live. `run` is what a child does: it gets its end of the line and its number, and returns its
    exit code; it begins with the signals `held` blocked. The calling process must have one thread. `others`:
    processes beside these whose ends somebody else asks for."""

    def __init__(
        self, run: Callable[[Line, int], int], held: Iterable[str], others: Callable[[], Iterable[int]]
    ) -> None:
        self._run = run
        self._others = others
        self._held = [signal.Signals[f"SIG{name}"] for name in held]
        self.children: list[Child] = []
        self.sum = Sum()

    def __iter__(self) -> Iterator[Child]:
        return iter(self.children.copy())

    def __len__(self) -> int:
        return len(self.children)

    def adopt(self, child: Child) -> None:
        child.line.set_blocking(False)
        self.children.append(child)

    def bear(self, number: int) -> Child:
        """Fork. In the child this does not return. Raises OSError where the system has no process left."""
        ours, theirs = Line.pair()
        former = signal.pthread_sigmask(signal.SIG_BLOCK, self._held)
        try:
            pid = os.fork()
            if not pid:
                self._live(ours, theirs, number)
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
            theirs.close()
        child = Child(pid, number, ours)
        self.adopt(child)
        return child

    def _live(self, ours: Line, theirs: Line, number: int) -> NoReturn:
        code = 1
        try:
            ours.close()
            self.hang_up()
            code = self._run(theirs, number)
        finally:
            os._exit(code)

    def hang_up(self) -> None:
        """In a forked process: a sibling must not seem to have a supervisor for as long as this one lives."""
        for child in self.children:
            child.line.close()

    def bury(self) -> list[tuple[Child, int]]:
        """Those that have died since, with their exit codes; negative is a signal."""
        dead = []
        for child in self:
            try:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:  # somebody's code has waited for every child there is
                pid, status = child.pid, 0
            if pid:
                for _ in self.listen(child):
                    continue
                child.line.close()
                self.children.remove(child)
                dead.append((child, os.waitstatus_to_exitcode(status)))
        if os.getpid() == 1:
            self._bury_strangers()
        return dead

    def listen(self, child: Child) -> Iterator[dict[str, Any]]:
        """What a child says, also noted in `child`."""
        for word in child.line.hear():
            child.heard_at = monotonic()
            child.failure = word.get("failed", child.failure)
            if "ran" in word:
                self.sum.add(word.pop("ran"))
            if "busy" in word:
                child.report = word
            yield word

    def _bury_strangers(self) -> None:
        """The first process of a container inherits those whose parents have died."""
        # Who buries another's process takes its exit code: a failed trial would seem to have gone well.
        known = {*(child.pid for child in self.children), *self._others()}
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid in known:
                return
            os.waitpid(found.si_pid, os.WNOHANG)
