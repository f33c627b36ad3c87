"""Memory that runs out: what finishes work passes, what adds work is refused whole, and nothing is half done.

That a full server refuses new work and nothing else is in tests/lua/test_every_script.py; here the two are
compared with the flags, and memory runs out while a script runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import keyspace
import lua_rules as rules
import pytest
from keyspace import NOW, STORE, job
from script_cases import CASES
from servers import Server

from sidekiq_lua.errors import RedisFull
from sidekiq_lua.store import Endpoint, Transport
from sidekiq_lua.store.scripts import library

ADDING = sorted(rules.USERS_WORK)
MEMORY = "6mb"
LARGE = [job(n, f',"args":["{"x" * 60_000}"]') for n in range(100)]
"""Some 6 MB: more than is left of it."""


@pytest.fixture(scope="module")
def small() -> Iterator[tuple[Server, Transport]]:
    import os

    with Server(os.environ.get("SIDEKIQ_LUA_TEST_SERVER") or None, {"maxmemory": MEMORY}) as server:
        transport = Transport(Endpoint(server.url))
        yield server, transport
        transport.close()


def test_scripts_without_allow_oom_are_those_that_add_work() -> None:
    refused = [name for name, script in library().items() if not script.flags & {"allow-oom", "no-writes"}]
    assert refused == ADDING


def test_a_script_that_began_finishes(small: tuple[Server, Transport]) -> None:
    """Memory is asked for once, before the script: so a push is there as a whole, and the next is refused."""
    server, transport = small
    with server.client() as client:
        client.flushall()
        assert transport.run(STORE.queues.push("default", LARGE)) == len(LARGE)
        assert client.lrange("queue:default", 0, -1) == LARGE[::-1]
        for call in (STORE.queues.push("other", LARGE[:1]), STORE.queues.schedule([(NOW, LARGE[0])])):
            with pytest.raises(RedisFull):
                transport.run(call)
        assert client.llen("queue:default") == len(LARGE)
        assert sorted(client.keys()) == [b"queue:default", b"queues"]


@pytest.mark.parametrize("name", [name for name in sorted(CASES) if name not in ADDING])
def test_what_finishes_work_passes_on_a_server_full_of_jobs(
    small: tuple[Server, Transport], name: str
) -> None:
    server, transport = small
    case = CASES[name]
    with server.client() as client:
        client.flushall()
        keyspace.put(client, case.found)
        client.rpush("full", *LARGE)
        assert client.info("memory")["used_memory"] > 6 * 1024 * 1024

        transport.run(case.call)
