"""Fixtures on a real server; each test process, so each xdist worker too, has its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import as_roles
import pytest
import redis as redis_py
from servers import Server

# What a developer's shell or a platform sets must not decide where a test's jobs go.
_FOREIGN = {"APP_ENV", "DYNO", "RACK_ENV", "RAILS_ENV", "REDIS_PROVIDER", "REDIS_URL", "SIDEKIQ_ENV"}


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        ours = name.startswith("SIDEKIQ_LUA_") and not name.startswith("SIDEKIQ_LUA_TEST_")
        if ours or name in _FOREIGN:
            del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several test processes none should begin something long when the others have ended."""
    lost = [
        item.nodeid
        for item in items
        if item.get_closest_marker("interop") and "interop" not in item.path.parts
    ]
    if lost:
        raise pytest.UsageError(f"CI looks for interop tests in tests/interop: {lost}")

    def seconds(item: pytest.Item) -> float:
        limit = item.get_closest_marker("timeout")
        return limit.args[0] if limit else 0

    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=seconds, reverse=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server most tests share. SIDEKIQ_LUA_TEST_SERVER=redis or valkey names its kind.

    Leave its configuration alone; a test that changes some takes `make_server`.
    """
    with Server(os.environ.get("SIDEKIQ_LUA_TEST_SERVER") or None) as shared:
        yield shared


@pytest.fixture
def redis(server: Server) -> Iterator[redis_py.Redis]:
    """A client of the shared server, which was emptied just before; it answers bytes."""
    with server.client() as client:
        client.flushall()
        yield client


WORKERS = {"store": "short-worker", "worker": "worker", "journeys": "worker"}
"""As whom the code under test of a folder logs in, in a run as roles."""


@pytest.fixture
def url(server: Server, redis: redis_py.Redis, request: pytest.FixtureRequest) -> Iterator[str]:
    """The shared server's URL, emptied just before."""
    own = request.node.get_closest_marker("own_keys")
    if own or not (as_roles.ON and request.path.parent.name in WORKERS):
        yield server.url
        return
    as_roles.denied(redis)
    found = as_roles.login(server.url, WORKERS[request.path.parent.name])
    with as_roles.tests_act_as_admin(found):
        yield found
    assert as_roles.denied(redis) == []


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    """Start more servers: `make_server({"maxmemory": "4mb"})`, `make_server(maxmemory="4mb", kind="redis")`.

    Keywords spell `-` as `_`. All of them are gone, with their data, when the test ends.
    """
    with ExitStack() as stack:

        def make(options: Mapping[str, Any] | None = None, *, kind: str | None = None, **more: Any) -> Server:
            named = {name.replace("_", "-"): value for name, value in more.items()}
            chosen = kind or os.environ.get("SIDEKIQ_LUA_TEST_SERVER") or None
            return stack.enter_context(Server(chosen, {**(options or {}), **named}))

        yield make


@pytest.fixture
def dump(redis: redis_py.Redis) -> Callable[..., dict[str, Any]]:
    """Call it for the whole database as a dict; see `whole`."""

    def dump_it(client: redis_py.Redis | None = None, *, ttl: bool = False) -> dict[str, Any]:
        return whole(client or redis, ttl=ttl)

    return dump_it


def whole(client: redis_py.Redis, *, ttl: bool = False) -> dict[str, Any]:
    """Every key's contents; with `ttl`, pairs of the contents and the seconds left (None: for ever).

    A list is a list, a set a sorted list, a sorted set a list of (member, score), a hash a dict and a
    string a str. Bytes that are not UTF-8 become lone surrogates, so that no two values look alike.
    """
    found = {}
    for key in sorted(client.scan_iter(count=1000)):
        left = client.ttl(key)
        if left == -2:
            continue  # it expired since the scan
        value = _READ[client.type(key)](client, key)
        found[_text(key)] = (value, None if left == -1 else left) if ttl else value
    return found


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


_READ: dict[bytes, Callable[[Any, bytes], Any]] = {
    b"string": lambda client, key: _text(client.get(key)),
    b"list": lambda client, key: [_text(item) for item in client.lrange(key, 0, -1)],
    b"set": lambda client, key: sorted(_text(item) for item in client.smembers(key)),
    b"zset": lambda client, key: [
        (_text(member), score) for member, score in client.zrange(key, 0, -1, withscores=True)
    ],
    b"hash": lambda client, key: {_text(name): _text(item) for name, item in client.hgetall(key).items()},
}
