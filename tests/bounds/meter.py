"""How long the server works on one call, and how many members the call touches."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import redis as redis_py
from servers import Server

from sidekiq_lua.store import Transport
from sidekiq_lua.store.calls import Call

_LINE = re.compile(rb'^\+[\d.]+ \[\d+ (\S+)\] "(\w+)"(.*)\r\n$', re.S)
_WORD = re.compile(rb' "((?:[^"\\]|\\.)*)"', re.S)
_END = "end-of-call"
_ASKS = {
    *(b"EXISTS", b"HEXISTS", b"SISMEMBER", b"TYPE", b"LLEN", b"SCARD", b"ZCARD", b"ZCOUNT"),
    *(b"GET", b"SET", b"INCRBY", b"DEL", b"UNLINK", b"EXPIRE", b"HLEN", b"STRLEN"),
}
"""Commands that touch one key as a whole, or ask for one member by a hash."""
_PACE = """
for i = 1, 2000 do redis.call('HINCRBY', KEYS[1], i % 50, 1) end
redis.call('DEL', KEYS[1])
"""
_PACE_MS = 3.0
"""What that takes where the limits in milliseconds hold as they are written."""


class Meter:
    """Runs calls on one server, which nobody else uses meanwhile."""

    def __init__(self, server: Server, client: redis_py.Redis, transport: Transport) -> None:
        self._server = server
        self._client = client
        self._transport = transport
        client.config_set("slowlog-log-slower-than", 0)
        client.config_set("slowlog-max-len", 8)

    def ms(self, call: Call[Any]) -> tuple[float, Any]:
        """Milliseconds that the server spent on the call, and the reply."""
        self._client.script_load(call.script.text)
        self._client.slowlog_reset()
        reply = self._transport.run(call)
        return self._spent_ms(b"EVALSHA"), reply

    def slowness(self) -> float:
        """How many times as long as `_PACE_MS` the server takes for `_PACE` just now; 1 if it is faster."""
        self._client.slowlog_reset()
        self._client.eval(_PACE, 1, "pace")
        return max(1.0, self._spent_ms(b"EVAL ") / _PACE_MS)

    def _spent_ms(self, command: bytes) -> float:
        found = self._client.slowlog_get(8)
        (spent,) = [entry["duration"] for entry in found if entry["command"].startswith(command)]
        return spent / 1000

    def members(self, call: Call[Any]) -> tuple[int, int]:
        """How many members the call touches (see `touched`), and with how many commands."""
        commands = self.commands(call)
        return touched(commands, self._client.scard, self._client.hlen), len(commands)

    def commands(self, call: Call[Any]) -> list[list[bytes]]:
        """What the script ran inside, as MONITOR tells it."""
        with socket.create_connection(("127.0.0.1", self._server.port)) as ear:
            ear.sendall(b"MONITOR\r\n")
            lines = ear.makefile("rb")
            assert lines.readline() == b"+OK\r\n"
            self._client.script_load(call.script.text)
            self._transport.run(call)
            self._client.echo(_END)
            return list(_inner(lines))


def _inner(lines: Any) -> Iterator[list[bytes]]:
    for line in lines:
        found = _LINE.match(line)
        assert found, line[:200]
        words = [found[2].upper(), *_WORD.findall(found[3])]
        if words == [b"ECHO", _END.encode()]:
            return
        if found[1] == b"lua":
            yield words


def touched(commands: list[list[bytes]], card: Callable[[bytes], int], fields: Callable[[bytes], int]) -> int:
    """How many members these commands read or write.

    A job that is looked for, put and removed is one member, a range counts with its size and a scan with
    its COUNT. Questions about whole keys, and whether something is in a set, count nothing.
    """
    members: set[tuple[bytes, ...]] = set()
    ranges = 0
    for name, *words in commands:
        match name, words:
            case b"ZREMRANGEBYRANK", [_, first, last]:
                ranges += int(last) - int(first) + 1
            case b"ZRANGE", [*_, b"LIMIT", _, n]:
                ranges += int(n)
            case ((b"ZRANGE" | b"LRANGE"), [_, first, last, *_]):
                ranges += int(last) - int(first) + 1
            case ((b"SSCAN" | b"HSCAN"), [*_, b"COUNT", n]):
                ranges += int(n)
            case b"SMEMBERS", [key]:
                ranges += card(key)
            case b"HGETALL", [key]:
                ranges += fields(key)
            case ((b"BITFIELD" | b"BITFIELD_RO"), [_, *words]):
                ranges += words.count(b"INCRBY") + words.count(b"GET")
            case ((b"LMOVE" | b"RPOP" | b"LINDEX" | b"LSET"), _):
                ranges += 1
            case ((b"LPUSH" | b"RPUSH" | b"SADD" | b"SREM" | b"ZREM" | b"ZMSCORE"), [_, *some]):
                members.update((member,) for member in some)
            case ((b"HMGET" | b"HGET" | b"HDEL"), [key, *some]):
                members.update((key, field) for field in some)
            case ((b"HINCRBY" | b"HSETNX"), [key, field, _]):
                members.add((key, field))
            case b"HSET", [key, *pairs]:
                members.update((key, field) for field in pairs[::2])
            case b"ZADD", [_, *pairs]:
                members.update((member,) for member in pairs[1::2] if member not in (b"XX", b"NX"))
            case b"LREM", [_, _, member]:
                members.add((member,))
            case ((b"LPOS" | b"ZSCORE" | b"ZRANK"), [_, member]):
                members.add((member,))
            case _:
                assert name in _ASKS, f"how many members does {name.decode()} touch?"
    return len(members) + ranges
