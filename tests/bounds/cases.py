"""How to make the worst calls of scripts, on the keyspace that `crowd` builds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any, NamedTuple

from bounds.crowd import (
    DEAD_LIMIT,
    ME,
    MINE,
    NOW,
    QUEUES,
    SLOTS,
    STORE,
    Crowd,
    due,
    text,
)
from keyspace import DAY

from sidekiq_lua.store import Keys, Store
from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.entries import Entry, Promotion
from sidekiq_lua.store.owners import Orphan
from sidekiq_lua.store.relays import Row
from sidekiq_lua.store.running import Burial
from sidekiq_lua.store.scripts import library
from sidekiq_lua.store.sent import PushLane, once

KB64 = 65_536
A_MB = 1_000_000 // KB64 + 1
"""So many jobs of 64 KB come to 1 MB, and end a page or a call."""

Make = Callable[[Crowd, int], Call[Any]]
"""The call of round 0, 1, …; it prepares what the call finds."""


class Worst(NamedTuple):
    """`says` is in the header's BOUND, and `members` is that as a number, beside one for each key."""

    script: str
    what: str
    says: str
    members: int
    make: Make
    ms: float = 5.0

    def __str__(self) -> str:
        return f"{self.script}, {self.what}" if self.what else self.script


BURIAL = Burial(now=NOW, cutoff=NOW - 300_000, limit=DEAD_LIMIT)
"""Of the dead 300,000 are too old, and 200,000 more are too many."""
IDENTITIES = [f"host:{n}:{n:012x}" for n in range(1, 101)]
FAT = [*QUEUES[1:], "fat"]
"""A hundred queues, all of them paused but the last."""
LISTS = [key for q in QUEUES for key in (STORE.keys.queue(q), MINE.list(q))]


def holding(jobs: int, size: int, make: Callable[[list[bytes], int], Call[Any]]) -> Make:
    """A call on what we hold from q0: so many jobs of so many bytes, the oldest first."""
    return lambda crowd, n: make(crowd.hold("q0", jobs, size), n)


def acks(raws: list[bytes]) -> list[tuple[str, bytes]]:
    return [("q0", raw) for raw in raws]


def orphans(raws: list[bytes], n: int, *, blamed: bool, size: int = 0) -> list[Orphan]:
    return [
        Orphan(raw, f"{n}-{k}", blamed, text(n * 1000 + k + 10**8, size) if blamed else b"")
        for k, raw in enumerate(raws)
    ]


def recover(raws: list[bytes], n: int, limit: int, *, blamed: bool = True, size: int = 0) -> Call[Any]:
    return STORE.owners.recover(ME, "q0", orphans(raws, n, blamed=blamed, size=size), limit, 60, BURIAL)


def fetch(jobs: int, size: int) -> Make:
    def make(crowd: Crowd, n: int) -> Call[Any]:
        crowd.fat(jobs, size)
        return MINE.fetch(FAT, jobs)

    return make


def ack_and_fetch(done: int, jobs: int, held: int, size: int) -> Make:
    def make(crowd: Crowd, n: int) -> Call[Any]:
        crowd.fat(jobs, size)
        raws = crowd.hold("q1", held, size)
        return MINE.ack_and_fetch(FAT, jobs, [("q1", raw) for raw in raws[-done:]], DAY)

    return make


def promote(jobs: int, size: int) -> Make:
    def make(crowd: Crowd, n: int) -> Call[Any]:
        raws = crowd.scheduled(n, jobs, size)
        moves = [Promotion(raw, queue, raw + b" ") for raw, queue in zip(raws, cycle(QUEUES), strict=False)]
        return STORE.entries.promote("schedule", moves, NOW)

    return make


def claim(crowd: Crowd, n: int) -> Call[Any]:
    return STORE.entries.claim("schedule", [(raw, NOW) for raw in crowd.scheduled(n, 200, 0)], NOW)


def entry(size: int, make: Callable[[Entry, int], Call[Any]]) -> Make:
    def prepare(crowd: Crowd, n: int) -> Call[Any]:
        (raw,) = crowd.scheduled(n, 1, size)
        return make(Entry(raw, due(1)), n)

    return prepare


