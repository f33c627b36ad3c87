"""The worst call of every script with small jobs; a new script gets an entry here."""

from __future__ import annotations

from typing import Any

from bounds.cases import (
    BURIAL,
    IDENTITIES,
    LISTS,
    Worst,
    ack_and_fetch,
    acks,
    beat,
    claim,
    clear_queue,
    clear_set,
    entry,
    fall,
    fallen,
    fetch,
    holding,
    keep_alive,
    promote,
    prune,
    push,
    recover,
    relay,
    relay_settle,
    safe,
    schedule,
    sizes,
)
from bounds.crowd import HELD, ME, MILLION, MINE, NOW, SLOTS, STORE, Crowd, text
from keyspace import DAY

from sidekiq_lua.iterating.run import CURSOR_LIMIT
from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.counters import COUNT_FIELDS
from sidekiq_lua.store.iterations import RunningJob, State
from sidekiq_lua.store.script_counts import KINDS, News
from sidekiq_lua.store.scripts import library

STATE = State(1, b'"' + b"x" * (CURSOR_LIMIT - 2) + b'"', 1.5, 7)
"""With the longest cursor that there is."""
_iterations = STORE.iterations


def read_iterations(crowd: Crowd, n: int) -> Call[Any]:
    fields = {"ex": 1, "c": STATE.cursor, "rt": 1.5, "cancelled": 7}
    jids = [f"read-{k}" for k in range(16)]
    for jid in jids:
        crowd.client.hset(STORE.keys.iteration(jid), mapping=fields)
    return _iterations.read(jids)


def count_scripts(crowd: Crowd, n: int) -> Call[Any]:
    crowd.client.hset("lua:script_counts", mapping={f"{k}:calls": k for k in range(COUNT_FIELDS + 1)})
    return STORE.counters.count_scripts(
        [News(name, kind, n + 1) for name in library() for kind in KINDS], NOW
    )


