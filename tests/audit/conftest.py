"""A database to put things in, and a way to run calls on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keyspace
import pytest
import redis as redis_py
from servers import Server

from sidekiq_lua.store import Endpoint, Transport
from sidekiq_lua.store.calls import Call


@pytest.fixture(scope="session")
def transport(server: Server) -> Iterator[Transport]:
    transport = Transport(Endpoint(server.unix_url))
    yield transport
    transport.close()


@pytest.fixture
def run(redis: redis_py.Redis, transport: Transport) -> Callable[[Call[Any]], Any]:
    """Run one call on the shared server, which was emptied just before."""
    return transport.run


@pytest.fixture
def put(redis: redis_py.Redis) -> Callable[[Any], None]:
    return lambda contents: keyspace.put(redis, contents)


@pytest.fixture
def db(redis: redis_py.Redis) -> Callable[[], dict[str, Any]]:
    """Call it for the whole database."""
    return lambda: keyspace.contents(redis)
