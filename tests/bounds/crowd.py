"""A keyspace of the largest size that has to be served, built on the server itself."""

from __future__ import annotations

import redis as redis_py
from keyspace import NOW

from sidekiq_lua.store import Store
from sidekiq_lua.store.owners import Owner

MILLION = 1_000_000
DEAD_LIMIT = 10_000
QUEUES = tuple(f"q{n}" for n in range(100))
"""`q0` has a million jobs."""
SLOTS = 400
"""Threads or tasks of one process. With 1000 of them the slowest `ack` takes some 8 ms."""
HELD = SLOTS + 100
"""The most that such a process holds from one queue: its slots and what it fetched ahead."""
STORE = Store()
ME = Owner("host:1:me", "0.0", QUEUES, SLOTS)
MINE = STORE.running(ME.identity, ME.epoch)

_CHUNK = 50_000
_LIST = """
local first, last, text = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for i = first, last do
  text[#text + 1] = string.format('{"class":"SomeJob","args":[%d],"jid":"%024d"}', i, i)
  if #text == 1000 or i == last then
    redis.call("LPUSH", KEYS[1], unpack(text))
    text = {}
  end
end
"""
_ZSET = """
local first, last, text = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
local base, step = tonumber(ARGV[3]), tonumber(ARGV[4])
for i = first, last do
  text[#text + 1] = string.format("%.6f", base + (i - 1) * step)
  text[#text + 1] = string.format('{"class":"SomeJob","args":[%d],"jid":"%024d"}', i, i)
  if #text == 2000 or i == last then
    redis.call("ZADD", KEYS[1], unpack(text))
    text = {}
  end
end
"""
_PROCESSES = """
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local identity = string.format("host:%d:%012x", i, i)
  redis.call("SADD", KEYS[1], identity)
  redis.call("HSET", identity, "info", ARGV[3], "busy", "3", "beat", "1.5", "quiet", "false")

  redis.call("HSET", KEYS[2], identity .. ":0.0", (string.gsub(ARGV[4], "IDENTITY", identity)))
end
"""


def text(n: int, bytes_: int = 0) -> bytes:
    """Job n as the fixtures have it, made `bytes_` long by an argument."""
    raw = b'{"class":"SomeJob","args":[%d],"jid":"%024d"}' % (n, n)
    fill = bytes_ - len(raw) - 3
    return raw if fill <= 0 else raw.replace(b'],"jid"', b',"%s"],"jid"' % (b"x" * fill))


def due(n: int) -> float:
    """When job n of the schedule is due: a million at once, a microsecond apart."""
    return round(NOW - 1 + (n - 1) * 1e-6, 6)


class Crowd:
    """The keyspace, and what a single call finds in it."""

    def __init__(self, client: redis_py.Redis) -> None:
        """A million scheduled and due, and in a queue; 500,000 dead over the limit; 10,000 processes."""
        self.client = client
        self._fill(_LIST, ["queue:q0"], MILLION)
        self._fill(_ZSET, ["schedule"], MILLION, repr(due(1)), "1e-6")
        self._fill(_ZSET, ["retry"], 1000, repr(due(1)), "1e-6")
        self._fill(_ZSET, ["dead"], DEAD_LIMIT + 500_000, repr(NOW - 600_000), "1")
        info = '{"hostname":"host","started_at":1,"pid":1,"tag":"app","queues":["default"],"labels":[]}'
        entry = '{"identity": "IDENTITY", "epoch": "0.0", "queues": ["default", "low"], "concurrency": 10}'
        self._fill(_PROCESSES, ["processes", "lua:owners"], 10_000, info, entry)
        client.hset("lua:owners", ME.field, ME.text())
        client.sadd("queues", *QUEUES)
        client.sadd("paused", *QUEUES[1:])
        for name in QUEUES[1:]:
            self._fill(_LIST, [f"queue:{name}"], 100)

    def _fill(self, script: str, keys: list[str], n: int, *more: str) -> None:
        for first in range(1, n + 1, _CHUNK):
            self.client.eval(script, len(keys), *keys, first, min(first + _CHUNK - 1, n), *more)

    def hold(self, queue: str, jobs: int, size: int = 0) -> list[bytes]:
        """Put jobs 1… into our running list of a queue, the first one fetched first; answers that order.

        We are registered and beat no more.
        """
        raws = [text(n, size) for n in range(1, jobs + 1)]
        self.client.delete(MINE.list(queue), ME.identity)
        self.client.hset("lua:owners", ME.field, ME.text())
        self.client.rpush(MINE.list(queue), *reversed(raws))
        return raws

    def fat(self, jobs: int, size: int) -> None:
        """Fill the queue `fat`, and empty our running list of it."""
        self.client.delete("queue:fat", MINE.list("fat"))
        self.client.hset("lua:owners", ME.field, ME.text())
        self.client.rpush("queue:fat", *(text(n, size) for n in range(jobs)))

    def scheduled(self, n: int, jobs: int, size: int) -> list[bytes]:
        """Jobs among the million, of their own for each n, due with the first of them."""
        raws = [text(2 * 10**9 + n * 1000 + k, size) for k in range(jobs)]
        self.client.zadd("schedule", dict.fromkeys(raws, due(1)))
        return raws

    def huge(self) -> None:
        """Twenty entries of 5 MB that are due first."""
        self.client.delete("retry")
        for name in ("retry", "schedule"):
            self.client.zadd(name, {text(n, 5_000_000): 0 for n in range(20)})
