"""keep_alive, fall and fallen: what a process's stand-in does for it, and tells of its death."""

from __future__ import annotations

from typing import Any

import redis as redis_py
from keyspace import ME, RUNNING, STORE, job

from sidekiq_lua.store.scripts import library

KEYS = STORE.keys
PROCESS, WORK, FALLEN = KEYS.process(ME.identity), KEYS.work(ME.identity), KEYS.fallen(ME.identity)
HEARTBEAT = {PROCESS: {"info": "{}"}, WORK: {"tid": "{}"}}


def keep_alive(ttl: int = 60) -> Any:
    return library()["keep_alive"].call(process=PROCESS, work=WORK, ttl=ttl)


def fall(*running: str) -> Any:
    return library()["fall"].call(process=PROCESS, work=WORK, fallen=FALLEN, ttl=60, running=["", *running])


def test_the_stand_in_is_given_these_scripts_and_keys() -> None:
    specs = STORE.owners.standin_scripts(ME.identity)

    assert {name: spec["keys"] for name, spec in specs.items()} == {
        "keep_alive": [PROCESS, WORK],
        "fall": [PROCESS, WORK, FALLEN],
    }
    assert {name: (spec["text"], spec["sha"]) for name, spec in specs.items()} == {
        name: (library()[name].text, library()[name].sha) for name in specs
    }


def test_a_heartbeat_is_prolonged_and_nothing_else(
    run: Any, put: Any, db: Any, redis: redis_py.Redis
) -> None:
    put(HEARTBEAT)
    redis.expire(PROCESS, 5)

    assert run(keep_alive()) == 1

    assert db() == HEARTBEAT
    assert 55 <= redis.ttl(PROCESS) <= 60
    assert 55 <= redis.ttl(WORK) <= 60


def test_a_heartbeat_that_is_gone_stays_gone(run: Any, db: Any) -> None:
    assert run(keep_alive()) == 0

    assert db() == {}


def test_a_death_ends_the_heartbeat_and_notes_what_was_running(
    run: Any, put: Any, db: Any, redis: redis_py.Redis
) -> None:
    put(HEARTBEAT, {RUNNING: [job(1)]})

    assert run(fall("1", "2")) == 1

    # The jobs stay where they are until `recover` returns them.
    assert db() == {RUNNING: [job(1)], FALLEN: {"", "1", "2"}}
    assert 55 <= redis.ttl(FALLEN) <= 60
    assert run(STORE.owners.fallen(ME.identity)) == {"1", "2"}


def test_a_death_without_jobs_is_noted_too(run: Any, put: Any, db: Any) -> None:
    put(HEARTBEAT)
    assert run(STORE.owners.fallen(ME.identity)) is None

    assert run(fall()) == 1

    assert db() == {FALLEN: {""}}
    assert run(STORE.owners.fallen(ME.identity)) == set()


def test_a_death_whose_heartbeat_has_gone_is_no_news(run: Any, db: Any) -> None:
    assert run(fall("1")) == 0

    assert db() == {}


def test_a_death_with_thousands_of_jobs(run: Any, put: Any, db: Any) -> None:
    put(HEARTBEAT)
    running = [str(n) for n in range(9000)]

    run(fall(*running))

    assert db() == {FALLEN: {"", *running}}
