"""What holds of every script: replays, a full server, keys of wrong types, and only declared keys."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keyspace
import lua_rules as rules
import pytest
import redis as redis_py
from script_cases import CASES
from servers import Server

from sidekiq_lua.errors import RedisError, RedisFull
from sidekiq_lua.store import Endpoint, Transport
from sidekiq_lua.store.scripts import library

SCRIPTS = sorted(CASES)
READS = [name for name in SCRIPTS if library()[name].reads_only]


def jobs_of(database: dict[str, Any]) -> Counter[int]:
    """How often each job is in a list or a sorted set."""
    found: Counter[int] = Counter()
    for value in database.values():
        if isinstance(value, list):
            texts = [item[0] if isinstance(item, tuple) else item for item in value]
            found.update(int(n) for text in texts for n in re.findall(rb'"jid":"(\d+)"', text))
    return found


def added(name: str) -> Counter[int]:
    """The jobs that a script's case brings."""
    new = {"push": (31, 32), "relay": (31, 32), "schedule": (31,)}
    return Counter(new.get(name.removesuffix("_once"), ()))


def test_every_script_has_a_case() -> None:
    assert sorted(library()) == SCRIPTS, "give a new script an ordinary call in tests/script_cases.py"
    assert [name for name, case in CASES.items() if case.call.script is not library()[name]] == []


SAFE = [name for name in SCRIPTS if not library()[name].header["REPLAY"].startswith("repeats")]


@pytest.mark.parametrize("name", SAFE)
def test_a_second_run_does_nothing_more(run: Any, put: Any, db: Any, name: str) -> None:
    put(CASES[name].found)
    run(CASES[name].call)
    after = db()

    run(CASES[name].call)

    assert db() == after


@pytest.mark.parametrize("name", SCRIPTS)
def test_only_reads_leave_everything_as_it_was(
    run: Any, put: Any, db: Any, redis: redis_py.Redis, name: str
) -> None:
    def state() -> Any:
        return db(), [key for key in redis.scan_iter() if redis.ttl(key) != -1]

    put(CASES[name].found)
    before = state()

    run(CASES[name].call)

    assert (state() == before) is (name in READS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_job_is_lost_or_doubled(run: Any, put: Any, db: Any, name: str) -> None:
    case = CASES[name]
    put(case.found)
    before = jobs_of(db())

    run(case.call)

    assert jobs_of(db()) == before + added(name) - Counter(case.removes)


BREAKABLE = [
    (name, key)
    for name in SCRIPTS
    for key in dict.fromkeys(map(str, CASES[name].call.keys))
    if name not in READS
]


@pytest.mark.parametrize(("name", "key"), BREAKABLE)
@pytest.mark.parametrize("foreign", ["a string", {"a": "hash"}], ids=["string", "hash"])
def test_a_key_of_a_wrong_type_loses_no_job(
    run: Any, put: Any, db: Any, name: str, key: str, foreign: Any
) -> None:
    """Redis rolls nothing back: each script looks first, then inserts, then removes, and counts last."""
    case = CASES[name]
    put({**case.found, key: foreign})
    before = db()

    # An acknowledged job is over, whether the call comes to its end or not.
    over = Counter(case.removes) if name in {"ack", "ack_and_fetch"} else Counter()
    new: Counter[int] = Counter()
    try:
        run(case.call)
        over, new = Counter(case.removes), added(name)
    except RedisError:
        if name in rules.USERS_WORK:
            assert db() == before
    after = db()

    assert jobs_of(after) - jobs_of(before) <= new
    assert jobs_of(before) - jobs_of(after) <= over


# -- a full server --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full() -> Iterator[tuple[Server, Transport]]:
    with Server() as server:
        transport = Transport(Endpoint(server.url))
        yield server, transport
        transport.close()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_full_server_refuses_new_work_and_nothing_else(
    full: tuple[Server, Transport], run: Any, put: Any, db: Any, name: str
) -> None:
    server, transport = full
    case = CASES[name]
    put(case.found)
    before = db()
    run(case.call)
    with server.client() as client:
        client.flushall()
        keyspace.put(client, case.found)
        client.config_set("maxmemory", "1")
        try:
            if name in rules.USERS_WORK:
                with pytest.raises(RedisFull, match=rf"^{name}\.lua: Redis is full"):
                    transport.run(case.call)
                assert keyspace.contents(client) == before
            else:
                transport.run(case.call)
                assert keyspace.contents(client) == db()
        finally:
            client.config_set("maxmemory", "0")


# -- declared keys ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
def test_only_declared_keys_are_touched(transport_as: Any, put: Any, name: str) -> None:
    """Redis holds a script to its user's rules: here its own commands, on the keys that it declares."""
    call = CASES[name].call
    put(CASES[name].found)
    commands = rules.commands(library()[name].text)
    access, run = ("%R~", "+evalsha_ro") if name in READS else ("~", "+evalsha")
    keys = [access + re.sub(r"([*?\[\]\\])", r"\\\1", str(key)) for key in call.keys]

    transport_as(run, "+script|load", *(f"+{command.lower()}" for command in commands), *keys).run(call)


def test_that_run_refuses_another_key(transport_as: Any, redis: redis_py.Redis) -> None:
    call = CASES["stats"].call

    with pytest.raises(RedisError, match="permission"):
        transport_as("+evalsha_ro", "+script|load", "+@read", "%R~stat:processed").run(call)
