"""The audit's table of commands says what a real server says of their keys and types."""

from __future__ import annotations

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
    arity = redis.connection_pool.get_connection()
    arity.send_command("COMMAND", "INFO", name)
    info = arity.read_response()[0]
    wanted = abs(int(info[1])) - 2
    words = ["first", *WORDS.get(name, [f"word-{n}" for n in range(wanted)])]
    found = monitor.KeyFlags(redis).keys([name.encode(), *(word.encode() for word in words)])

    positions = commands.keys(name, words)
    assert [words[position] for position in positions] == [key.decode() for key, _ in found]
    assert [commands.writes(name, position) for position in positions] == [writes for _, writes in found]
    assert (name in rules.WRITES) is any(writes for _, writes in found)


@pytest.mark.parametrize("name", ALL)
def test_the_type_a_command_is_for(redis: redis_py.Redis, name: str) -> None:
    """A key of another type makes it fail; ANY: none does."""
    makers = {
        "string": ("SET", "k", "v"),
        "list": ("RPUSH", "k", "v"),
        "set": ("SADD", "k", "v"),
        "zset": ("ZADD", "k", "1", "v"),
        "hash": ("HSET", "k", "f", "v"),
    }
    words = {
        **{"BITFIELD": ["GET", "u8", "0"], "BITFIELD_RO": ["GET", "u8", "0"], "HINCRBY": ["n", "1"]},
        **{"HSCAN": ["0"], "SSCAN": ["0"], "ZRANGE": ["0", "1"], "ZADD": ["1", "m"], "ZCOUNT": ["0", "1"]},
        **{
            "LMOVE": ["k", "LEFT", "RIGHT"],
            "LREM": ["1", "m"],
            "LINDEX": ["0"],
            "ZREMRANGEBYRANK": ["0", "0"],
        },
        **{"EXPIRE": ["1"], "INCRBY": ["1"], "HSET": ["f", "v"], "HSETNX": ["f", "v"], "SET": ["v"]},
    }
    none = {"DEL", "EXISTS", "GET", "HGETALL", "HLEN", "LLEN", "RPOP", "SCARD", "SMEMBERS", "STRLEN", "TYPE"}
    given = words.get(name, [] if name in none | {"UNLINK", "ZCARD"} else ["m"])
    fits = []
    for kind, maker in makers.items():
        redis.flushall()
        redis.execute_command(*maker)
        connection = redis.connection_pool.get_connection()
        connection.send_command(name, "k", *given)
        try:
            connection.read_response()
        except redis_py.ResponseError as error:
            assert str(error).startswith(("WRONGTYPE", "value is not an integer")), error
            if "WRONGTYPE" in str(error):
                redis.connection_pool.release(connection)
                continue
        redis.connection_pool.release(connection)
        fits.append(kind)
    assert fits == (list(makers) if commands.kind(name) == commands.ANY else [commands.kind(name)])
