"""stats, reset_stats, queue_sizes, members, announce and count_scripts: what can be looked up."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import STORE, job

from sidekiq_lua.store.counters import COUNT_FIELDS, Totals
from sidekiq_lua.store.queues import QueueSize
from sidekiq_lua.store.script_counts import News
from sidekiq_lua.store.scripts import library
from sidekiq_lua.version import SCHEMA_VERSION, __version__


def test_totals_of_an_empty_database(run: Any, db: Any) -> None:
    assert run(STORE.counters.totals()) == Totals(0, 0, 0, 0, 0, 0)

    assert db() == {}


def test_totals_count_everything(run: Any, put: Any, db: Any) -> None:
    put({"stat:processed": 2**53 + 1, "stat:failed": 7, "processes": {"a", "b", "c", "d", "e"}})
    put({"schedule": [(job(1), 1.0)], "retry": [(job(n), 1.0) for n in range(2)]})
    put({"dead": [(job(n), 1.0) for n in range(3)]})
    before = db()

    assert run(STORE.counters.totals()) == Totals(2**53 + 1, 7, 1, 2, 3, 5)

    assert db() == before


def test_a_foreign_counter_reads_as_0(run: Any, put: Any) -> None:
    put({"stat:processed": "abc", "stat:failed": "7"})

    assert run(STORE.counters.totals())[:2] == (0, 7)


def test_reset_sets_the_named_totals_to_0(run: Any, put: Any, db: Any) -> None:
    put({"stat:processed": "5", "stat:failed": "abc", "stat:failed:2027-01-15": "3"})

    assert run(STORE.counters.reset(["failed"])) == 1
    assert db() == {"stat:processed": "5", "stat:failed": "0", "stat:failed:2027-01-15": "3"}
    assert run(STORE.counters.reset(["failed", "processed"])) == 2

    assert db() == {"stat:processed": "0", "stat:failed": "0", "stat:failed:2027-01-15": "3"}


def test_sizes_of_queues(run: Any, put: Any, db: Any) -> None:
    put({"paused": {"low"}, "queue:default": [job(2), job(1)], "queue:low": [job(3)]})
    before = db()

    assert run(STORE.queues.sizes(["default", "low", "none"])) == [
        QueueSize("default", 2, job(1), paused=False),
        QueueSize("low", 1, job(3), paused=True),
        QueueSize("none", 0, b"", paused=False),
    ]

    assert db() == before


def test_names_of_queues_come_in_pages(run: Any, put: Any, db: Any) -> None:
    put({"queues": {f"q{n}" for n in range(700)} | {"größe"}})
    before = db()
    found: set[str] = set()
    cursor, pages = "", 0
    while cursor != "0":
        cursor, names = run(STORE.queues.names(cursor or "0"))
        found.update(names)
        pages += 1

    assert found == before["queues"]
    assert pages > 2
    assert db() == before


# -- announce -----------------------------------------------------------------------------


def announced(schema: int) -> dict[str, str]:
    scripts = {script.sha: f"{name} {__version__}" for name, script in library().items()}
    return {"schema": str(schema), **scripts}


def test_announce_writes_down_the_scripts_and_the_schema(run: Any, db: Any) -> None:
    assert run(STORE.counters.announce()) == 0
    assert run(STORE.counters.announce()) == SCHEMA_VERSION

    assert db() == {"lua:scripts": announced(SCHEMA_VERSION)}


def test_announce_raises_an_older_schema_and_keeps_its_scripts(run: Any, put: Any, db: Any) -> None:
    put({"lua:scripts": {"schema": SCHEMA_VERSION - 1, "older sha": "push 0.0.1"}})

    assert run(STORE.counters.announce()) == SCHEMA_VERSION - 1

    assert db() == {"lua:scripts": {**announced(SCHEMA_VERSION), "older sha": "push 0.0.1"}}


def test_announce_leaves_a_newer_schema_alone(run: Any, put: Any, db: Any) -> None:
    before = {"lua:scripts": {"schema": str(SCHEMA_VERSION + 1), "sha": "push 9.0"}}
    put(before)

    assert run(STORE.counters.announce()) == SCHEMA_VERSION + 1

    assert db() == before


@pytest.mark.parametrize("found", ["", "abc"])
def test_announce_takes_a_schema_that_is_no_number_for_none(run: Any, put: Any, db: Any, found: str) -> None:
    put({"lua:scripts": {"schema": found}})

    assert run(STORE.counters.announce()) == 0

    assert db() == {"lua:scripts": announced(SCHEMA_VERSION)}


# -- count_scripts ------------------------------------------------------------------------

SHA = library()["push"].sha


def test_count_scripts_adds(run: Any, db: Any) -> None:
    assert run(STORE.counters.count_scripts([News("push", "calls", 3)], 1.5)) == ""
    assert run(STORE.counters.count_scripts([News("push", "calls", 4), News("push", "fenced", 1)], 2.5)) == ""

    assert db() == {"lua:script_counts": {"since": "1.5", f"{SHA}:calls": "7", f"{SHA}:fenced": "1"}}


def test_count_scripts_begins_anew_when_there_are_too_many_fields(run: Any, put: Any, db: Any) -> None:
    full = {f"{n}:calls": "1" for n in range(COUNT_FIELDS - 1)}
    put({"lua:script_counts": {"since": "1.5", **full}})
    run(STORE.counters.count_scripts([News("push", "calls", 3)], 2.5))
    assert db() == {"lua:script_counts": {"since": "1.5", **full, f"{SHA}:calls": "3"}}

    run(STORE.counters.count_scripts([News("push", "calls", 4)], 3.5))

    assert db() == {"lua:script_counts": {"since": "3.5", f"{SHA}:calls": "4"}}


def test_count_scripts_leaves_out_what_is_no_number(run: Any, put: Any, db: Any) -> None:
    put({"lua:script_counts": {"since": "1.5", f"{SHA}:calls": "many"}})

    problem = run(STORE.counters.count_scripts([News("push", "calls", 3), News("push", "failures", 2)], 2.5))

    assert "not an integer" in problem
    assert db() == {"lua:script_counts": {"since": "1.5", f"{SHA}:calls": "many", f"{SHA}:failures": "2"}}
