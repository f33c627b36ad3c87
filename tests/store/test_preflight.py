"""Is this server fit for jobs, and may this user run the scripts?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import lua_rules as rules
import pytest
import redis as redis_py
from keyspace import ME, RUNNING, STORE, contents, job, put
from script_cases import CASES
from servers import Server

from sidekiq_lua.errors import NewerSchema, RedisError, RedisRefused, UnsupportedServer
from sidekiq_lua.store import Transport, preflight
from sidekiq_lua.store.preflight import check_access, check_schema, check_server
from sidekiq_lua.store.scripts import library
from sidekiq_lua.version import SCHEMA_VERSION

QUEUES = ["default", "low"]
Login = Callable[..., Transport]


@pytest.fixture
def login(url: str, redis: redis_py.Redis, connect: Callable[..., Transport]) -> Iterator[Login]:
    """A transport as a user who may do all but what is taken away, on all keys or on the given ones."""

    def make(*rules: str, keys: tuple[str, ...] = ("*",)) -> Transport:
        patterns = [f"~{key}" for key in keys]
        redis.execute_command("ACL", "SETUSER", "tester", "reset", "on", ">pw", "+@all", *rules, *patterns)
        return connect(url, {"username": "tester", "password": "pw"})

    yield make
    redis.execute_command("ACL", "DELUSER", "tester")


# -- the server -----------------------------------------------------------------------------


def test_a_server_of_today_is_fit(transport: Transport) -> None:
    assert check_server(transport, production=True) == []


def test_a_server_that_is_too_old_is_refused(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "MINIMUM", (99, 0, 0))

    with pytest.raises(UnsupportedServer, match=r"^redis://\S+ is Redis 7[\d.]+, which is too old"):
        check_server(transport, production=False)


def test_an_eviction_policy_that_deletes_jobs(make_server: Any, connect: Callable[..., Transport]) -> None:
    transport = connect(make_server(maxmemory_policy="volatile-ttl").url)

    warnings = check_server(transport, production=False)

    assert len(warnings) == 1
    assert "the eviction policy 'volatile-ttl', which deletes jobs" in warnings[0]
    with pytest.raises(UnsupportedServer, match="maxmemory-policy noeviction"):
        check_server(transport, production=True)


def test_a_cluster_is_refused(make_server: Any, connect: Callable[..., Transport]) -> None:
    transport = connect(make_server(cluster_enabled=True).url)

    with pytest.raises(UnsupportedServer, match="Redis Cluster"):
        check_server(transport, production=False)


def test_a_client_of_a_cluster_is_told_so(make_server: Any, connect: Callable[..., Transport]) -> None:
    """It has not asked what the server is; some of its calls would even go well."""
    transport = connect(make_server(cluster_enabled=True).url)

    with pytest.raises(RedisRefused, match=r"^push\.lua: this is a Redis Cluster"):
        transport.run(STORE.queues.push("default", [b"{}"]))


def test_a_command_that_is_not_there_is_named(make_server: Any, connect: Callable[..., Transport]) -> None:
    transport = connect(make_server(rename_command=['SISMEMBER ""', "LMOVE other"]).url)

    with pytest.raises(RedisRefused, match=r"which does not know LMOVE, SISMEMBER: take rename-command out"):
        check_access(transport, STORE, ME, QUEUES)


def test_a_server_that_denies_info_is_taken_as_it_is(login: Login) -> None:
    (warning,) = check_server(login("-info"), production=True)

    assert warning.startswith("the server's version and eviction policy cannot be checked: INFO")


def test_another_error_of_info_goes_through(make_server: Any, connect: Callable[..., Transport]) -> None:
    server: Server = make_server()
    transport = connect(server.url)
    server.stop()

    with pytest.raises(RedisError, match="not available"):
        check_server(transport, production=True)


# -- the user -----------------------------------------------------------------------------


def test_a_user_who_may_do_everything_passes(transport: Transport, redis: redis_py.Redis) -> None:
    put(redis, {RUNNING: [job(1)], "queues": {"default"}})
    before = contents(redis)

    check_access(transport, STORE, ME.identity, QUEUES)

    assert contents(redis) == before


def test_a_denied_command_is_named_with_its_key(login: Login) -> None:
    with pytest.raises(RedisRefused) as caught:
        check_access(login("-zadd"), STORE, ME.identity, QUEUES)

    assert str(caught.value).endswith("schedule: ZADD is denied; retry: ZADD is denied; dead: ZADD is denied")


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("retry", ["x"], "list"),
        ("queue:low", "x", "string"),
        ("stat:failed", {"x"}, "set"),
        ("paused", "x", "string"),
    ],
)
def test_a_key_of_a_wrong_type_is_named(
    transport: Transport, redis: redis_py.Redis, key: str, value: Any, kind: str
) -> None:
    put(redis, {key: value})

    with pytest.raises(RedisRefused) as caught:
        check_access(transport, STORE, ME.identity, QUEUES)

    assert str(caught.value).endswith(f": {key}: it is a {kind}")


# `preflight` asks, and `announce` runs right after it.
NO_JOBS = {"count_scripts", "flush_metrics", "store_profile"}
"""Denied, these cost a warning: a worker that may not keep figures still runs its jobs."""
WORKERS = [
    name
    for name in CASES
    if re.search("worker|scheduler", library()[name].header["ROLES"])
    and name not in {"preflight", "announce", *NO_JOBS}
]
NEEDED = [(name, command) for name in WORKERS for command in sorted(rules.commands(library()[name].text))]


@pytest.mark.parametrize(("name", "command"), NEEDED)
def test_a_command_that_a_worker_needs_is_asked_for(
    login: Login, redis: redis_py.Redis, name: str, command: str
) -> None:
    put(redis, CASES[name].found)
    transport = login(f"-{command.lower()}")

    if fails(transport, name):
        with pytest.raises(RedisRefused, match=f"{command} is denied"):
            check_access(transport, STORE, ME.identity, QUEUES)


PATTERNS = (
    *("queues", "paused", "schedule", "retry", "dead", "processes", "host:*", "queue:*", "lua:running:*"),
    *("stat:*", "lua:owners", "lua:crashes:*", "lua:fallen:*", "lua:scripts", "process_cleanup", "gone:*"),
)
LATER = {
    "lua:scripts": "read and written right after this check",
    "process_cleanup": "a clean-up that fails costs nothing",
    "gone:*": "other processes' heartbeats are named like one's own",
}


@pytest.mark.parametrize("hidden", [pattern for pattern in PATTERNS if pattern not in LATER])
def test_a_key_that_a_worker_needs_is_asked_for(login: Login, redis: redis_py.Redis, hidden: str) -> None:
    transport = login(keys=tuple(pattern for pattern in PATTERNS if pattern != hidden))
    failing = [name for name in WORKERS if fails(transport, name)]

    assert failing
    with pytest.raises(RedisRefused, match=re.escape(hidden.rstrip("*"))):
        check_access(transport, STORE, ME.identity, QUEUES)


def fails(transport: Transport, name: str) -> bool:
    try:
        transport.run(CASES[name].call)
    except RedisError:
        return True
    return False


# -- the schema -----------------------------------------------------------------------------


def test_the_schema_is_written_down(transport: Transport, redis: redis_py.Redis) -> None:
    check_schema(transport, STORE)
    check_schema(transport, STORE)

    assert redis.hget("lua:scripts", "schema") == str(SCHEMA_VERSION).encode()


def test_a_newer_schema_stops_the_process(transport: Transport, redis: redis_py.Redis) -> None:
    redis.hset("lua:scripts", "schema", SCHEMA_VERSION + 1)

    with pytest.raises(NewerSchema, match=f"schema {SCHEMA_VERSION + 1}.*pip install -U sidekiq-lua"):
        check_schema(transport, STORE)

    assert contents(redis) == {"lua:scripts": {"schema": str(SCHEMA_VERSION + 1)}}
