"""pause_class, resume_class, hold, release: the jobs of a paused class."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import MINE, RUNNING, STORE, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.holding import release
from sidekiq_lua.store.holding import Held

HOLDING = STORE.holding
HELD = "lua:held:SomeJob"


def item(n: int, queue: str = "default") -> bytes:
    return queue.encode() + b"\n" + job(n)


def test_a_fetched_job_is_put_aside(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2), job(1)], HELD: [item(5, "low")]})
    run(HOLDING.pause("SomeJob"))

    assert run(HOLDING.hold("SomeJob", MINE, "default", job(1))) == "HELD"
    assert run(HOLDING.hold("SomeJob", MINE, "default", job(1))) == "GONE"

    assert db() == {
        RUNNING: [job(2)],
        HELD: [item(1), item(5, "low")],
        "lua:paused_classes": {"SomeJob"},
    }
    assert run(HOLDING.held("SomeJob")) == (
        2,
        [Held(item(5, "low"), "low", job(5)), Held(item(1), "default", job(1))],
    )


def test_what_is_not_paused_any_more_runs(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1)], "lua:resumed_classes": {"SomeJob"}})

    assert run(HOLDING.hold("SomeJob", MINE, "default", job(1))) == "RUN"

    assert db() == {RUNNING: [job(1)], "lua:resumed_classes": {"SomeJob"}}


def test_pause_and_resume(run: Any, put: Any, db: Any) -> None:
    assert (run(HOLDING.pause("A")), run(HOLDING.pause("A"))) == (True, False)
    assert run(HOLDING.classes()) == ({"A"}, frozenset())
    assert run(HOLDING.resume("A")) == (True, 0)
    assert run(HOLDING.resume("A")) == (False, 0)
    assert db() == {}

    put({"lua:held:A": [item(1)]})
    run(HOLDING.pause("A"))
    assert run(HOLDING.resume("A")) == (True, 1)
    assert run(HOLDING.classes()) == (frozenset(), {"A"})
    assert run(HOLDING.pause("A"))
    assert run(HOLDING.classes()) == ({"A"}, frozenset())


def test_a_release_brings_the_oldest_to_the_front(run: Any, put: Any, db: Any, transport: Any) -> None:
    put({HELD: [item(n) for n in range(250, 0, -1)], "queue:default": [job(900)]})
    run(HOLDING.pause("SomeJob"))
    run(HOLDING.resume("SomeJob"))
    told: list[int] = []

    assert release(transport, STORE, "SomeJob", told.append) == 250

    # The right end is taken first.
    expected = [job(900), *(job(n) for n in range(250, 0, -1))]
    assert db() == {"queues": {"default"}, "queue:default": expected}
    assert told[:3] == [100, 200, 250]


def test_a_release_that_was_cut_off_goes_on(run: Any, put: Any, db: Any, transport: Any) -> None:
    put({HELD: [item(n, "low") for n in range(150, 0, -1)]})
    run(HOLDING.pause("SomeJob"))
    run(HOLDING.resume("SomeJob"))

    def crash(released: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        release(transport, STORE, "SomeJob", crash)
    assert (len(db()[HELD]), len(db()["queue:low"])) == (50, 100)

    assert release(transport, STORE, "SomeJob") == 50
    assert db() == {"queues": {"low"}, "queue:low": [job(n) for n in range(150, 0, -1)]}


def test_nothing_is_released_of_a_class_that_is_paused_again(
    run: Any, put: Any, db: Any, transport: Any
) -> None:
    before = {HELD: [item(1)], "lua:paused_classes": {"SomeJob"}}
    put(before)

    assert release(transport, STORE, "SomeJob") == 0

    assert db() == before


def test_a_queue_of_a_wrong_type_gets_nothing_and_holds_up_nobody(
    run: Any, put: Any, db: Any, transport: Any
) -> None:
    put({HELD: [item(1), item(2, "bad"), item(3)], "queue:bad": "a string"})
    run(HOLDING.pause("SomeJob"))
    run(HOLDING.resume("SomeJob"))

    assert release(transport, STORE, "SomeJob") == 2

    assert db() == {
        "queues": {"default", "bad"},
        "queue:bad": "a string",
        "queue:default": [job(1), job(3)],
        HELD: [item(2, "bad")],
        "lua:resumed_classes": {"SomeJob"},
    }


@pytest.mark.timeout(20)
def test_a_queue_of_a_wrong_type_holds_up_nobody_however_many_jobs_came_from_it(
    run: Any, put: Any, db: Any, transport: Any
) -> None:
    """Those that stay fill more than a page at the end where a release begins."""
    bad = [item(n, "bad") for n in range(400, 250, -1)]
    put({HELD: [*bad, *(item(n) for n in range(250, 0, -1))], "queue:bad": "a string"})
    run(HOLDING.pause("SomeJob"))
    run(HOLDING.resume("SomeJob"))

    assert release(transport, STORE, "SomeJob") == 250

    assert (db()[HELD], db()["queue:default"]) == (bad, [job(n) for n in range(250, 0, -1)])


def test_large_jobs_are_released_in_their_order_too(run: Any, put: Any, db: Any, transport: Any) -> None:
    """A page of them ends before it has as many as it could."""
    large = [job(n, ',"a":"%s"' % ("x" * 50_000)) for n in range(60, 0, -1)]
    put({HELD: [b"default\n" + raw for raw in large]})
    run(HOLDING.pause("SomeJob"))
    run(HOLDING.resume("SomeJob"))

    assert release(transport, STORE, "SomeJob") == 60

    assert db() == {"queues": {"default"}, "queue:default": large}


def test_a_foreign_key_in_the_way_of_holding_changes_nothing(run: Any, put: Any, db: Any) -> None:
    before = {RUNNING: [job(1)], HELD: "a string", "lua:paused_classes": {"SomeJob"}}
    put(before)

    with pytest.raises(ScriptError, match="WRONGTYPE"):
        run(HOLDING.hold("SomeJob", MINE, "default", job(1)))

    assert db() == before
