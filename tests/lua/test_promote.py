"""due.lua and promote.lua: what is due goes from the sorted sets to the queues."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import NOW, STORE, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.entries import Promotion

OUT = job(1, ',"enqueued_at":1')


def promote(*promotions: Promotion, name: str = "schedule", now: float = NOW) -> Any:
    return STORE.entries.promote(name, promotions, now)


def test_due_reads_the_soonest_of_both_sets(run: Any, put: Any, db: Any) -> None:
    before = {
        "retry": [(job(1), 1.0), (job(2), NOW), (job(3), NOW + 0.01)],
        "schedule": [(job(4), 2.0), (job(5), 3.0), (job(6), 4.0)],
    }
    put(before)

    assert run(STORE.entries.due(NOW, 2, {})) == {"retry": [job(1), job(2)], "schedule": [job(4), job(5)]}
    assert run(STORE.entries.due(NOW, 2, {"schedule": 2})) == {
        "retry": [job(1), job(2)],
        "schedule": [job(6)],
    }
    assert run(STORE.entries.due(0.5, 2, {})) == {"retry": [], "schedule": []}

    assert db() == before


def test_due_is_judged_by_every_digit_of_the_time(run: Any, put: Any) -> None:
    put({"schedule": [(job(1), 1755400000.123457)]})

    assert run(STORE.entries.due(1755400000.123456, 9, {}))["schedule"] == []
    assert run(STORE.entries.due(1755400000.123457, 9, {}))["schedule"] == [job(1)]


@pytest.mark.parametrize("name", ["retry", "schedule"])
def test_promote_moves_due_entries_and_makes_their_queues_known(
    run: Any, put: Any, db: Any, name: str
) -> None:
    put({name: [(job(1), 1.0), (job(2), 2.0), (job(3), 3.0)], "queue:low": [job(9)]})

    moves = [
        Promotion(job(1), "low", OUT),
        Promotion(job(2), "default", job(2)),
        Promotion(job(3), "low", job(3)),
    ]
    assert run(promote(*moves, name=name)) == [1, 1, 1]

    assert db() == {
        "queues": {"default", "low"},
        "queue:default": [job(2)],
        "queue:low": [job(3), OUT, job(9)],
    }


def test_only_what_is_due_moves(run: Any, put: Any, db: Any) -> None:
    """Hard case: an entry was read as due, and rescheduled before it was moved; its bytes are the same."""
    put({"schedule": [(job(1), NOW), (job(2), NOW + 0.000_001)]})

    assert run(promote(Promotion(job(1), "low", OUT), Promotion(job(2), "low", job(2)))) == [1, 0]

    assert db() == {"schedule": [(job(2), NOW + 0.000_001)], "queues": {"low"}, "queue:low": [OUT]}


def test_only_the_exact_bytes_move(run: Any, put: Any, db: Any) -> None:
    before = {"schedule": [(job(1), 1.0)]}
    put(before)

    assert run(promote(Promotion(job(1) + b" ", "low", OUT))) == [0]

    assert db() == before


def test_of_two_pollers_one_moves_an_entry(run: Any, put: Any, db: Any) -> None:
    put({"retry": [(job(1), 1.0)]})
    call = promote(Promotion(job(1), "low", OUT), name="retry")

    assert [run(call), run(call)] == [[1], [0]]

    assert db() == {"queues": {"low"}, "queue:low": [OUT]}


def test_an_entry_that_middleware_stopped_is_forgotten(run: Any, put: Any, db: Any) -> None:
    put({"schedule": [(job(1), 1.0), (job(2), NOW + 9)]})

    assert run(promote(Promotion(job(1), ""), Promotion(job(2), ""))) == [1, 0]

    assert db() == {"schedule": [(job(2), NOW + 9)]}


def test_a_queue_of_a_wrong_type_keeps_its_own_entries_back_and_no_other(run: Any, put: Any, db: Any) -> None:
    """Hard case: the batch lost the second of three when its push failed."""
    put({"schedule": [(job(n), float(n)) for n in (1, 2, 3)], "queue:bad": "a string"})

    moves = [
        Promotion(job(1), "low", job(1)),
        Promotion(job(2), "bad", job(2)),
        Promotion(job(3), "low", job(3)),
    ]
    assert run(promote(*moves)) == [1, -1, 1]

    assert db() == {
        "schedule": [(job(2), 2.0)],
        "queues": {"bad", "low"},
        "queue:low": [job(3), job(1)],
        "queue:bad": "a string",
    }


def test_a_set_of_queues_of_a_wrong_type_stops_the_batch_before_it_loses_anything(
    run: Any, put: Any, db: Any
) -> None:
    before = {"schedule": [(job(1), 1.0), (job(2), 2.0)], "queues": "a string"}
    put(before)

    with pytest.raises(ScriptError, match=r"^promote\.lua:\d+: WRONGTYPE"):
        run(promote(Promotion(job(1), "low", OUT), Promotion(job(2), "low", OUT)))

    assert db() == before


def test_promote_takes_the_most_that_the_poller_sends(run: Any, put: Any, db: Any) -> None:
    put({"schedule": [(job(n), float(n)) for n in range(100)]})

    moves = [Promotion(job(n), f"q{n % 40}", job(n)) for n in range(100)]
    assert run(promote(*moves)) == [1] * 100

    after = db()
    assert after.pop("queues") == {f"q{n}" for n in range(40)}
    assert after == {f"queue:q{n}": [job(m) for m in range(99, -1, -1) if m % 40 == n] for n in range(40)}


def test_a_claim_is_one_pollers_and_is_given_back(run: Any, put: Any, db: Any) -> None:
    put({"schedule": [(job(1), 1.25), (job(2), NOW + 1)], "retry": [(job(4), 1.0)]})
    asked = [(job(n), NOW + 60) for n in (1, 2, 3)]

    assert run(STORE.entries.claim("schedule", asked, NOW)) == [1.25, None, None]
    assert run(STORE.entries.claim("schedule", asked, NOW)) == [None, None, None]
    assert run(STORE.entries.due(NOW, 9, {})) == {"retry": [job(4)], "schedule": []}
    assert run(promote(Promotion(job(1), "", b""))) == [0]

    assert run(STORE.entries.claim("schedule", [(job(1), 1.25)], NOW + 60)) == [NOW + 60]
    assert db()["schedule"] == [(job(1), 1.25), (job(2), NOW + 1)]
