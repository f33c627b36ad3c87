"""A database to put things in, and a way to run calls on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import as_roles
import keyspace
import pytest
import redis as redis_py
from servers import Server

from sidekiq_lua.store import Endpoint, Transport
from sidekiq_lua.store.calls import Call


@pytest.fixture(scope="session")
def transport(server: Server) -> Iterator[Transport]:
    """As roles, each call is made by one that may make it."""
    roles = as_roles.RoleTransport(server.url, "short-{}") if as_roles.ON else None
    transport = roles or Transport(Endpoint(server.unix_url))
    yield transport
    transport.close()


@pytest.fixture
def run(redis: redis_py.Redis, transport: Transport) -> Iterator[Callable[[Call[Any]], Any]]:
    """Run one call on the shared server, which was emptied just before."""
    if as_roles.ON:
        as_roles.denied(redis)
    yield transport.run
    if as_roles.ON:
        assert as_roles.denied(redis) == []


@pytest.fixture
def put(redis: redis_py.Redis) -> Callable[..., None]:
    """`put({"queue:default": [newest, …, oldest]})`; see `keyspace.put`."""

    def put_it(*contents: dict[str, Any]) -> None:
        for part in contents:
            keyspace.put(redis, part)

    return put_it


@pytest.fixture
def db(redis: redis_py.Redis) -> Callable[[], dict[str, Any]]:
    """Call it for the whole database."""
    return lambda: keyspace.contents(redis)


@pytest.fixture
def transport_as(server: Server, redis: redis_py.Redis) -> Iterator[Callable[..., Transport]]:
    """`transport_as("+@all", "-zadd")`: the shared server as a user with these ACL rules, and all keys."""
    made: list[Transport] = []

    def login(*rules: str) -> Transport:
        keys = [] if any(rule[0] in "~%" for rule in rules) else ["~*"]
        redis.execute_command("ACL", "SETUSER", "tester", "reset", "on", ">secret", "+auth", *rules, *keys)
        made.append(Transport(Endpoint(server.url, {"username": "tester", "password": "secret"})))
        return made[-1]

    yield login
    for transport in made:
        transport.close()
    redis.execute_command("ACL", "DELUSER", "tester")
