"""A small keyspace for tests of scripts: jobs, an owner, and how to write down what Redis holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import redis

from sidekiq_lua.store import Store
from sidekiq_lua.store.owners import Owner
from sidekiq_lua.store.running import Burial

NOW = 1_800_000_000.25
DAY = "2027-01-15"
STORE = Store()
ME = Owner("host:1:aaaa", "1a2b", ("default", "low"), 5)
MINE = STORE.running(ME.identity, ME.epoch)
RUNNING = "lua:running:host:1:aaaa:1a2b:default"
RUNNING_LOW = "lua:running:host:1:aaaa:1a2b:low"
REGISTERED = {"lua:owners": {ME.field: ME.text()}}
BURIAL = Burial(now=NOW, cutoff=NOW - 15_552_000, limit=10_000)
DAY_TTL_S = 5 * 365 * 86_400


def job(n: int | str, more: str = "") -> bytes:
    """A payload; equal arguments give equal bytes."""
    return f'{{"class":"SomeJob","args":[],"jid":"{n:0>24}"{more}}}'.encode()


def put(client: redis.Redis, contents: Mapping[str, Any]) -> None:
    """Write what `contents` reads: a list, set, hash, string, or a sorted set as pairs (member, score)."""
    for key, value in contents.items():
        match value:
            case str() | int():
                client.set(key, value)
            case set():
                client.sadd(key, *value)
            case dict():
                client.hset(key, mapping=value)
            case [(_, _), *_]:
                client.zadd(key, dict(value))
            case _:
                client.rpush(key, *value)


def contents(client: redis.Redis) -> dict[str, Any]:
    """The whole database as `put` takes it; members of lists and sorted sets are bytes, the rest is text."""
    return {
        key.decode(): _READ[client.type(key)](client, key) for key in sorted(client.scan_iter(count=1000))
    }


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


_READ: dict[bytes, Callable[[Any, bytes], Any]] = {
    b"string": lambda client, key: _text(client.get(key)),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"set": lambda client, key: {_text(member) for member in client.smembers(key)},
    b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    b"hash": lambda client, key: {_text(name): _text(value) for name, value in client.hgetall(key).items()},
}
