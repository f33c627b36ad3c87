"""Two releases on one data set: jobs pass from one to the other, and an older one refuses a newer schema."""

from __future__ import annotations

from typing import Any

import pytest
from audit.versions import by_other_release, other_release
from keyspace import BURIAL, DAY, ME, NOW, REGISTERED, STORE, job

from sidekiq_lua.errors import NewerSchema
from sidekiq_lua.store import Transport
from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.entries import Promotion
from sidekiq_lua.store.owners import Orphan
from sidekiq_lua.store.preflight import check_schema
from sidekiq_lua.store.scripts import library
from sidekiq_lua.version import SCHEMA_VERSION, __version__

MINE = STORE.running(ME.identity, ME.epoch)


def keep(call: Call[Any]) -> Call[Any]:
    return call


@pytest.mark.parametrize("flush", [False, True], ids=["", "script-flush"])
@pytest.mark.parametrize("first_is_older", [True, False], ids=["older-first", "newer-first"])
def test_a_job_s_whole_life_passes_between_two_releases(
    transport: Transport, redis: Any, put: Any, first_is_older: bool, flush: bool
) -> None:
    """Each step by another release than the step before; in between the server may forget all scripts."""
    releases = [by_other_release, keep] if first_is_older else [keep, by_other_release]
    put(REGISTERED)

    def step(call: Call[Any]) -> Any:
        releases.reverse()
        if flush:
            redis.script_flush()
        return transport.run(releases[0](call))

    failed, dead = job(1, ',"retry_count":0'), job(1, ',"retry_count":25')
    step(STORE.queues.push("default", [job(1), job(2)]))
    (reply,) = [step(MINE.fetch(["default"], 2))]
    assert reply
    step(MINE.retry("default", job(1), failed, NOW - 1, DAY))
    step(MINE.requeue("default", [job(2)]))
    assert step(STORE.entries.due(NOW, 10, {}))
    step(STORE.entries.promote("retry", [Promotion(failed, "default", failed)], NOW))
    step(MINE.fetch(["default"], 1))
    step(STORE.owners.recover(ME, "default", [Orphan(job(2), "2", True, b"")], 3, 60, BURIAL))
    put(REGISTERED)
    step(MINE.fetch(["default"], 2))
    step(MINE.bury("default", failed, dead, BURIAL, DAY))
    step(MINE.ack([("default", job(2))], DAY))

    assert redis.zrange("dead", 0, -1) == [dead]
    assert redis.get("stat:processed") == b"3"
    assert redis.get("stat:failed") == b"2"
    assert redis.exists("queue:default", "retry", MINE.list("default")) == 0


def test_both_releases_stand_in_the_registry(transport: Transport, redis: Any, put: Any) -> None:
    other = other_release(library()["push"])
    put({"lua:scripts": {"schema": str(SCHEMA_VERSION), other.sha: "push 0.0.1"}})

    check_schema(transport, STORE)

    registered = redis.hgetall("lua:scripts")
    assert registered[other.sha.encode()] == b"push 0.0.1"
    assert registered[library()["push"].sha.encode()] == f"push {__version__}".encode()


def test_a_newer_schema_is_refused_and_left_as_it_is(transport: Transport, put: Any, db: Any) -> None:
    put({"lua:scripts": {"schema": str(SCHEMA_VERSION + 1)}})
    before = db()

    with pytest.raises(NewerSchema, match=r"upgrade this process with pip install -U sidekiq-lua"):
        check_schema(transport, STORE)

    assert db() == before
