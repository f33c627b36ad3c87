"""kill -9 at every step of every call that a worker, its scheduler or a client makes.

Each process runs with an injection point in the transport (store/fault.py); the first one that comes to
the step of the case is killed there by itself. Whoever is left takes over, and the ledger must agree.
"""

from __future__ import annotations

from typing import Any

import pytest
from faults.harness import Crew, Member
from faults.scenarios import (
    Scenario,
    cut_off,
    disconnected,
    enqueueing,
    enqueueing_inside,
    idle,
    orphaned,
    stopping,
    working,
)
from waiting import wait_until

STAGES = ("before", "sent", "after")

# With every stage, unless one is named.
CALLS: dict[Scenario, list[str]] = {
    working: [
        *(
            "INFO",
            "preflight",
            "announce",
            "register",
            "TIME",
            "beat",
            "fetch",
            "ack_and_fetch",
            "retry",
            "bury",
        ),
        *("drop", "due", "promote", "owners", "alive", "members", "prune", "BLMOVE before", "BLMOVE sent"),
    ],
    idle: ["BLMOVE after", "admit", "ack_and_fetch"],
    stopping: ["ack", "leave", "CLIENT"],
    cut_off: ["requeue", "leave"],
    orphaned: ["fallen", "held", "recover"],
    disconnected: ["held"],
    enqueueing_inside: ["push"],
    enqueueing("one"): ["push"],
    enqueueing("later"): ["schedule"],
    enqueueing("bulk"): ["push"],
    enqueueing("bulk-wide"): ["push+push"],
    enqueueing("async"): ["push"],
    enqueueing("async-bulk-wide"): ["push+push"],
}

QUICK = {
    *(
        "fetch sent",
        "ack_and_fetch sent",
        "ack sent",
        "retry sent",
        "bury before",
        "drop after",
        "promote sent",
    ),
    *("requeue sent", "recover sent", "admit before", "push sent", "register sent"),
}
"""What runs by default; the rest is slow only by its number."""


def _cases() -> list[Any]:
    seen: set[str] = set()
    cases = []
    for number, (scenario, calls) in enumerate(CALLS.items()):
        for call in calls:
            for name in [call] if " " in call else [f"{call} {stage}" for stage in STAGES]:
                slow = name not in QUICK or name in seen
                seen.add(name)
                marks = [pytest.mark.slow] if slow else []
                cases.append(pytest.param(scenario, *name.split(), id=f"{number} {name}", marks=marks))
    return cases


@pytest.mark.parametrize(("scenario", "call", "stage"), _cases())
def test_a_process_killed_there_loses_and_doubles_nothing(
    crew: Crew, app: Any, scenario: Scenario, call: str, stage: str
) -> None:
    mark = crew.break_at(stage, call)
    scenario(crew, app)
    victim = wait_until(lambda: _killed(crew), 15, f"a process that is killed {stage} {call}")
    assert mark.exists()

    if all(member.ended for member in crew.members):
        crew.worker("-q", "default", "-q", "low")
    crew.wait_drained()

    audit = crew.check()
    assert not audit.poisoned
    begun_there = {(entry.jid, entry.run) for entry in crew.ledger.read() if entry.pid == victim.pid}
    assert set(audit.extra) <= begun_there, "a job ran twice that the dead process had not begun"
    assert max(audit.extra.values(), default=0) <= 1


def _killed(crew: Crew) -> Member | None:
    return next((member for member in crew.members if member.killed), None)
