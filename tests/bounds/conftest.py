"""One server with a crowd on it, for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from bounds.crowd import Crowd
from bounds.meter import Meter
from servers import Server

from sidekiq_lua.store import Endpoint, Transport


@pytest.fixture(scope="module")
def crowded() -> Iterator[tuple[Crowd, Meter]]:
    with (
        Server(os.environ.get("SIDEKIQ_LUA_TEST_SERVER") or None) as server,
        server.client(socket_timeout=60) as client,
    ):
        crowd = Crowd(client)
        transport = Transport(Endpoint(server.url, {"socket_timeout": 60}))
        yield crowd, Meter(server, client, transport)
        transport.close()
