"""Transports and proxies that are closed when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis as redis_py
from proxy import Proxy
from servers import Server

from sidekiq_lua.store import Endpoint, Transport


@pytest.fixture
def connect() -> Iterator[Callable[..., Transport]]:
    """`connect(url, options, size=…)`: a transport."""
    with ExitStack() as stack:

        def make(url: str, options: dict[str, Any] | None = None, **more: Any) -> Transport:
            transport = Transport(Endpoint(url, options), **more)
            stack.callback(transport.close)
            return transport

        yield make


@pytest.fixture
def transport(url: str, connect: Callable[..., Transport]) -> Transport:
    """A transport to the shared server, which was emptied just before."""
    return connect(url)


@pytest.fixture
def proxy(server: Server, redis: redis_py.Redis) -> Iterator[Proxy]:
    """A proxy in front of the shared server, which was emptied just before."""
    with Proxy(server.port) as proxy:
        yield proxy
