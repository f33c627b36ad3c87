"""Whether the processes of a supervisor live, and whether they are ready, as one answer each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...clock import monotonic
from .family import BOOTING, RETIRING, STOPPING, UP, Child
from .probe import Answer

SILENCE_S = 60.0
"""A process that has not reported for so long is stuck."""


def unwell(children: Iterable[Child]) -> list[str]:
    """Why a restart would help, a line for each process concerned."""
    problems = []
    for child in children:
        silence_s = monotonic() - child.heard_at
        if child.state in (UP, RETIRING) and silence_s > SILENCE_S:
            problems.append(f"pid {child.pid}: it has not reported for {silence_s:.0f} s")
        problems += [f"pid {child.pid}: {why}" for why in child.report.get("unwell", ())]
    return problems


def live(children: Iterable[Child]) -> Answer:
    """200 while no process says, or shows by its silence, that it is stuck."""
    problems = unwell(children)
    return _answer("live", problems, list(children))


def ready(children: Iterable[Child], wanted: int) -> Answer:
    """200 while as many processes as were asked for take jobs."""
    able = [child for child in children if not why_not(child)]
    problems = []
    if len(able) < wanted:
        problems = [f"{len(able)} of {wanted} processes are ready"]
    return _answer("ready", problems, list(children))


def why_not(child: Child) -> list[str]:
    """Why a process is not ready."""
    if child.state == BOOTING:
        return ["it is starting"]
    if child.state in (RETIRING, STOPPING):
        return ["it is stopping"]
    silence_s = monotonic() - child.heard_at
    if silence_s > SILENCE_S:
        return [f"it has not reported for {silence_s:.0f} s"]
    return list(child.report.get("unready", ()))


def _answer(what: str, problems: list[str], children: list[Child]) -> Answer:
    fields: dict[str, Any] = {"status": f"not {what}" if problems else what}
    if problems:
        fields["why"] = problems
    fields["busy"] = sum(child.report.get("busy", 0) for child in children)
    fields["concurrency"] = sum(child.report.get("concurrency", 0) for child in children)
    fields["processes"] = [_process(child) for child in children]
    return (503 if problems else 200), fields


def _process(child: Child) -> dict[str, Any]:
    report = child.report
    return {
        "number": child.number,
        "pid": child.pid,
        "state": child.state,
        "identity": report.get("identity"),
        "busy": report.get("busy", 0),
        "rss_mb": report.get("rss", 0) // 2**20,
        "why": why_not(child),
    }
