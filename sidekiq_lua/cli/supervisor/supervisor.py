"""The loop that keeps the processes up."""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import setproctitle

from ...clock import monotonic
from ...errors import SidekiqError
from ...version import __version__
from ..attend import reopen_log
from ..notify import Notifier
from . import health
from .family import BOOTING, RETIRING, STOPPING, UP, Child, Family
from .line import Line
from .places import Place
from .plan import Plan
from .probe import Probe, wait_for

if TYPE_CHECKING:
    from ..signals import Signals
    from .upgrade import Upgrade

HEARD = ("INT", "TERM", "TSTP", "TTIN", "USR1", "USR2", "CHLD")
_TICK_S = 1.0
_SAME_SIGNAL_S = 0.1
_FORCED_S = 3.0


class BootFailed(SidekiqError):
    """The first process could not boot, so no other one was started."""


class Supervisor:
    """Keeps `plan.processes` workers up until a signal ends it. One thread, and no connection to Redis.

    `run_child` is what a child does; `booted` is called when all have booted for the first time; `upgrade_to`
    makes this process the next supervisor, and returns only if it could not.
    """

    def __init__(
        self, plan: Plan, log: logging.Logger, signals: Signals, notifier: Notifier, probe: Probe | None,
        run_child: Callable[[Line, int], int], booted: Callable[[], None], reopen: Callable[[], None],
        upgrade: Upgrade, upgrade_to: Callable[[], None],
    ) -> None:  # fmt: skip
        self._plan = plan
        self._log = log
        self._signals = signals
        self._notifier = notifier
        self.probe = probe
        self._booted = booted
        self._reopen = reopen
        self._upgrade = upgrade
        self._upgrade_to = upgrade_to
        self.family = Family(run_child, HEARD, self._others)
        self.places = [Place(number) for number in range(plan.processes)]
        self._scouting = True
        self._complete = False
        self._quiet = False
        self._stopping_since: float | None = None
        self._to_roll: deque[Place] = deque()
        self._rolling = False
        self._code = 0
        self._ping_at = 0.0
        self._shown = ""

    def adopt(self, children: list[Child]) -> None:
        """Go on with the processes of the supervisor before this one, and replace them one by one."""
        self._scouting = False
        self._complete = self._rolling = True
        for child in children:
            self.family.adopt(child)
            if child.number >= len(self.places):
                self._retire(child, "its place is not wanted any more")
            elif child.state == UP:
                self._adopt_at(self.places[child.number], child)

    def _adopt_at(self, place: Place, child: Child) -> None:
        if place.current is not None:
            # It was to replace this one, which nobody would think of any more.
            self._retire(child, "a rolling restart begins in its place")
            return
        place.current, place.start_at = child, None
        self._to_roll.append(place)

    def run(self) -> int:
        """The exit code: 0 after an orderly stop, 1 if it was forced or a process failed at its end.

        Raises BootFailed.
        """
        threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        if threads:
            self._log.warning(
                "Importing the application has started threads, which the processes will not have: %s; start "
                "them in a startup handler", ", ".join(threads),
            )  # fmt: skip
        # What is there now stays: the collector of a child would copy every page that it looks at.
        gc.collect()
        gc.freeze()
        while self._stopping_since is None or len(self.family):
            self._step()
            self._show()
            self._wait()
        self._upgrade.cancel()
        return self._code

    # -- the loop -----------------------------------------------------------------------

    def _wait(self) -> None:
        lines = [child.line.fileno() for child in self.family if not child.line.closed]
        filenos = [self._signals.fileno(), *lines, *(self.probe.filenos() if self.probe else [])]
        due = [place.start_at - monotonic() for place in self.places if place.start_at is not None]
        pause_s = min([_TICK_S, *due]) if self._may_start() else _TICK_S
        if self._signals.fileno() in wait_for(filenos, max(pause_s, 0.02)):
            for name in self._signals.read():
                self._act(name)

    def _step(self) -> None:
        for child in self.family:
            for word in self.family.listen(child):
                if "booted" in word:
                    self._has_booted(child)
        for child, code in self.family.bury():
            self._has_died(child, code)
        self._start_due()
        self._recycle()
        for child in self.family:
            if child.kill_at is not None and monotonic() > child.kill_at:
                self._log.warning("pid %d does not end, it is killed; its jobs will be recovered", child.pid)
                child.kill_at = None
                child.kill()
                self._code = 1
        if self.probe:
            self.probe.serve()
        if self._upgrade.under_way:
            self._judge_trial()

    def _others(self) -> set[int]:
        return {*self._upgrade.pids, *(self.probe.pids if self.probe else ())}

    # -- births and deaths --------------------------------------------------------------

    def _may_start(self) -> bool:
        return self._stopping_since is None and not self._quiet

    def _start_due(self) -> None:
        if not self._may_start():
            return
        for place in self.places:
            if place.due:
                self._bear(place)
            if self._scouting:
                return  # the first one shows whether a worker can boot at all

    def _bear(self, place: Place) -> Child | None:
        """Start a process, or plan another attempt. Raises OSError for the first one of all."""
        try:
            child = self.family.bear(place.number)
        except OSError as error:
            if self._scouting:
                raise
            delay_s = place.put_off()
            self._log.error("No process can be started, the next attempt is in %g s: %s", delay_s, error)
            return None
        place.started(child)
        return child

    def _has_booted(self, child: Child) -> None:
        if child.state != BOOTING:
            return
        child.state = UP
        self._scouting = False
        before = self.places[child.number].booted(child)
        if before is not None:
            self._retire(before, f"pid {child.pid} has taken its place")
        if not self._complete and all(place.current for place in self.places):
            self._complete = True
            self._log.info("%d processes run under this supervisor", len(self.places))
            self._booted()
            self._notifier.ready(self._status())

    def _has_died(self, child: Child, code: int) -> None:
        how = f"was killed by {_name(-code)}" if code < 0 else f"ended with exit code {code}"
        why = f": {child.failure}" if child.failure else ""
        if self._scouting and self._stopping_since is None:
            raise BootFailed(child.failure or f"the first process {how} before it had booted")
        if child.state in (RETIRING, STOPPING):
            if code:
                self._log.warning("pid %d %s while it stopped%s", child.pid, how, why)
                self._code = 1 if self._stopping_since is not None else self._code
            else:
                self._log.info("pid %d has ended", child.pid)
            return
        rolled = child is self.places[child.number].incoming and self.places[child.number].current is not None
        delay_s = self.places[child.number].died(child, self._may_start())
        if rolled:
            self._log.error("pid %d, which was to replace another one, %s%s", child.pid, how, why)
            self._break_off()
        elif self._may_start():
            soon = f"in {delay_s:g} s" if delay_s else "now"
            self._log.warning("pid %d %s%s; another one starts %s", child.pid, how, why, soon)
        else:
            self._log.warning("pid %d %s%s", child.pid, how, why)

    # -- replacing ----------------------------------------------------------------------

    def _recycle(self) -> None:
        """Start one process that replaces another, if none does so already."""
        if not self._may_start() or any(place.incoming for place in self.places):
            return
        while self._to_roll:
            place = self._to_roll.popleft()
            if place.current is not None and place.current.old:
                self._replace(place, place.current, "of a rolling restart")
                return
        if self._rolling:
            self._rolling = False
            self._log.info("The rolling restart is complete")
            self._notifier.ready(self._status())
        for place in self.places:
            child = place.current
            if child is not None and child.state == UP and monotonic() >= place.not_before:
                why = self._plan.excess(child.report.get("rss", 0), child.report.get("jobs", 0))
                if why:
                    self._replace(place, child, why)
                    return

    def _replace(self, place: Place, child: Child, why: str) -> None:
        new = self._bear(place)
        if new is None:
            self._break_off()
            return
        self._log.info("pid %d makes room for pid %d: %s", child.pid, new.pid, why)

    def _retire(self, child: Child, why: str) -> None:
        self._log.info("pid %d finishes its jobs and ends: %s", child.pid, why)
        child.state = RETIRING
        child.tell("retire")

    def _break_off(self) -> None:
        if self._rolling:
            self._rolling = False
            left = 1 + len(self._to_roll)
            self._to_roll.clear()
            self._log.error("The rolling restart is broken off, %d processes stay as they were", left)
            self._notifier.ready(self._status())

    # -- signals ------------------------------------------------------------------------

    def _act(self, name: str) -> None:
        if name == "CHLD":
            return
        if name in ("INT", "TERM"):
            self._stop(name)
            return
        self._log.info("Got %s", name)
        if name == "TSTP":
            self._quiet = True
            self._tell_all("quiet")
        elif name == "TTIN":
            for child in self.family:
                self._log.warning(
                    "pid %d, process %d, %s: %s", child.pid, child.number, child.state, child.report
                )
            self._tell_all("dump")
        elif name == "USR1":
            reopen_log(self._log, self._reopen)
            self._tell_all("reopen")
        elif name == "USR2":
            self._begin_upgrade()

    def _tell_all(self, order: str) -> None:
        for child in self.family:
            child.tell(order)

    def _stop(self, name: str) -> None:
        if self._stopping_since is not None and monotonic() - self._stopping_since < _SAME_SIGNAL_S:
            return
        self._log.info("Got %s", name)
        order, patience_s = "stop", self._plan.stop_s
        if self._stopping_since is not None:
            self._log.warning("Got %s while stopping: forced exit, running jobs will be recovered", name)
            order, patience_s, self._code = "force", _FORCED_S, 1
        self._stopping_since = monotonic()
        self._notifier.stopping("stopping")
        for child in self.family:
            child.state = STOPPING
            child.kill_at = monotonic() + patience_s
            child.tell(order)

    def _begin_upgrade(self) -> None:
        if not self._may_start() or self._scouting or self._rolling:
            self._log.warning(
                "USR2 is left out: the processes are starting, stopping, quiet or being replaced"
            )
            return
        if self._upgrade.under_way:
            self._log.warning("The trial of before has not ended, it is given up")
            self._upgrade.cancel()
        self._log.info("A trial loads the code before any process is replaced")
        try:
            self._upgrade.begin()
        except OSError as error:
            self._log.error("The trial could not be started, no process is replaced: %s", error)

    def _judge_trial(self) -> None:
        code = self._upgrade.verdict()
        if code is None or not self._may_start():
            return
        if code:
            self._log.error("The code could not be loaded (exit code %d): no process is replaced", code)
            return
        self._notifier.reloading("rolling restart")
        self._upgrade_to()
        self._notifier.ready(self._status())  # it could not: nothing is under way any more

    # -- what is shown ------------------------------------------------------------------

    def _status(self) -> str:
        up = [child for child in self.family if child.state == UP]
        busy = sum(child.report.get("busy", 0) for child in up)
        total = sum(child.report.get("concurrency", 0) for child in up)
        return f"{len(up)} of {len(self.places)} processes, {busy} of {total} busy"

    def _show(self) -> None:
        now = monotonic()
        if self._notifier.watchdog_s and now >= self._ping_at and not health.unwell(self.family):
            self._notifier.ping()
            self._ping_at = now + self._notifier.watchdog_s
        status = self._status()
        if status == self._shown:
            return
        self._shown = status
        state = " stopping" if self._stopping_since is not None else " quiet" if self._quiet else ""
        setproctitle.setproctitle(f"sidekiq-lua {__version__} {self._plan.name} supervisor [{status}]{state}")
        if self._complete and not state:
            self._notifier.status(status)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of those for real time have none
        return f"signal {number}"
