"""register, owners, alive, held, forget and leave: who may hold jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from keyspace import ME, MINE, REGISTERED, RUNNING, RUNNING_LOW, STORE, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.owners import Owner
from sidekiq_lua.store.running import FETCH_BYTES

OTHER = Owner("größe:2:bbbb", "ff", ("a:b", "c d"), 1)


def test_register_enters_the_owner_once(run: Any, db: Any) -> None:
    assert [run(STORE.owners.register(ME)) for _ in range(2)] == [1, 0]

    assert db() == REGISTERED
    assert ME.field == "host:1:aaaa:1a2b"


def test_owners_come_back_as_they_were_entered(run: Any, put: Any, db: Any) -> None:
    run(STORE.owners.register(ME))
    run(STORE.owners.register(OTHER))

    cursor, owners = run(STORE.owners.page())

    assert (cursor, sorted(owners, key=str)) == ("0", sorted([ME, OTHER], key=str))
    assert set(db()) == {"lua:owners"}


def test_owners_are_read_in_pages(run: Any) -> None:
    entered = [replace(ME, identity=f"host:{n}:aaaa") for n in range(1000)]
    for owner in entered:
        run(STORE.owners.register(owner))
    found: list[Owner] = []
    pages, cursor = 0, "0"
    while pages == 0 or cursor != "0":
        cursor, owners = run(STORE.owners.page(cursor))
        pages += 1
        found += owners
        assert len(owners) < 300

    assert set(found) == set(entered)
    assert pages > 3


def test_alive_tells_who_has_a_heartbeat(run: Any, put: Any, db: Any) -> None:
    before = {"a:1:x": {"info": "{}"}, "c:3:z": {"info": "{}"}}
    put(before)

    assert run(STORE.owners.alive(["a:1:x", "b:2:y", "c:3:z"])) == [True, False, True]

    assert db() == before


# -- held -----------------------------------------------------------------------------------


def test_held_reads_a_page_from_either_end(run: Any, put: Any, db: Any) -> None:
    before = {RUNNING: [job(n) for n in (5, 4, 3, 2, 1)]}
    put(before)

    assert run(MINE.held("default")) == [job(n) for n in (1, 2, 3, 4, 5)]
    assert run(MINE.held("default", skip=1, n=2)) == [job(2), job(3)]
    assert run(MINE.held("default", skip=5)) == []
    assert run(MINE.held("low")) == []
    assert run(STORE.owners.held(ME, "default", 2)) == (5, [job(4), job(5)])

    assert db() == before


def test_held_stops_at_its_limit_of_bytes(run: Any, put: Any) -> None:
    big = [job(n, f',"pad":"{"x" * (FETCH_BYTES // 2)}"') for n in range(4)]
    put({RUNNING: big[::-1]})

    assert run(STORE.owners.held(ME, "default")) == (4, big[2:])
    assert run(MINE.held("default", skip=2)) == big[2:]


def test_held_at_exactly_its_limit_of_bytes(run: Any, put: Any) -> None:
    half = b"x" * (FETCH_BYTES // 2)
    put({RUNNING: [job(1), half, half]})

    assert run(MINE.held("default")) == [half, half]


# -- forget -----------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [[ME.field], [ME.reaped], [ME.field, ME.reaped]])
def test_a_dead_owner_without_jobs_is_forgotten(run: Any, put: Any, db: Any, fields: list[str]) -> None:
    put({"lua:owners": {**dict.fromkeys(fields, ME.text()), OTHER.field: OTHER.text()}})

    assert run(STORE.owners.forget(ME)) is True
    assert run(STORE.owners.forget(ME)) is False

    assert db() == {"lua:owners": {OTHER.field: OTHER.text()}}


@pytest.mark.parametrize(
    "reason", [{ME.identity: {"info": "{}"}}, {RUNNING: [job(1)]}, {RUNNING_LOW: [job(1)]}]
)
def test_an_owner_that_beats_or_holds_jobs_is_not_forgotten(
    run: Any, put: Any, db: Any, reason: dict[str, Any]
) -> None:
    put(REGISTERED, reason)

    assert run(STORE.owners.forget(ME)) is False

    assert db() == {**REGISTERED, **reason}


# -- leave ------------------------------------------------------------------------------


def test_leave_takes_the_process_off_the_lists(run: Any, put: Any, db: Any) -> None:
    kept = {"lua:owners": {OTHER.field: "x"}, "processes": {"other"}, ME.identity: {"info": "{}"}}
    put(kept, {"lua:owners": {ME.field: ME.text()}, "processes": {ME.identity}})
    put({f"{ME.identity}:work": {"tid": "{}"}})

    assert run(STORE.processes.leave(ME)) == 0

    # The heartbeat is left to expire, as Ruby does.
    assert db() == kept


@pytest.mark.parametrize("held", [{RUNNING: [job(1)]}, {RUNNING: [job(1)], RUNNING_LOW: [job(2), job(3)]}])
def test_leave_refuses_to_go_while_a_list_holds_jobs(
    run: Any, put: Any, db: Any, held: dict[str, Any]
) -> None:
    put(REGISTERED, held, {"processes": {ME.identity}, f"{ME.identity}:work": {"tid": "{}"}})

    assert run(STORE.processes.leave(ME)) == len(held)

    # Listed no more, but still an owner, so that its jobs are recovered.
    assert db() == {**REGISTERED, **held}


def test_leave_again_does_nothing_more(run: Any, put: Any, db: Any) -> None:
    put(REGISTERED, {"processes": {ME.identity}})

    assert [run(STORE.processes.leave(ME)) for _ in range(2)] == [0, 0]

    assert db() == {}


def test_leave_stays_an_owner_when_owners_cannot_be_read(run: Any, put: Any, db: Any) -> None:
    put({"processes": "a string", **REGISTERED})

    with pytest.raises(ScriptError, match="WRONGTYPE"):
        run(STORE.processes.leave(ME))

    assert db() == {"processes": "a string", **REGISTERED}
