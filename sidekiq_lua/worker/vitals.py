"""Whether a worker lives, and whether it is ready: for `/livez` and `/readyz`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..clock import monotonic
from .health import Answer, as_json

if TYPE_CHECKING:
    from .actor import Actor
    from .branch import Branch
    from .launcher import Launcher
    from .station import Station

FRESH_S = 5.0
"""So many seconds ago a capsule has fetched, or asked, at the latest, if it is ready."""
_STUCK_S = 30.0
"""A heartbeat that has not come round for a TTL, and for no less than this, is stuck."""


class Vitals:
    """The two answers about the worker that `launcher` answers, which may be another one after a restart."""

    def __init__(self, launcher: Callable[[], Launcher]) -> None:
        self._launcher = launcher

    def live(self) -> Answer:
        """200 while its threads go round, whether Redis is there or not: a restart would mend nothing."""
        return _answer("live", self.problems(), self._launcher())

    def ready(self) -> Answer:
        """200 if it takes jobs: not quiet, Redis has answered the last beat, and each capsule fetches."""
        return _answer("ready", self.obstacles(), self._launcher())

    def problems(self) -> list[str]:
        """Why it does not live."""
        launcher = self._launcher()
        return [] if launcher.stopping or not launcher.started else self._dead_parts(launcher)

    def obstacles(self) -> list[str]:
        """Why it is not ready."""
        return self._unready(self._launcher())

    def _dead_parts(self, launcher: Launcher) -> list[str]:
        return [
            problem for branch in launcher.branches if branch.started for problem in _dead(launcher, branch)
        ]

    def _unready(self, launcher: Launcher) -> list[str]:
        if launcher.stopping:
            return ["it is stopping"]
        if not launcher.started:
            return ["it is starting"]
        if launcher.is_quiet:
            return ["it is quiet"]
        return [problem for branch in launcher.branches for problem in _takes_none(branch)]


def _dead(launcher: Launcher, branch: Branch) -> list[str]:
    """Why the part of a worker that belongs to one server does not live."""
    heartbeat = branch.heartbeat
    actors: list[Actor] = [heartbeat, branch.recovery]
    if not launcher.is_quiet:
        actors.append(branch.scheduler)
    problems = [f"the {actor.name} has ended" for actor in actors if not actor.runs]
    problems += [f"the fetcher of {s.name} has ended" for s in branch.stations if not s.waiter.runs]
    silence_s = monotonic() - heartbeat.turned_at
    if silence_s > max(_STUCK_S, launcher.heartbeat_ttl):
        problems.append(f"the {heartbeat.name} has not come round for {silence_s:.0f} s")
    return problems


def _takes_none(branch: Branch) -> list[str]:
    """Why the part of a worker that belongs to one server is not ready."""
    whose = f"{branch.name}: " if branch.name else ""
    if not branch.started:
        return [f"{whose}Redis was not there yet"]
    if not branch.heartbeat.answered:
        return [f"{whose}Redis has not answered the last heartbeat"]
    return [problem for station in branch.stations if (problem := _idle_for_no_reason(station))]


def _idle_for_no_reason(station: Station) -> str:
    """Why a capsule is not ready, or ""."""
    exchange = station.exchange
    if exchange.down:
        return f"{station.name}: Redis does not answer, no jobs are fetched"
    for _ in range(2):  # a job that arrives while the server is asked ends the waiting
        if len(exchange.active) >= exchange.concurrency:
            return ""
        if monotonic() - exchange.last_answer < FRESH_S:
            return ""
        problem = station.waiter.not_waiting()
        if not problem:
            return ""
    return (
        f"{station.name}: nothing was fetched for {monotonic() - exchange.last_answer:.0f} s, and {problem}"
    )


def _answer(what: str, problems: list[str], launcher: Launcher) -> Answer:
    facts = {"identity": launcher.identity, "busy": launcher.busy, "concurrency": launcher.concurrency}
    if problems:
        return as_json(503, status=f"not {what}", why=problems, **facts)
    return as_json(200, status=what, **facts)
