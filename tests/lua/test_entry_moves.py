"""enqueue_entry, bury_entry, delete_entry, reschedule_entry: what a person does to one entry of a set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from keyspace import BURIAL, NOW, STORE, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.entries import Buried, Entry, SetName

ENTRIES = STORE.entries
SCORE = NOW - 0.123456
READ = Entry(job(1), SCORE)
AGAIN = job(1, ',"retry_count":4')
SETS: list[SetName] = ["retry", "schedule", "dead"]
STALE = [Entry(job(1), SCORE + 0.000001), Entry(job(1), SCORE - 60), Entry(job(9), SCORE)]
"""The entry was rescheduled since, by little or by much, or is gone; job 2 has the same score throughout."""


def found(name: str) -> dict[str, Any]:
    return {name: [(job(1), SCORE), (job(2), SCORE)], "lua:crashes:1": "2"}


def moves(name: SetName, entry: Entry = READ) -> list[Any]:
    made = [
        ENTRIES.enqueue(name, entry, "low", AGAIN, "1"),
        ENTRIES.delete(name, entry),
        ENTRIES.reschedule(name, entry, NOW + 60),
    ]
    return made if name == "dead" else [*made, ENTRIES.bury(name, entry, AGAIN, BURIAL)]


@pytest.mark.parametrize("name", SETS)
def test_enqueue_pushes_the_new_text_to_the_waiting_end(run: Any, put: Any, db: Any, name: SetName) -> None:
    put(found(name), {"queue:low": [job(3)]})

    assert run(ENTRIES.enqueue(name, READ, "low", AGAIN, "1"))

    # Out of the dead set a poison pill has all its lives again.
    crashes = {} if name == "dead" else {"lua:crashes:1": "2"}
    assert db() == {"queues": {"low"}, "queue:low": [AGAIN, job(3)], name: [(job(2), SCORE)], **crashes}


@pytest.mark.parametrize("name", ["retry", "schedule"])
def test_bury_stores_the_new_text_in_the_dead_set(run: Any, put: Any, db: Any, name: Any) -> None:
    put(found(name), {"dead": [(job(3), NOW - 9)]})

    assert run(ENTRIES.bury(name, READ, AGAIN, BURIAL)) == Buried(moved=True, added=True)

    assert db() == {**found(name), name: [(job(2), SCORE)], "dead": [(job(3), NOW - 9), (AGAIN, NOW)]}


def test_bury_trims_the_dead_set_by_age_and_number(run: Any, put: Any, db: Any) -> None:
    old = [(job(n), BURIAL.cutoff - n) for n in (7, 8)]
    put(found("retry"), {"dead": [*old, *((job(n), NOW - n) for n in (11, 12, 13))]})

    run(ENTRIES.bury("retry", READ, AGAIN, replace(BURIAL, limit=3)))

    assert db()["dead"] == [(job(11), NOW - 11), (AGAIN, NOW)]


def test_bury_tells_when_the_set_holds_the_same_text_already(run: Any, put: Any, db: Any) -> None:
    put(found("retry"), {"dead": [(AGAIN, NOW - 9)]})

    assert run(ENTRIES.bury("retry", READ, AGAIN, BURIAL)) == Buried(moved=True, added=False)

    assert db() == {**found("retry"), "retry": [(job(2), SCORE)], "dead": [(AGAIN, NOW)]}


@pytest.mark.parametrize("name", SETS)
def test_delete_takes_the_one_entry(run: Any, put: Any, db: Any, name: SetName) -> None:
    put(found(name))

    assert run(ENTRIES.delete(name, READ))

    assert db() == {**found(name), name: [(job(2), SCORE)]}


@pytest.mark.parametrize("name", SETS)
def test_reschedule_keeps_the_bytes(run: Any, put: Any, db: Any, name: SetName) -> None:
    raw = b'{"class": "S", "args": [1e400, "\\u00e9"]} \xff'
    put({name: [(raw, SCORE)]})

    assert run(ENTRIES.reschedule(name, Entry(raw, SCORE), NOW + 60.5))

    assert db() == {name: [(raw, NOW + 60.5)]}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("stale", STALE)
def test_an_entry_that_is_gone_or_was_rescheduled_is_left_alone(
    run: Any, put: Any, db: Any, name: SetName, stale: Entry
) -> None:
    put(found(name))

    for move in moves(name, stale):
        assert run(move) in (False, Buried(moved=False, added=False)), move

    assert db() == found(name)


@pytest.mark.parametrize("name", SETS)
def test_of_two_who_act_on_one_entry_the_second_does_nothing(
    run: Any, put: Any, db: Any, redis: Any, name: SetName
) -> None:
    for first in moves(name):
        redis.flushall()
        put(found(name))
        run(first)
        after = db()
        for second in moves(name):
            assert run(second) in (False, Buried(moved=False, added=False)), (first, second)
            assert db() == after


@pytest.mark.parametrize("score", [0.1, 1e300, -5.0, float("inf"), 1_800_000_000.1234567, 0.0])
def test_any_score_that_was_read_is_known_again(
    run: Any, put: Any, db: Any, redis: Any, score: float
) -> None:
    put({"retry": [(job(1), score)]})
    ((raw, read),) = redis.zrange("retry", 0, -1, withscores=True)

    assert run(ENTRIES.delete("retry", Entry(raw, read)))

    assert db() == {}


@pytest.mark.parametrize("foreign", ["a string", {"a": "hash"}])
def test_a_destination_of_a_wrong_type_loses_nothing(run: Any, put: Any, db: Any, foreign: Any) -> None:
    before = {**found("retry"), "queue:low": foreign, "dead": foreign}
    put(before)

    for move in (
        ENTRIES.enqueue("retry", READ, "low", AGAIN, "1"),
        ENTRIES.bury("retry", READ, AGAIN, BURIAL),
    ):
        with pytest.raises(ScriptError, match="WRONGTYPE"):
            run(move)

    assert db() == before


def test_a_score_that_is_no_number_changes_nothing(run: Any, put: Any, db: Any) -> None:
    put(found("retry"))

    with pytest.raises(ScriptError, match="not a valid float"):
        run(ENTRIES.reschedule("retry", READ, float("nan")))
    assert not run(ENTRIES.delete("retry", Entry(job(1), float("nan"))))

    assert db() == found("retry")


@pytest.mark.parametrize("name", SETS)
def test_clear_empties_the_one_set(run: Any, put: Any, db: Any, name: SetName) -> None:
    others = {other: [(job(5), 5.0)] for other in SETS if other != name}
    put(found(name), others)

    assert run(ENTRIES.clear(name)) == 2
    assert run(ENTRIES.clear(name)) == 0

    assert db() == {**others, "lua:crashes:1": "2"}
