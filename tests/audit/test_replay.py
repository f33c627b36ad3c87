"""Each script run twice does what its REPLAY says, whichever of two releases ran first."""

from __future__ import annotations

from typing import Any

import pytest
from audit.repeats import REPEATS
from audit.versions import by_other_release
from script_cases import CASES

from sidekiq_lua.store.scripts import library

NAMES = sorted(CASES)
REPEATING = [name for name in NAMES if library()[name].header["REPLAY"].startswith("repeats")]
SAFE = [name for name in NAMES if name not in REPEATING]


@pytest.mark.parametrize("swap", [False, True], ids=["same-version", "two-versions"])
@pytest.mark.parametrize("name", SAFE)
def test_a_second_run_does_nothing_more(run: Any, put: Any, db: Any, name: str, swap: bool) -> None:
    case = CASES[name]
    put(case.found)
    run(by_other_release(case.call) if swap else case.call)
    after = db()

    run(case.call)

    assert db() == after


@pytest.mark.parametrize("swap", [False, True], ids=["same-version", "two-versions"])
@pytest.mark.parametrize("name", REPEATING)
def test_a_second_run_repeats_what_the_header_says(
    run: Any, put: Any, db: Any, name: str, swap: bool
) -> None:
    case, repeat = CASES[name], REPEATS[name]
    put(case.found)
    run(by_other_release(case.call) if swap else case.call)
    put(repeat.between)
    before = db()
    assert {key: before.get(key) for key in repeat.second} != dict(repeat.second), "nothing is left to repeat"

    run(case.call)

    after = db()
    assert {key: after.get(key) for key in repeat.second} == dict(repeat.second)


def test_only_scripts_that_repeat_are_listed() -> None:
    assert sorted(REPEATS) == REPEATING
