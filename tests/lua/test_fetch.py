"""fetch.lua and lib/take.lua: jobs go from queues to running lists."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import ME, MINE, REGISTERED, RUNNING, RUNNING_LOW, STORE, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.running import FETCH_BYTES, Fetched

BOTH = ["default", "low"]


def test_fetch_takes_the_oldest_first_and_looks_in_the_given_order(run: Any, put: Any, db: Any) -> None:
    put(REGISTERED, {"queue:default": [job(2), job(1)], "queue:low": [job(9), job(8), job(7)]})

    fetched = run(MINE.fetch(BOTH, 4))

    assert fetched == Fetched([("default", job(1)), ("default", job(2)), ("low", job(7)), ("low", job(8))])
    assert db() == {
        **REGISTERED,
        "queue:low": [job(9)],
        RUNNING: [job(2), job(1)],
        RUNNING_LOW: [job(8), job(7)],
    }


def test_fetch_of_empty_queues_brings_nothing(run: Any, put: Any, db: Any) -> None:
    put(REGISTERED)

    assert run(MINE.fetch(BOTH, 4)) == Fetched()

    assert db() == REGISTERED


def test_fetch_of_an_owner_that_was_reaped_does_nothing(run: Any, put: Any, db: Any) -> None:
    before = {
        "queue:default": [job(1)],
        "lua:owners": {"host:1:aaaa:later": "another epoch of the same process"},
    }
    put(before)

    assert run(MINE.fetch(BOTH, 1)) == Fetched(reaped=True)

    assert db() == before


def test_fetch_passes_over_paused_queues_and_says_which(run: Any, put: Any, db: Any) -> None:
    before = {**REGISTERED, "paused": {"default"}, "queue:default": [job(1)]}
    put(before, {"queue:low": [job(2)]})

    assert run(MINE.fetch(BOTH, 5)) == Fetched([("low", job(2))], paused=frozenset({"default"}))

    assert db() == {**before, RUNNING_LOW: [job(2)]}


def test_fetch_stops_at_its_limit_of_bytes(run: Any, put: Any, db: Any) -> None:
    big = [job(n, f',"pad":"{"x" * 400_000}"') for n in range(4)]
    put(REGISTERED, {"queue:default": big[::-1], "queue:low": [job(9)]})

    # After two the limit is not reached yet, so the third is the "one payload more".
    assert 2 * len(big[0]) < FETCH_BYTES < 3 * len(big[0])
    assert run(MINE.fetch(BOTH, 10)).jobs == [("default", raw) for raw in big[:3]]

    assert db() == {**REGISTERED, "queue:default": big[3:], "queue:low": [job(9)], RUNNING: big[2::-1]}


def test_fetch_brings_equal_payloads_as_two_jobs(run: Any, put: Any, db: Any) -> None:
    put(REGISTERED, {"queue:default": [job(1), job(1)]})

    assert run(MINE.fetch(BOTH, 5)).jobs == [("default", job(1))] * 2

    assert db() == {**REGISTERED, RUNNING: [job(1), job(1)]}


def test_fetch_again_takes_other_jobs(run: Any, put: Any) -> None:
    """REPLAY `repeats`: so it must not be sent again after a lost reply."""
    put(REGISTERED, {"queue:default": [job(2), job(1)]})

    assert [run(MINE.fetch(BOTH, 1)).jobs for _ in range(3)] == [
        [("default", job(1))],
        [("default", job(2))],
        [],
    ]


def test_fetch_takes_thousands(run: Any, put: Any, db: Any) -> None:
    jobs = [job(n) for n in range(9000)]
    put(REGISTERED, {"queue:default": jobs[::-1]})

    assert run(MINE.fetch(["default"], 9000)).jobs == [("default", raw) for raw in jobs]

    assert db() == {**REGISTERED, RUNNING: jobs[::-1]}


def test_a_queue_of_a_wrong_type_is_passed_over_and_named(run: Any, put: Any, db: Any) -> None:
    put(REGISTERED, {"queue:default": "a string", "queue:low": [job(1)]})

    fetched = run(MINE.fetch(BOTH, 5))

    assert fetched.jobs == [("low", job(1))]
    assert fetched.problem.startswith("WRONGTYPE")
    assert db() == {**REGISTERED, "queue:default": "a string", RUNNING_LOW: [job(1)]}


def test_a_running_list_of_a_wrong_type_loses_nothing(run: Any, put: Any, db: Any) -> None:
    before = {**REGISTERED, RUNNING: "a string", "queue:default": [job(1)]}
    put(before)

    assert run(MINE.fetch(BOTH, 5)).problem.startswith("WRONGTYPE")

    assert db() == before


@pytest.mark.parametrize("key", ["lua:owners", "paused"])
def test_fetch_raises_before_it_takes_anything(run: Any, put: Any, db: Any, key: str) -> None:
    before = {**REGISTERED, "queue:default": [job(1)], key: ["a list"]}
    put({k: v for k, v in before.items() if k != key}, {key: before[key]})

    with pytest.raises(ScriptError, match="WRONGTYPE"):
        run(MINE.fetch(BOTH, 5))

    assert db() == {**before, key: [b"a list"]}


def test_another_process_takes_what_is_left(run: Any, put: Any, db: Any) -> None:
    other = STORE.running("other:2:bbbb", "1")
    put({"lua:owners": {ME.field: "", other.owner: ""}, "queue:default": [job(2), job(1)]})

    assert run(MINE.fetch(BOTH, 1)).jobs == [("default", job(1))]
    assert run(other.fetch(BOTH, 5)).jobs == [("default", job(2))]

    assert db()["lua:running:other:2:bbbb:1:default"] == [job(2)]


# -- many queues, of which most are empty -------------------------------------------------------

MANY = [f"q{n}" for n in range(35)]


@pytest.mark.parametrize("full", [[0], [9], [10], [11], [19, 20], [29, 34], [34], range(35)], ids=str)
@pytest.mark.parametrize("held", [[], [12], range(35)], ids=["", "one holds a job", "all hold jobs"])
def test_those_that_have_jobs_are_found_in_their_order(
    run: Any, put: Any, db: Any, full: list[int], held: list[int]
) -> None:
    put(REGISTERED, {f"queue:q{n}": [job(n)] for n in full}, {MINE.list(f"q{n}"): [job(99)] for n in held})

    fetched = run(MINE.fetch(MANY, 50))

    assert fetched.jobs == [(f"q{n}", job(n)) for n in full]
    assert not [key for key in db() if key.startswith("queue:")]


def test_none_of_many_is_looked_at_once_there_are_enough(run: Any, put: Any, db: Any) -> None:
    put(REGISTERED, {"queue:q3": [job(1)], "queue:q34": [job(2)]})

    assert run(MINE.fetch(MANY, 1)).jobs == [("q3", job(1))]
    assert db()["queue:q34"] == [job(2)]


def test_a_paused_one_of_many_is_passed_over_and_told(run: Any, put: Any, db: Any) -> None:
    put(REGISTERED, {"queue:q20": [job(1)], "queue:q30": [job(2)], "paused": {"q20", "q34"}})

    fetched = run(MINE.fetch(MANY, 1))

    assert fetched.jobs == [("q30", job(2))]
    assert fetched.paused == {"q20", "q34"}


def test_one_of_many_that_is_of_a_wrong_type_is_told(run: Any, put: Any) -> None:
    put(REGISTERED, {"queue:q20": "a string", "queue:q30": [job(2)]})

    fetched = run(MINE.fetch(MANY, 1))

    assert fetched.jobs == [("q30", job(2))]
    assert "WRONGTYPE" in fetched.problem
