"""`sidekiq-lua acl`: with the line that it prints a role can do its work, and nothing beyond."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner
from commandline import CommandLine, cli, make_cli
from keyspace import put
from script_cases import CASES, Case
from servers import Server
from waiting import wait_until

from sidekiq_lua import AsyncClient, Client, Job, Sidekiq
from sidekiq_lua.cli import acl
from sidekiq_lua.cli.main import main
from sidekiq_lua.errors import RedisError, RedisRefused
from sidekiq_lua.store import Endpoint, Store, Transport, access
from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.contract import contracts
from sidekiq_lua.store.keys import patterns

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from _audit import acl as page  # noqa: E402
from _audit import reference  # noqa: E402

REAL = {"host:1:aaaa": "host:1:aaaa00000000", "gone:1:x": "gone:1:bbbb00000000"}
"""The cases have short identities; those of real processes end in twelve hexadecimal digits."""

Login = Callable[..., Transport]


@pytest.fixture
def login(redis: redis_py.Redis, server: Server) -> Iterator[Login]:
    """A connection as the user that the line of a role makes; whatever was denied to it, ends the test."""
    made: list[Transport] = []

    def make(role: str, prefix: str = "") -> Transport:
        made.append(Transport(Endpoint(user(redis, server, role, prefix))))
        return made[-1]

    redis.execute_command("ACL", "LOG", "RESET")
    yield make
    for transport in made:
        transport.close()
    for role in access.PLAIN:
        redis.execute_command("ACL", "DELUSER", role)


def user(redis: redis_py.Redis, server: Server, role: str, prefix: str = "") -> str:
    """Make the user; answers its URL."""
    line = access.grant(role, prefix).line(role, access.hashed("pw"))
    words = line.replace("(", '"(').replace(")", ')"')
    redis.execute_command(*shlex.split(words))
    return f"redis://{role}:pw@127.0.0.1:{server.port}/0"


def denied(redis: redis_py.Redis) -> list[str]:
    """What ACL LOG has, as a user would have to add it."""
    log = redis.execute_command("ACL", "LOG")
    return [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in map(_decoded, log)]


def _decoded(entry: Any) -> Mapping[str, str]:
    pairs = entry.items() if isinstance(entry, dict) else zip(entry[::2], entry[1::2], strict=True)
    return {_text(key): _text(value) for key, value in pairs}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


# -- every script of a role --------------------------------------------------------------------

RUNS = [(role, name) for role in access.PLAIN for name in access.grant(role).scripts]


def real(value: Any) -> Any:
    """The same with the identities of real processes."""
    match value:
        case str():
            for short, whole in REAL.items():
                value = value.replace(short, whole)
            return value
        case bytes():
            return real(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        case dict():
            return {real(key): real(item) for key, item in value.items()}
        case list() | tuple() | set():
            return type(value)(real(item) for item in value)
    return value


@pytest.mark.parametrize(("role", "name"), RUNS)
def test_a_role_may_run_its_scripts(redis: redis_py.Redis, login: Login, role: str, name: str) -> None:
    case = CASES[name]
    put(redis, real(case.found))
    call = Call(case.call.script, real(case.call.keys), real(case.call.argv), lambda reply: reply)

    login(role).run(call)

    assert denied(redis) == []


OTHERS = [
    (role, name)
    for role in ("enqueuer", "scheduler", "dashboard")
    for name in CASES
    if name not in access.grant(role).scripts and "no-writes" not in contracts()[name].flags
]


@pytest.mark.parametrize("role", ["enqueuer", "scheduler", "dashboard"])
def test_a_role_may_run_no_other_script_that_writes(redis: redis_py.Redis, login: Login, role: str) -> None:
    """Each leaves the database as it was: where a script adds what it then cannot remove, jobs would double."""
    may = []
    for _, name in [pair for pair in OTHERS if pair[0] == role]:
        redis.flushdb()
        put(redis, real(CASES[name].found))
        before = everything(redis)
        call = Call(
            CASES[name].call.script, real(CASES[name].call.keys), real(CASES[name].call.argv), lambda r: r
        )
        try:
            login(role).run(call)
        except RedisError:
            pass  # what counts is what it left behind
        if everything(redis) != before:
            may.append(name)
    assert may == page.OVERLAPS.get(role, [])


def everything(redis: redis_py.Redis) -> dict[bytes, bytes | None]:
    return {key: redis.dump(key) for key in redis.scan_iter(count=1000)}
