"""recover.lua: what a dead process held goes back, or to the dead set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis as redis_py
from keyspace import BURIAL, ME, MINE, NOW, REGISTERED, RUNNING, STORE, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.owners import Orphan
from sidekiq_lua.store.running import Burial

WINDOW_S = 3600


def recover(*orphans: Orphan, limit: int = 3, burial: Burial = BURIAL, ward: str = "") -> Any:
    return STORE.owners.recover(ME, "default", orphans, limit, WINDOW_S, burial, ward)


def orphan(n: int, *, blamed: bool = False) -> Orphan:
    return Orphan(job(n), str(n) if blamed else "", blamed, job(n, ',"error_class":"PoisonPill"'))


def test_the_order_is_kept_at_the_consuming_end(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(4), job(3), job(2), job(1)], "queue:default": [job(6), job(5)]})

    assert run(recover(*(orphan(n) for n in (1, 2, 3, 4)))) == [1, 1, 1, 1]

    assert db() == {"queues": {"default"}, "queue:default": [job(n) for n in (6, 5, 4, 3, 2, 1)]}


def test_page_by_page_from_the_newest_keeps_the_order_too(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(4), job(3), job(2), job(1)]})

    run(recover(orphan(3), orphan(4)))
    assert db() == {"queues": {"default"}, RUNNING: [job(2), job(1)], "queue:default": [job(4), job(3)]}
    run(recover(orphan(1), orphan(2)))

    assert db() == {"queues": {"default"}, "queue:default": [job(4), job(3), job(2), job(1)]}


def test_a_process_that_beats_again_keeps_its_jobs(run: Any, put: Any, db: Any) -> None:
    before = {**REGISTERED, ME.identity: {"info": "{}"}, RUNNING: [job(1)]}
    put(before)

    assert run(recover(orphan(1))) is None

    assert db() == before


def test_who_was_recovered_from_may_not_fetch_before_it_registers_again(run: Any, put: Any, db: Any) -> None:
    """Else it could fetch its own job, and the thread that still runs it would settle the second run."""
    put(REGISTERED, {RUNNING: [job(2), job(1)]})

    run(recover(orphan(1)))

    assert db()["lua:owners"] == {ME.reaped: ME.text()}
    assert run(STORE.owners.page()) == ("0", [ME])
    assert run(MINE.fetch(["default"], 1)).reaped
    assert run(STORE.processes.beat(ME.identity, [ME], 60, {"info": "{}"}, {})).registered is False
    run(STORE.owners.register(ME))
    assert run(MINE.fetch(["default"], 1)).jobs == [("default", job(1))]


def test_a_job_that_is_gone_is_not_brought_back(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2)], "queues": {"default"}})

    assert run(recover(orphan(1, blamed=True), orphan(2))) == [0, 1]

    assert db() == {"queues": {"default"}, "queue:default": [job(2)]}


def test_recover_again_does_nothing_more(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2), job(1)], "lua:crashes:1": 2})
    call = recover(orphan(1, blamed=True), orphan(2, blamed=True))
    assert run(call) == [2, 1]
    after = db()

    assert run(call) == [0, 0]

    assert db() == after


def test_equal_payloads_are_two_jobs(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1), job(1), job(1)]})

    assert run(recover(orphan(1), orphan(1))) == [1, 1]

    assert db() == {"queues": {"default"}, RUNNING: [job(1)], "queue:default": [job(1), job(1)]}


# -- poison pills -------------------------------------------------------------------------


def test_a_crash_is_counted_for_those_to_blame(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2), job(1)], "queues": {"default"}})

    run(recover(orphan(1, blamed=True), orphan(2)))

    assert db() == {"queues": {"default"}, "queue:default": [job(2), job(1)], "lua:crashes:1": "1"}


def test_a_count_lives_from_the_first_crash_and_does_not_slide(
    run: Any, put: Any, redis: redis_py.Redis
) -> None:
    put({RUNNING: [job(1)]})
    run(recover(orphan(1, blamed=True)))
    assert WINDOW_S - 5 <= redis.ttl("lua:crashes:1") <= WINDOW_S
    redis.expire("lua:crashes:1", 100)

    put({RUNNING: [job(1)]})
    run(recover(orphan(1, blamed=True)))

    assert redis.get("lua:crashes:1") == b"2"
    assert 95 <= redis.ttl("lua:crashes:1") <= 100


def test_at_the_limit_the_job_is_buried_and_its_count_forgotten(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(3), job(2), job(1)], "lua:crashes:2": 2, "lua:crashes:3": 1})

    assert run(recover(*(orphan(n, blamed=True) for n in (1, 2, 3)))) == [1, 2, 1]

    assert db() == {
        "queues": {"default"},
        "queue:default": [job(3), job(1)],
        "dead": [(job(2, ',"error_class":"PoisonPill"'), NOW)],
        "lua:crashes:1": "1",
        "lua:crashes:3": "2",
    }


def test_of_equal_payloads_one_is_buried_for_each_that_is_to_blame(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1), job(1)], "lua:crashes:1": 2})

    assert run(recover(orphan(1, blamed=True))) == [2]

    assert db() == {
        "queues": {"default"},
        RUNNING: [job(1)],
        "dead": [(job(1, ',"error_class":"PoisonPill"'), NOW)],
    }


def test_a_job_that_is_not_to_blame_is_never_a_poison_pill(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)], "lua:crashes:1": 99, "lua:crashes:": 99})

    assert run(recover(orphan(1))) == [1]

    after = db()
    assert after["queue:default"] == [job(1)]
    assert after["lua:crashes:1"] == "99"


def test_limit_0_never_buries(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)], "lua:crashes:1": 99})

    assert run(recover(orphan(1, blamed=True), limit=0)) == [1]

    assert db()["queue:default"] == [job(1)]


def test_a_poison_pill_that_is_gone_is_not_buried(run: Any, put: Any, db: Any) -> None:
    before = {"lua:crashes:1": "2", "queues": {"default"}}
    put(before)

    assert run(recover(orphan(1, blamed=True))) == [0]

    assert db() == before


def test_the_dead_set_is_trimmed(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)], "lua:crashes:1": 2, "dead": [(job(8), NOW - 2), (job(9), NOW - 1)]})

    run(recover(orphan(1, blamed=True), burial=replace(BURIAL, limit=3)))

    assert [raw for raw, _ in db()["dead"]] == [job(9), job(1, ',"error_class":"PoisonPill"')]


@pytest.mark.parametrize("foreign", ["abc", ["x"]])
def test_a_foreign_count_does_not_hold_the_job(run: Any, put: Any, db: Any, foreign: Any) -> None:
    put({RUNNING: [job(1)], "lua:crashes:1": foreign})

    assert run(recover(orphan(1, blamed=True))) == [1]

    assert db() == {"queues": {"default"}, "queue:default": [job(1)], "lua:crashes:1": "1"}


@pytest.mark.parametrize("key", ["queue:default", "queues", "dead"])
def test_a_wrong_type_leaves_every_job_where_it_was(run: Any, put: Any, db: Any, key: str) -> None:
    before = {RUNNING: [job(2), job(1)], "lua:crashes:1": "2", key: "a string"}
    put(before)

    with pytest.raises(ScriptError, match=r"^recover\.lua:\d+: WRONGTYPE"):
        run(recover(orphan(1, blamed=True), orphan(2)))

    assert db() == before


def test_recover_takes_a_whole_page(run: Any, put: Any, db: Any) -> None:
    jobs = [job(n) for n in range(100)]
    put({RUNNING: jobs[::-1]})

    assert run(recover(*(orphan(n, blamed=True) for n in range(100)))) == [1] * 100

    after = db()
    assert after.pop("queue:default") == jobs[::-1]
    assert after == {"queues": {"default"}, **{f"lua:crashes:{n}": "1" for n in range(100)}}


# -- a queue for poison pills -------------------------------------------------------------------


def test_a_poison_pill_goes_to_the_ward_and_nothing_else_does(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(3), job(2), job(1)], "lua:crashes:1": 2, "queue:ward": [job(9)]})

    assert run(recover(orphan(1, blamed=True), orphan(2, blamed=True), orphan(3), ward="ward")) == [3, 1, 1]

    assert db() == {
        "queues": {"default", "ward"},
        "queue:default": [job(3), job(2)],
        "queue:ward": [orphan(1, blamed=True).burial, job(9)],
        "lua:crashes:2": "1",
    }


def test_a_poison_pill_that_is_gone_is_not_put_in_the_ward(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2)], "lua:crashes:1": 2})

    assert run(recover(orphan(1, blamed=True), ward="ward")) == [0]

    assert db()[RUNNING] == [job(2)]
    assert "queue:ward" not in db()


def test_a_ward_of_a_wrong_type_leaves_everything_where_it_was(run: Any, put: Any, db: Any) -> None:
    before = {RUNNING: [job(1)], "lua:crashes:1": "2", "queue:ward": "x"}
    put(before)

    with pytest.raises(ScriptError, match="WRONGTYPE"):
        run(recover(orphan(1, blamed=True), ward="ward"))

    assert db() == before
