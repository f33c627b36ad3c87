"""The worst calls of those scripts that carry jobs, with jobs of 64 KB; and the exceptions."""

from __future__ import annotations

from bounds.cases import (
    A_MB,
    BURIAL,
    KB64,
    Worst,
    ack_and_fetch,
    acks,
    beat,
    due_large,
    entry,
    fetch,
    holding,
    promote,
    push,
    recover,
    relay,
    safe,
    schedule,
    sizes,
)
from bounds.crowd import MINE, NOW, STORE, text
from keyspace import DAY

LARGE = [
    Worst("ack", "64 KB", "1 MB", A_MB, holding(A_MB, KB64, lambda r, n: MINE.ack(acks(r[::-1]), DAY))),
    Worst(
        "ack_and_fetch",
        "64 KB",
        "`bytes` plus one payload",
        2 * A_MB,
        ack_and_fetch(A_MB, 2 * A_MB, A_MB, KB64),
    ),
    Worst("admit", "64 KB", "", 1, holding(A_MB, KB64, lambda r, n: MINE.admit("q0", r[0]))),
    Worst("beat", "64 KB", "1 MB", A_MB + 8, beat(A_MB, 1_000_000 // A_MB)),
    Worst(
        "bury",
        "64 KB",
        "1 job",
        2 + 2000,
        holding(A_MB, KB64, lambda r, n: MINE.bury("q0", r[0], text(n + 2 * 10**8, KB64), BURIAL, DAY)),
    ),
    Worst(
        "bury_entry",
        "64 KB",
        "1 entry",
        2 + 2000,
        entry(KB64, lambda e, n: STORE.entries.bury("schedule", e, text(n + 3 * 10**8, KB64), BURIAL)),
    ),
    Worst(
        "delete_entry", "64 KB", "1 entry", 1, entry(KB64, lambda e, n: STORE.entries.delete("schedule", e))
    ),
    Worst("drop", "64 KB", "1 job", 1, holding(A_MB, KB64, lambda r, n: MINE.drop("q0", r[-1], DAY))),
    Worst("due", "64 KB", "`bytes` plus ten entries", 20, due_large),
    Worst(
        "enqueue_entry",
        "64 KB",
        "1 entry",
        3,
        entry(KB64, lambda e, n: STORE.entries.enqueue("schedule", e, "q5", e.raw + b" ", "1")),
    ),
    Worst("fetch", "64 KB", "`bytes` plus one payload", A_MB, fetch(2 * A_MB, KB64)),
    Worst(
        "held",
        "64 KB",
        "`bytes` plus one payload",
        A_MB + 1,
        holding(2 * A_MB, KB64, lambda r, n: MINE.held("q0", 0, 100)),
    ),
    Worst("promote", "64 KB", "500 KB", 24, promote(8, KB64)),
    Worst("push", "1 MB of 64 KB", "1 MB takes the server some 3 ms", A_MB, push(A_MB - 1, KB64)),
    Worst("push_once", "1 MB of 64 KB", "1 MB takes the server some 3 ms", A_MB, safe(push(A_MB - 1, KB64))),
    Worst("queue_sizes", "64 KB", "`bytes` plus one payload", A_MB, sizes(KB64)),
    Worst("recover", "64 KB", "1 MB", A_MB, holding(A_MB, KB64, lambda r, n: recover(r, n, 0, blamed=False))),
    Worst("relay", "64 KB", "1 MB", 3 * A_MB, relay(A_MB - 1, KB64)),
    Worst("requeue", "64 KB", "1 MB", A_MB, holding(A_MB, KB64, lambda r, n: MINE.requeue("q0", r))),
    Worst(
        "reschedule_entry",
        "64 KB",
        "1 entry",
        2,
        entry(KB64, lambda e, n: STORE.entries.reschedule("schedule", e, NOW + n)),
    ),
    Worst(
        "retry",
        "64 KB",
        "1 job",
        2,
        holding(A_MB, KB64, lambda r, n: MINE.retry("q0", r[0], r[0] + b" ", NOW, DAY)),
    ),
    Worst("schedule", "1 MB of 64 KB", "1 MB takes the server some 4 ms", A_MB, schedule(A_MB - 1, KB64)),
    Worst(
        "schedule_once",
        "1 MB of 64 KB",
        "1 MB takes the server some 4 ms",
        A_MB,
        safe(schedule(A_MB - 1, KB64)),
    ),
]

BEYOND = [
    Worst("push", "8 MB of 64 KB", "8 MB", 122, push(122, KB64), ms=100),
    Worst("schedule", "6.4 MB of 64 KB", "8 MB", 100, schedule(100, KB64), ms=100),
    Worst(
        "recover",
        "poison pills of 64 KB",
        "1 MB or one larger (8 ms if all are poison)",
        2 * A_MB + 2000,
        holding(A_MB, KB64, lambda r, n: recover(r, n, 1, size=KB64)),
        ms=50,
    ),
    Worst("fetch", "ten of 5 MB", "`bytes` plus one payload", 1, fetch(10, 5_000_000), ms=100),
    Worst(
        "due",
        "5 MB",
        "`bytes` plus ten entries",
        2,
        lambda crowd, n: crowd.huge() or STORE.entries.due(NOW, 100, {}),
        ms=150,
    ),
]
"""Where the 5 ms do not hold: the bytes take longer than that by themselves."""