SMALL = [
    Worst(
        "ack",
        "the newest first",
        "200 jobs",
        200,
        holding(HELD, 0, lambda r, n: MINE.ack(acks(r[:-201:-1]), DAY)),
    ),
    Worst(
        "ack_and_fetch",
        "",
        "200 acknowledged jobs as in `ack`, n taken jobs",
        200 + HELD,
        ack_and_fetch(200, HELD, HELD, 0),
    ),
    Worst(
        "admit", "", "O(length of the running list)", 1, holding(HELD, 0, lambda r, n: MINE.admit("q0", r[0]))
    ),
    Worst("alive", "", "100 processes", 0, lambda crowd, n: STORE.owners.alive(IDENTITIES)),
    Worst(
        "announce",
        "",
        "as many fields as there are scripts",
        len(library()),
        lambda crowd, n: STORE.counters.announce(),
    ),
    Worst("beat", "", "1 field for each running job", SLOTS + 8, beat(SLOTS, 0)),
    Worst(
        "bury",
        "500,000 over the limit",
        "1 job, O(length of the running list); 2000 dropped",
        2 + 2000,
        holding(HELD, 0, lambda r, n: MINE.bury("q0", r[0], text(n + 10**8), BURIAL, DAY)),
    ),
    Worst(
        "bury_entry",
        "500,000 over the limit",
        "1 entry, O(log of the sets' sizes); 2000 dropped",
        2 + 2000,
        entry(0, lambda e, n: STORE.entries.bury("schedule", e, text(n + 10**8), BURIAL)),
    ),
    Worst("cancel_iteration", "", "1 hash", 4, lambda crowd, n: _iterations.cancel(f"cancelled-{n}", NOW)),
    Worst("claim", "1,000,000 due at once", "200 entries", 400, claim),
    Worst("clear_queue", "1,000,000 jobs", "the list is unlinked, not read", 1, clear_queue),
    Worst("clear_set", "500,000 entries", "the set is unlinked, not read", 0, clear_set),
    Worst("delete_entry", "", "1 entry", 1, entry(0, lambda e, n: STORE.entries.delete("schedule", e))),
    Worst(
        "count_scripts",
        "all of a release, and too many fields",
        "each of the pairs",
        4 * len(library()) + 1,
        count_scripts,
    ),
    Worst(
        "delete_job",
        "in the middle of 1,000,000",
        "O(length of the queue): 20 to 60 ms",
        1,
        lambda crowd, n: STORE.queues.delete("q0", text(MILLION // 2 + n)),
        ms=250,
    ),
    Worst("drop", "", "1 job", 1, holding(HELD, 0, lambda r, n: MINE.drop("q0", r[-1], DAY))),
    Worst("due", "1,000,000 due at once", "n entries", 200, lambda crowd, n: STORE.entries.due(NOW, 100, {})),
    Worst(
        "due",
        "10,000 have to stay",
        "O(log of its size + skip)",
        200,
        lambda crowd, n: STORE.entries.due(NOW, 100, {"schedule": 10_000}),
    ),
    Worst(
        "enqueue_entry",
        "",
        "1 entry",
        3,
        entry(0, lambda e, n: STORE.entries.enqueue("schedule", e, "q5", e.raw + b" ", "1")),
    ),
    Worst("fall", "", "as many members as the process has slots", SLOTS + 1, fall),
    Worst("fallen", "", "as many members as the process had slots", SLOTS + 1, fallen),
    Worst("fetch", "100 queues, 99 of them paused", "n jobs", HELD, fetch(HELD, 0)),
    Worst(
        "finish_iteration",
        "",
        "1 job, O(length of the running list)",
        1,
        holding(HELD, 0, lambda r, n: _iterations.finish(RunningJob(MINE, "q0", r[0], "1"), DAY)),
    ),
    Worst("forget", "100 queues", "looked up, not read", 0, lambda crowd, n: STORE.owners.forget(ME)),
    Worst(
        "held",
        "the last page",
        "n jobs",
        101,
        holding(HELD, 0, lambda r, n: MINE.held("q0", HELD - 100, 100)),
    ),
    Worst(
        "interrupt_iteration",
        "",
        "1 job, O(length of the running list)",
        6,
        holding(
            HELD,
            0,
            lambda r, n: _iterations.interrupt(RunningJob(MINE, "q0", r[0], "1"), STATE, r[0] + b" ", None),
        ),
    ),
    Worst("keep_alive", "", "2 keys", 0, keep_alive),
    Worst("leave", "100 queues", "looked up, not read", 1, lambda crowd, n: STORE.processes.leave(ME)),
    Worst(
        "members",
        "10,000 processes",
        "about `size` members",
        100,
        lambda crowd, n: STORE.processes.identities(),
    ),
    Worst("owners", "10,000 owners", "about `size` owners", 100, lambda crowd, n: STORE.owners.page()),
    Worst("pause", "", "1 member", 1, lambda crowd, n: STORE.queues.pause("q0")),
    Worst(
        "preflight",
        "100 queues",
        "a few checks for each key",
        0,
        lambda crowd, n: STORE.counters.preflight(ME.identity, LISTS),
    ),
    Worst("process_info", "", "100 processes", 700, lambda crowd, n: STORE.processes.info(IDENTITIES)),
    Worst("promote", "1,000,000 due at once", "200 entries", 500, promote(200, 0)),
    Worst("prune", "", "100 processes", 100, prune),
    Worst("push", "onto 1,000,000", "1000 payloads", 1000, push(1000, 0)),
    Worst("push_once", "onto 1,000,000", "1000 payloads", 1000, safe(push(1000, 0))),
    Worst("queue_sizes", "", "100 queues", 100, sizes(0)),
    Worst("read_iteration", "", "16 iterations, 4 fields each", 64, read_iterations),
    Worst(
        "recover",
        "as a sweep begins",
        "100 jobs",
        100,
        holding(HELD, 0, lambda r, n: recover(r[-100:], n, 3)),
    ),
    Worst("recover", "the oldest", "100 jobs", 100, holding(HELD, 0, lambda r, n: recover(r[:100], n, 0))),
    Worst(
        "recover",
        "100 poison pills, 500,000 over the limit",
        "each O(length of `running`); 2000 dropped",
        200 + 2000,
        holding(HELD, 0, lambda r, n: recover(r[-100:], n, 1)),
    ),
    Worst("register", "", "1 field", 1, lambda crowd, n: STORE.owners.register(ME)),
    Worst("relay", "onto 1,000,000", "100 rows", 300, relay(100, 0)),
    Worst("relay_claim", "", "2 keys", 0, lambda crowd, n: STORE.relays.claim("shop", "me", 60_000)),
    Worst("relay_settle", "", "1000 rows", 1000, relay_settle),
    Worst(
        "requeue", "the oldest", "100 jobs", 100, holding(HELD, 0, lambda r, n: MINE.requeue("q0", r[:100]))
    ),
    Worst(
        "reschedule_entry",
        "",
        "1 entry",
        2,
        entry(0, lambda e, n: STORE.entries.reschedule("schedule", e, NOW + n)),
    ),
    Worst("reset_stats", "", "2 counters", 0, lambda crowd, n: STORE.counters.reset(["processed", "failed"])),
    Worst(
        "retry", "", "1 job", 2, holding(HELD, 0, lambda r, n: MINE.retry("q0", r[0], r[0] + b" ", NOW, DAY))
    ),
    Worst(
        "save_iteration",
        "",
        "1 hash, O(length of the running list)",
        4,
        holding(HELD, 0, lambda r, n: _iterations.save(RunningJob(MINE, "q0", r[0], "1"), STATE)),
    ),
    Worst("schedule", "beside 1,000,000", "100 entries", 100, schedule(100, 0)),
    Worst("schedule_once", "beside 1,000,000", "100 entries", 100, safe(schedule(100, 0))),
    Worst("signal", "", "1 signal", 1, lambda crowd, n: STORE.processes.signal("host:1:x", "TERM")),
    Worst("stats", "", "6 reads", 0, lambda crowd, n: STORE.counters.totals()),
    Worst("unpause", "", "1 member", 1, lambda crowd, n: STORE.queues.unpause("q0")),
]