def beat(jobs: int, size: int) -> Make:
    fields = {f"field{k}": "x" * 40 for k in range(7)}
    work = {f"tid{k}": text(k, size).decode() for k in range(jobs)}
    return lambda crowd, n: STORE.processes.beat(ME.identity, [ME], 60, fields, work)


def push(jobs: int, size: int) -> Make:
    return lambda crowd, n: STORE.queues.push("q0", [text(k + 10**9, size) for k in range(jobs)])


def schedule(jobs: int, size: int) -> Make:
    return lambda crowd, n: STORE.queues.schedule(
        [(NOW + n, text(n * 1000 + k + 10**9, size)) for k in range(jobs)]
    )


def safe(make: Make) -> Make:
    """A push in its form that may be sent again."""
    return lambda crowd, n: once(make(crowd, n), PushLane(STORE.keys.sent("sender", 1), n + 1))


def relay(jobs: int, size: int) -> Make:
    def make(crowd: Crowd, n: int) -> Call[Any]:
        crowd.client.set(STORE.keys.relay_epoch("shop"), n)
        crowd.client.delete(STORE.keys.relayed("shop"))
        rows = [
            Row(f"{n}:{k:024x}", due(k) if k % 2 else None, text(n * 1000 + k + 4 * 10**8, size))
            for k in range(jobs)
        ]
        return STORE.relays.push("shop", "me", n, 60_000, "q0", rows)

    return make


def relay_settle(crowd: Crowd, n: int) -> Call[Any]:
    rows = [f"{n}:{k:024x}" for k in range(1000)]
    crowd.client.sadd(STORE.keys.relayed("shop"), *rows)
    crowd.client.set(STORE.keys.relay_epoch("shop"), n)
    return STORE.relays.settle("shop", "me", n, rows)


def fall(crowd: Crowd, n: int) -> Call[Any]:
    crowd.client.hset(STORE.keys.process("fallen"), "info", "{}")
    return library()["fall"].call(
        process=STORE.keys.process("fallen"),
        work=STORE.keys.work("fallen"),
        fallen=STORE.keys.fallen("fallen"),
        ttl=60,
        running=["", *(text(k)[-26:-2] for k in range(SLOTS))],
    )


def fallen(crowd: Crowd, n: int) -> Call[Any]:
    crowd.client.sadd(STORE.keys.fallen("fallen"), "", *(text(k)[-26:-2] for k in range(SLOTS)))
    return STORE.owners.fallen("fallen")


def keep_alive(crowd: Crowd, n: int) -> Call[Any]:
    return library()["keep_alive"].call(process=IDENTITIES[0], work="work", ttl=60)


def prune(crowd: Crowd, n: int) -> Call[Any]:
    crowd.client.delete(STORE.keys.process_cleanup, *IDENTITIES)
    crowd.client.sadd(STORE.keys.processes, *IDENTITIES)
    return STORE.processes.prune(IDENTITIES)


def sizes(size: int) -> Make:
    def make(crowd: Crowd, n: int) -> Call[Any]:
        for queue in QUEUES[1:] if n == 0 and size else []:
            crowd.client.rpush(STORE.keys.queue(queue), text(1, size))
        return STORE.queues.sizes(QUEUES[1:])

    return make


def clear_queue(crowd: Crowd, n: int) -> Call[Any]:
    crowd.client.copy(STORE.keys.queue("q0"), STORE.keys.queue(f"copy{n}"))
    return STORE.queues.clear(f"copy{n}")


def clear_set(crowd: Crowd, n: int) -> Call[Any]:
    copy = Store(Keys("copy:"))
    crowd.client.copy("dead", copy.keys.dead)
    return copy.entries.clear("dead")


def due_large(crowd: Crowd, n: int) -> Call[Any]:
    for name in ("retry", "schedule"):
        crowd.client.zadd(name, {text(k + 5 * 10**8, KB64): 1 for k in range(20)})
    return STORE.entries.due(NOW, 100, {})
