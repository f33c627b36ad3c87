"""The audit's table of commands says what a real server says of their keys and types."""

from __future__ import annotations

from typing import Any

import lua_rules as rules
import pytest
import redis as redis_py
from _audit import commands, monitor

WORDS = {
    "BITFIELD": ["INCRBY", "u16", "0", "1"],
    "BITFIELD_RO": ["GET", "u16", "0"],
    "EXPIRE": ["1"],
    "LMOVE": ["second", "LEFT", "RIGHT"],
    "SET": ["value"],
}
"""What follows the first key, where the server looks at it; the rest is given words that fit its arity."""
ALL = sorted(rules.READS | rules.WRITES)


@pytest.mark.parametrize("name", ALL)
def test_keys_and_writes(redis: redis_py.Redis, name: str) -> None:
    words = ["first", *WORDS.get(name, [f"word-{n}" for n in range(arity(redis, name) - 2)])]
    found = monitor.KeyFlags(redis).keys([name.encode(), *(word.encode() for word in words)])

    positions = commands.keys(name, words)
    assert [words[position] for position in positions] == [key.decode() for key, _ in found]
    assert [commands.writes(name, position) for position in positions] == [writes for _, writes in found]
    assert (name in rules.WRITES) is any(writes for _, writes in found)


MAKERS = {
    "string": ("SET", "k", "v"),
    "list": ("RPUSH", "k", "v"),
    "set": ("SADD", "k", "v"),
    "zset": ("ZADD", "k", "1", "v"),
    "hash": ("HSET", "k", "f", "v"),
}
NUMBERS = {
    "BITFIELD": ["GET", "u8", "0"],
    "BITFIELD_RO": ["GET", "u8", "0"],
    "HSCAN": ["0"],
    "HINCRBY": ["n", "1"],
    "LMOVE": ["k", "LEFT", "RIGHT"],
    "LREM": ["1", "m"],
    "SET": ["v"],
    "SSCAN": ["0"],
    "ZADD": ["1", "m"],
}
"""Words that are not arbitrary ones."""


@pytest.mark.parametrize("name", ALL)
def test_the_type_a_command_is_for(redis: redis_py.Redis, name: str) -> None:
    """A key of another type makes it fail; ANY: none does."""
    words = NUMBERS.get(name, ["1"] * (arity(redis, name) - 2))
    fits = []
    for kind, maker in MAKERS.items():
        redis.flushall()
        redis.execute_command(*maker)
        reply = ask(redis, name, "k", *words)
        if not str(reply).startswith("WRONGTYPE"):
            fits.append(kind)
    assert fits == (list(MAKERS) if commands.kind(name) == commands.ANY else [commands.kind(name)])


def arity(redis: redis_py.Redis, name: str) -> int:
    return abs(int(ask(redis, "COMMAND", "INFO", name)[0][1]))


def ask(redis: redis_py.Redis, *words: str) -> Any:
    """The reply as it came, or the error that it is."""
    connection = redis.connection_pool.get_connection()
    try:
        connection.send_command(*words)
        return connection.read_response()
    except redis_py.ResponseError as error:
        return error
    finally:
        redis.connection_pool.release(connection)
