"""Memory that runs out: what finishes work passes, what adds work is refused whole, and nothing is half done.

That a full server refuses new work and nothing else is in tests/lua/test_every_script.py; here the two are
compared with the flags, and memory runs out while a script runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import lua_rules as rules
import pytest
from keyspace import NOW, STORE, job
from servers import Server

from sidekiq_lua.errors import RedisFull
from sidekiq_lua.store import Endpoint, Transport
from sidekiq_lua.store.scripts import library

ADDING = sorted(rules.USERS_WORK)
MB = 1024 * 1024
LARGE = [job(n, f',"args":["{"x" * 50_000}"]') for n in range(40)]
"""Some 2 MB: so much again is needed to keep them."""


@pytest.fixture
def own() -> Iterator[tuple[Server, Transport]]:
    with Server(os.environ.get("SIDEKIQ_LUA_TEST_SERVER") or None) as server:
        transport = Transport(Endpoint(server.url))
        yield server, transport
        transport.close()


def test_scripts_without_allow_oom_are_those_that_add_work() -> None:
    refused = [name for name, script in library().items() if not script.flags & {"allow-oom", "no-writes"}]
    assert refused == ADDING


def test_a_push_that_began_is_done_whole_and_the_next_one_is_refused_whole(
    own: tuple[Server, Transport],
) -> None:
    """Memory is asked for once, before the script, and runs out while it runs."""
    server, transport = own
    with server.client() as client:
        client.script_load(library()["push"].text)
        limit = client.info("memory")["used_memory"] + 3 * MB
        client.config_set("maxmemory", limit)

        assert transport.run(STORE.queues.push("default", LARGE)) == len(LARGE)

        assert client.info("memory")["used_memory_peak"] > limit, "memory did not run out"
        assert client.lrange("queue:default", 0, -1) == LARGE[::-1]
        client.config_set("maxmemory", MB)
        for call in (STORE.queues.push("other", LARGE[:1]), STORE.queues.schedule([(NOW, LARGE[0])])):
            with pytest.raises(RedisFull):
                transport.run(call)
        assert sorted(client.keys()) == [b"queue:default", b"queues"]
        assert client.llen("queue:default") == len(LARGE)
