"""bury.lua and lib/trim_dead.lua: jobs die, and the dead set stays within its limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from keyspace import BURIAL, DAY, MINE, NOW, RUNNING, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.running import Burial, Settled

DEAD = job(1, ',"retry_count":25')
COUNTED = {
    "stat:processed": "1",
    f"stat:processed:{DAY}": "1",
    "stat:failed": "1",
    f"stat:failed:{DAY}": "1",
}


def bury(burial: Burial = BURIAL, **more: Any) -> Any:
    return MINE.bury("default", job(1), DEAD, burial, DAY, **more)


def test_bury_moves_the_job_and_counts_it(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2), job(1)], "dead": [(job(3), NOW - 9)]})

    assert run(bury()) == Settled(moved=True, added=True)

    assert db() == {RUNNING: [job(2)], "dead": [(job(3), NOW - 9), (DEAD, NOW)], **COUNTED}


def test_bury_of_a_job_that_is_gone_does_nothing(run: Any, put: Any, db: Any) -> None:
    before = {RUNNING: [job(2)], "dead": [(job(3), 1.0)]}
    put(before)

    assert run(bury()) == Settled(moved=False, added=False)

    assert db() == before


def test_bury_again_does_nothing_more(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)]})
    run(bury())
    after = db()

    assert run(bury()) == Settled(moved=False, added=False)

    assert db() == after


def test_a_job_that_never_ran_is_not_counted(run: Any, put: Any, db: Any) -> None:
    raw = b"{ not JSON \xff"
    put({RUNNING: [raw]})

    assert run(MINE.bury("default", raw, raw, BURIAL, DAY, ran=False)).moved

    assert db() == {"dead": [(raw, NOW)]}


def test_bury_tells_when_the_set_holds_the_same_text_already(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1), job(1)]})

    assert run(bury()).added
    assert not run(bury(replace(BURIAL, now=NOW + 1))).added

    # One entry for two jobs, as in Ruby; the caller logs the second.
    assert db()["dead"] == [(DEAD, NOW + 1)]


def test_what_died_before_the_cutoff_is_dropped(run: Any, put: Any, db: Any) -> None:
    edge = BURIAL.cutoff
    put({RUNNING: [job(1)], "dead": [(job(7), edge - 1), (job(8), edge), (job(9), edge + 1)]})

    run(bury())

    assert db()["dead"] == [(job(9), edge + 1), (DEAD, NOW)]


def test_one_less_than_the_limit_is_kept_and_the_oldest_go_first(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)], "dead": [(job(n), NOW - n) for n in range(10, 15)]})

    run(bury(replace(BURIAL, limit=4)))

    assert db()["dead"] == [(job(11), NOW - 11), (job(10), NOW - 10), (DEAD, NOW)]


@pytest.mark.parametrize("before", [1, 2])
def test_a_set_within_the_limit_is_left_alone(run: Any, put: Any, db: Any, before: int) -> None:
    kept = [(job(n), NOW - n) for n in (11, 10)][-before:]
    put({RUNNING: [job(1)], "dead": kept})

    run(bury(replace(BURIAL, limit=4)))

    assert db()["dead"] == [*kept, (DEAD, NOW)]


def test_trimming_goes_in_slices_of_1000(run: Any, put: Any, db: Any) -> None:
    old = [(job(n), float(n)) for n in range(1500)]
    fresh = [(job(n), NOW - 5000 + n) for n in range(2000, 4500)]
    put({RUNNING: [job(1)], "dead": old + fresh})

    run(bury(replace(BURIAL, limit=100)))

    # 1000 by age, then 1000 more by number: the 500 other old ones and 500 of the fresh ones.
    assert db()["dead"] == [*fresh[500:], (DEAD, NOW)]

    put({RUNNING: [job(1)]})
    run(bury(replace(BURIAL, limit=100)))
    assert db()["dead"] == [*fresh[1500:], (DEAD, NOW)]


def test_a_dead_set_of_a_wrong_type_loses_nothing(run: Any, put: Any, db: Any) -> None:
    before = {RUNNING: [job(1)], "dead": "a string"}
    put(before)

    with pytest.raises(ScriptError, match=r"^bury\.lua:\d+: WRONGTYPE"):
        run(bury())

    assert db() == before


@pytest.mark.parametrize("counter", COUNTED)
def test_a_foreign_counter_does_not_stop_the_move(run: Any, put: Any, db: Any, counter: str) -> None:
    put({RUNNING: [job(1)], counter: "abc"})

    settled = run(bury())

    assert settled.moved
    assert "not an integer" in settled.problem
    assert db() == {"dead": [(DEAD, NOW)], **COUNTED, counter: "abc"}
