"""Every arrow in random order against the plain model; see `rules`.

SIDEKIQ_LUA_TEST_MODEL_RUNS=5000 makes so many random runs of 60 steps instead of the fixed ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from model.planted import BUGS, QUICK, Bug, plant
from model.rules import Machine
from servers import Server

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store import Endpoint, Transport

SLOW = [pytest.mark.slow]
STEPS = 60
RUNS = int(os.environ.get("SIDEKIQ_LUA_TEST_MODEL_RUNS", "0"))
COMMON: dict[str, Any] = {
    "stateful_step_count": STEPS,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture
def machine(server: Server, redis: redis_py.Redis) -> Iterator[Callable[..., type[Machine]]]:
    """`machine(planted)`: the machine on the shared server, with some scripts replaced."""
    transport = Transport(Endpoint(server.unix_url))
    with redis_py.Redis(unix_socket_path=str(server.socket)) as client:

        def make(planted: Any = None) -> type[Machine]:
            names = {"client": client, "transport": transport, "planted": planted or {}, "steps": 0}
            return type("Machine", (Machine,), names)

        yield make
    transport.close()


@pytest.mark.timeout(3600 if RUNS else 60)
def test_every_interleaving_keeps_the_one_place_rule(machine: Any) -> None:
    made = machine()

    run_state_machine_as_test(
        made, settings=settings(max_examples=RUNS or 100, derandomize=not RUNS, **COMMON)
    )

    assert made.steps >= (RUNS or 100) * STEPS / 2


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "bug", [pytest.param(bug, id=bug.name, marks=[] if bug.name in QUICK else SLOW) for bug in BUGS]
)
def test_a_planted_bug_is_found(machine: Any, tmp_path: Path, bug: Bug) -> None:
    made = machine(plant(bug, tmp_path))

    with pytest.raises((AssertionError, ScriptError)):
        run_state_machine_as_test(
            made, settings=settings(max_examples=5000, derandomize=True, phases=[Phase.generate], **COMMON)
        )
