"""Under a hash-tagged prefix every script runs on a cluster-enabled server, in one slot, as elsewhere.

One node that has all slots refuses what a larger cluster does: keys of several slots, and in scripts keys
that are not declared.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyspace
import pytest
import redis as redis_py
from script_cases import CASES
from servers import Server, wait_until

from sidekiq_lua.errors import RedisError
from sidekiq_lua.store import Endpoint, Keys, Transport
from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.scripts import read

TAG = "{shard-1}:"


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[redis_py.Redis, Transport]]:
    """A cluster of one node, and a transport to it."""
    kind = os.environ.get("SIDEKIQ_LUA_TEST_SERVER") or None
    with Server(kind, {"cluster-enabled": "yes"}) as server, server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: client.cluster("info")["cluster_state"] == "ok", what="the cluster")
        transport = Transport(Endpoint(server.url))
        yield client, transport
        transport.close()


def tagged(call: Call[Any]) -> Call[Any]:
    """The same call on keys under the prefix."""
    return Call(call.script, tuple(TAG + str(key) for key in call.keys), call.argv, call.read)


def untagged(database: dict[str, Any]) -> dict[str, Any]:
    assert [key for key in database if not key.startswith(TAG)] == []
    return {key.removeprefix(TAG): value for key, value in database.items()}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_script_stays_in_its_slot(
    node: tuple[redis_py.Redis, Transport], run: Any, put: Any, db: Any, name: str
) -> None:
    client, transport = node
    case = CASES[name]
    put(case.found)
    expected = run(case.call)
    client.flushall()
    keyspace.put(client, {TAG + key: value for key, value in case.found.items()})

    assert in_order(name, transport.run(tagged(case.call))) == in_order(
        name, expected_under_tag(name, expected)
    )

    assert untagged(keyspace.contents(client)) == db()


def expected_under_tag(name: str, reply: Any) -> Any:
    """`preflight` answers the names of keys, which have the prefix there."""
    return [(TAG + key, what) for key, what in reply] if name == "preflight" else reply


def in_order(name: str, reply: Any) -> Any:
    """Members of sets come in an order that differs from server to server."""
    return (reply[0], sorted(reply[1])) if name == "members" else reply


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(set(case.call.keys)) > 1])
def test_without_the_prefix_it_is_refused(node: tuple[redis_py.Redis, Transport], name: str) -> None:
    """So the run above would notice a key that loses its prefix."""
    with pytest.raises(RedisError, match="same slot"):
        node[1].run(CASES[name].call)


def test_a_key_that_is_not_declared_is_refused(
    node: tuple[redis_py.Redis, Transport], tmp_path: Path
) -> None:
    header = "".join(f"-- {field:9} 1\n" for field in ("RETURNS", "BOUND", "REPLAY", "ROLES", "INVARIANT"))
    keys = "-- Planted.\n--\n-- KEYS  1   list  list  r  a list\n"
    text = f'#!lua\n{keys}{header}redis.call("GET", "elsewhere")\n'
    (tmp_path / "planted.lua").write_text(text, "utf-8")

    with pytest.raises(RedisError, match=r"do not hash to the same slot|undeclared|non local"):
        node[1].run(read("planted", tmp_path).call(list=TAG + "list"))


def test_every_key_begins_with_the_prefix() -> None:
    keys = Keys(TAG)
    plain = {name: value for name, value in vars(keys).items() if name != "prefix"}
    assert plain
    assert [name for name, value in plain.items() if not value.startswith(TAG)] == []
    for name, method in inspect.getmembers(keys, inspect.ismethod):
        if not name.startswith("_"):
            wanted = inspect.signature(method).parameters.values()
            given = [1_800_000_000.0 if "float" in str(p.annotation) else "2027-01-15" for p in wanted]
            assert method(*given).startswith(TAG), name
