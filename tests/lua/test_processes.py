"""beat, signal, prune, members, process_info: what processes say of themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis as redis_py
from keyspace import ME, REGISTERED, RUNNING_LOW, STORE, job

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store.processes import Beat, ProcessInfo

TTL_S = 60
FIELDS: dict[str, str | int] = {"info": '{"pid":1}', "busy": 1, "beat": "1800000000.25", "quiet": "false"}
WORK = f"{ME.identity}:work"
SIGNALS = f"{ME.identity}-signals"
SHOWN = {name: str(value) for name, value in FIELDS.items()}
LISTS = [(ME, "default"), (ME, "low")]


def beat(**more: Any) -> Any:
    return STORE.processes.beat(
        **{"identity": ME.identity, "owners": [ME], "ttl_s": TTL_S, "fields": FIELDS, "work": {}, **more}
    )


def test_a_beat_says_that_the_process_lives_and_what_it_does(
    run: Any, put: Any, db: Any, redis: redis_py.Redis
) -> None:
    put(REGISTERED, {"processes": {"other"}})

    answer = run(beat(work={"tid1": '{"queue":"default"}', "tid2": "{}"}))

    assert answer == Beat(False, True, "", 2, dict.fromkeys(LISTS, 0), False)
    assert db() == {
        **REGISTERED,
        "processes": {"other", ME.identity},
        ME.identity: SHOWN,
        WORK: {"tid1": '{"queue":"default"}', "tid2": "{}"},
    }
    assert TTL_S - 5 <= redis.ttl(ME.identity) <= TTL_S
    assert TTL_S - 5 <= redis.ttl(WORK) <= TTL_S


def test_the_next_beat_renews_all_of_it(run: Any, put: Any, db: Any, redis: redis_py.Redis) -> None:
    put(REGISTERED)
    run(beat(work={"tid1": "{}"}))
    redis.expire(ME.identity, 5)

    assert run(beat(fields={**FIELDS, "busy": 0})).known

    assert db() == {**REGISTERED, "processes": {ME.identity}, ME.identity: {**SHOWN, "busy": "0"}}
    assert redis.ttl(ME.identity) > TTL_S - 5


@pytest.mark.parametrize("key", [STORE.keys.paused_classes, STORE.keys.resumed_classes])
def test_a_beat_tells_that_classes_are_paused_or_resumed(run: Any, put: Any, key: str) -> None:
    put(REGISTERED, {key: {"HardJob"}})
    assert run(beat()).classes


def test_a_beat_after_the_heartbeat_expired_tells_so(run: Any, put: Any, redis: redis_py.Redis) -> None:
    put(REGISTERED)
    run(beat())
    redis.delete(ME.identity)

    assert not run(beat()).known


def test_a_beat_tells_whether_all_its_owners_are_registered(run: Any, put: Any, db: Any) -> None:
    later = replace(ME, epoch="2")
    put(REGISTERED)

    assert run(beat(owners=[ME])).registered
    assert not run(beat(owners=[ME, later])).registered
    assert db()["lua:owners"] == REGISTERED["lua:owners"]

    put({"lua:owners": {later.field: "x"}})
    assert run(beat(owners=[ME, later])).registered


def test_a_beat_counts_what_its_lists_hold(run: Any, put: Any) -> None:
    later = replace(ME, epoch="2", queues=("default",))
    put({RUNNING_LOW: [job(1), job(2)], "lua:running:host:1:aaaa:2:default": [job(3)]})

    held = run(beat(owners=[ME, later])).held

    assert held == {(ME, "default"): 0, (ME, "low"): 2, (later, "default"): 1}


def test_a_beat_takes_one_signal_in_the_order_they_were_sent(
    run: Any, db: Any, redis: redis_py.Redis
) -> None:
    assert run(STORE.processes.signal(ME.identity, "TSTP")) == 1
    assert run(STORE.processes.signal(ME.identity, "TERM")) == 2
    assert db() == {SIGNALS: [b"TERM", b"TSTP"]}
    assert 55 <= redis.ttl(SIGNALS) <= 60

    assert [run(beat()).signal for _ in range(3)] == ["TSTP", "TERM", ""]

    assert set(db()) == {"processes", ME.identity}


def test_a_beat_writes_the_work_of_thousands(run: Any, db: Any) -> None:
    work = {f"tid{n}": "{}" for n in range(5000)}

    run(beat(work=work))

    assert db()[WORK] == work


# -- the list of processes ----------------------------------------------------------------


def test_prune_forgets_those_without_a_heartbeat(run: Any, put: Any, db: Any, redis: redis_py.Redis) -> None:
    # Ruby asks for the field: a hash without it is what is left of something else.
    put(
        {
            "processes": {"a:1:live", "b:1:gone", "c:1:odd"},
            "a:1:live": {"info": "{}"},
            "c:1:odd": {"busy": "1"},
        }
    )

    assert run(STORE.processes.prune(["a:1:live", "b:1:gone", "c:1:odd", "d:1:never"])) == 2

    assert db() == {
        "processes": {"a:1:live"},
        "a:1:live": {"info": "{}"},
        "c:1:odd": {"busy": "1"},
        "process_cleanup": "1",
    }
    assert 55 <= redis.ttl("process_cleanup") <= 60


def test_prune_is_done_by_one_process_a_minute(run: Any, put: Any, db: Any) -> None:
    before = {"processes": {"gone"}, "process_cleanup": "1"}
    put(before)

    assert run(STORE.processes.prune(["gone"])) == -1

    assert db() == before


def test_identities_come_in_pages(run: Any, put: Any) -> None:
    names = {f"host:{n}:x" for n in range(700)} | {"größe:1:y"}
    put({"processes": names})
    found: set[str] = set()
    cursor, pages = "", 0
    while cursor != "0":
        cursor, page = run(STORE.processes.identities(cursor or "0"))
        found.update(page)
        pages += 1

    assert found == names
    assert pages > 2


def test_info_reads_heartbeats_and_leaves_out_those_that_are_gone(run: Any, put: Any, db: Any) -> None:
    put(
        {
            "a:1:x": {
                "info": "{}",
                "concurrency": 5,
                "busy": 2,
                "beat": "1.5",
                "quiet": "true",
                "rss": 9,
                "rtt_us": 7,
            }
        }
    )
    put({"b:2:y": {"info": "[]"}, "c:3:z": {"busy": "1"}})
    before = db()

    assert run(STORE.processes.info(["a:1:x", "d:4:none", "b:2:y", "c:3:z"])) == [
        ProcessInfo("a:1:x", b"{}", 5, 2, 1.5, True, 9, 7),
        ProcessInfo("b:2:y", b"[]", None, 0, 0.0, False, 0, 0),
    ]

    assert db() == before


@pytest.mark.parametrize("key", ["processes", "lua:owners", SIGNALS])
def test_a_beat_that_fails_has_renewed_the_heartbeat(run: Any, put: Any, db: Any, key: str) -> None:
    """Whatever is wrong with the rest, nobody may take the process for dead."""
    put({key: "a string"})

    with pytest.raises(ScriptError, match="WRONGTYPE"):
        run(beat())

    assert db() == {"processes": {ME.identity}, ME.identity: SHOWN, key: "a string"}
