"""The worst calls of the Data API's scripts: pages, many moves in one call, held jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bounds.cases import A_MB, BURIAL, KB64, Make, Worst
from bounds.crowd import MINE, NOW, QUEUES, STORE, Crowd, due, text
from keyspace import DAY

from sidekiq_lua.store.bulk import Return
from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.entries import Entry
from sidekiq_lua.store.holding import Held
from sidekiq_lua.store.pages import JobPage

PLACE = 22
"""Entries that are looked at to find the place of an entry that is gone among a million of one score."""
HALF = 500_000


def page(*, upward: bool, text: bytes = b"", size: int = 0) -> Make:
    """From the middle of a million entries of one score, behind one that is gone."""

    def make(crowd: Crowd, round_: int) -> Call[Any]:
        if not crowd.client.exists("ties"):
            crowd.client.zunionstore("ties", {"schedule": 0})
        if size and round_ == 0:
            crowd.client.zadd(
                "ties", {b'{"class":"SomeJob","args":[500%03dx%b]}' % (k, b"x" * size): 0 for k in range(40)}
            )
        call = STORE.pages.entries(
            "schedule", Entry(b'{"class":"SomeJob","args":[500', 0.0), upward=upward, text=text
        )
        call.keys = ("ties",)
        return call

    return make


def waiting(n: int, queue: str = "q0", fat: int = 0) -> Make:
    def make(crowd: Crowd, round_: int) -> Call[Any]:
        if fat:
            crowd.fat(fat, KB64)
            return STORE.pages.jobs("fat", None, n=n)
        return STORE.pages.jobs(queue, JobPage([], HALF, b"an anchor that is gone"), n=n, text=b"nowhere")

    return make


def moves(jobs: int, size: int, make: Callable[[list[Entry], int], Call[Any]]) -> Make:
    def prepare(crowd: Crowd, n: int) -> Call[Any]:
        return make([Entry(raw, due(1)) for raw in crowd.scheduled(n, jobs, size)], n)

    return prepare


def enqueue(entries: list[Entry], n: int) -> Call[Any]:
    returns = [
        Return(entry, queue, entry.raw + b" ", "") for entry, queue in zip(entries, QUEUES, strict=False)
    ]
    return STORE.bulk.enqueue("schedule", returns)


def hold(size: int) -> Make:
    def make(crowd: Crowd, n: int) -> Call[Any]:
        raws = crowd.hold("q0", A_MB if size else 500, size)
        crowd.client.sadd("lua:paused_classes", "SomeJob")
        return STORE.holding.hold("SomeJob", MINE, "q0", raws[-1])

    return make


def release(jobs: int, size: int) -> Make:
    def make(crowd: Crowd, n: int) -> Call[Any]:
        held = [
            Held(b"%b\n%b" % (queue.encode(), text(k, size)), queue, text(k, size))
            for k, queue in zip(range(jobs), QUEUES, strict=False)
        ]
        crowd.client.lpush("lua:held:SomeJob", *(one.item for one in held))
        crowd.client.sadd("lua:resumed_classes", "SomeJob")
        return STORE.holding.release("SomeJob", held)

    return make


def classes(crowd: Crowd, n: int) -> Call[Any]:
    crowd.client.sadd("lua:paused_classes", *(f"Class{k}" for k in range(20)))
    return STORE.holding.classes()


def q1(make: Callable[[bytes], Call[Any]]) -> Make:
    """A call on the last job of a queue of a million."""
    return lambda crowd, n: make(crowd.client.lindex("queue:q0", 999_000 + n))


def bury(entries: list[Entry], n: int) -> Call[Any]:
    return STORE.bulk.bury("schedule", entries, BURIAL)


def delete(entries: list[Entry], n: int) -> Call[Any]:
    return STORE.bulk.delete("schedule", entries)


def edit(entries: list[Entry], n: int) -> Call[Any]:
    return STORE.entries.replace("schedule", entries[0], entries[0].raw + b" ")


def edit_job(raw: bytes) -> Call[Any]:
    return STORE.queues.replace("q0", raw, raw + b" ")


def move_job(raw: bytes) -> Call[Any]:
    return STORE.queues.move("q0", raw, "q7", raw + b" ")


def trim(crowd: Crowd, n: int) -> Call[Any]:
    return STORE.entries.trim(replace(BURIAL, cutoff=NOW - 550_000))


def days(crowd: Crowd, n: int) -> Call[Any]:
    return STORE.counters.days("failed", [DAY] * 1000)


SLOW = "20 to 60 ms"
LOOKING = [
    Worst("page", "up, a million ties", "n entries", 1000 + PLACE, page(upward=True)),
    Worst("page", "down, nothing found", "to find the place", 1000 + PLACE, page(upward=False, text=b"no")),
    Worst("waiting", "the middle, the anchor is gone", "200 more to find the anchor", 1201, waiting(1000)),
    Worst("enqueue_entries", "100 queues", "100 entries", 300, moves(100, 0, enqueue)),
    Worst("bury_entries", "500,000 over the limit", "2000 dropped", 2200, moves(100, 0, bury)),
    Worst("delete_entries", "", "100 entries", 100, moves(100, 0, delete)),
    Worst("replace_entry", "", "1 entry", 2, moves(1, 0, edit)),
    Worst("replace_job", "the end of 1,000,000", SLOW, 2, q1(edit_job), ms=250),
    Worst("move_job", "the end of 1,000,000", "40 to 120 ms", 3, q1(move_job), ms=500),
    Worst("trim", "500,000 over the limit", "2000 dropped", 2000, trim),
    Worst("read_strings", "1000 days", "1000 short strings", 0, days),
    Worst("is_member", "", "1 member", 0, lambda c, n: STORE.processes.listed("host:1:x")),
    Worst("paused_classes", "20 classes", "as many names", 20, classes),
    Worst("pause_class", "", "1 member", 2, lambda c, n: STORE.holding.pause("A")),
    Worst("resume_class", "", "1 member", 2, lambda c, n: STORE.holding.resume("A")),
    Worst("hold", "the newest of 500", "O(length of the running list)", 2, hold(0)),
    Worst("release", "100 queues", "100 jobs", 300, release(100, 0)),
    # with jobs of 64 KB
    Worst("page", "64 KB", "`bytes` plus 100 entries", A_MB + 100 + PLACE, page(upward=True, size=KB64)),
    Worst("waiting", "64 KB", "`bytes` plus 100 jobs", A_MB + 100, waiting(1000, fat=100)),
    Worst("enqueue_entries", "64 KB", "250 KB", 12, moves(4, KB64 - 3000, enqueue)),
    Worst("bury_entries", "64 KB", "250 KB", 8 + 2000, moves(4, KB64 - 3000, bury)),
    Worst("delete_entries", "64 KB", "250 KB", 4, moves(4, KB64 - 3000, delete)),
    Worst("hold", "64 KB", "1 job", 2, hold(KB64)),
    Worst("release", "64 KB", "1 MB", 3 * A_MB, release(A_MB - 1, KB64)),
]  # fmt: skip
