"""The worst calls of the scripts of metrics, deploys and profiles."""

from __future__ import annotations

import os
from typing import Any

from bounds.cases import Worst
from bounds.crowd import NOW, STORE, Crowd

from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.profiles import SIZE_LIMIT
from sidekiq_lua.tally import BUCKETS, CLASSES, Count

COUNTS = [Count(f"Some::Job{n}", 100, 9, 1234, dict.fromkeys(range(BUCKETS), 3)) for n in range(CLASSES)]
MINUTES = [NOW - 60 * n for n in range(60)]
EARLIER = [at - 86_400 for at in MINUTES]
MANY = 1000
"""Classes that ran in one minute, of many processes."""
DATA = os.urandom(SIZE_LIMIT)


def flush(crowd: Crowd, n: int) -> Call[Any]:
    return STORE.metrics.flush("t", n, NOW, COUNTS)


def minutes(crowd: Crowd, n: int) -> Call[Any]:
    for at, classes in zip(EARLIER, (330, MANY), strict=False):
        fields = {f"C{k}|{metric}": 7 for k in range(classes) for metric in ("p", "f", "ms")}
        crowd.client.hset(STORE.keys.minute(at), mapping=fields)
    return STORE.metrics.minutes(EARLIER, ten=False)


def of_class(crowd: Crowd, n: int) -> Call[Any]:
    for at in MINUTES:
        crowd.client.hset(STORE.keys.minute(at), mapping={"C1|p": 1, "C1|f": 1, "C1|ms": 1})
        crowd.client.set(STORE.keys.histogram("C1", at), b"\1" * 52)
    return STORE.metrics.of_class("C1", MINUTES, ten=False)


def fields(name: str, data: bytes) -> dict[str, Any]:
    return {"token": name, "jid": name, "type": "C", "started_at": 1, "elapsed": 1, "data": data, "size": 1}


def store(crowd: Crowd, n: int) -> Call[Any]:
    crowd.client.zadd("profiles", {f"over-{k}": 1 for k in range(2000)})
    return STORE.profiles.store(f"tok-{n}", fields("tok", DATA), NOW)


def infos(crowd: Crowd, n: int) -> Call[Any]:
    for k in range(100):
        crowd.client.hset(STORE.keys.profile(f"kept-{k}"), mapping=fields("kept", b"gz"))
    return STORE.profiles.infos([(f"kept-{k}", NOW) for k in range(100)])


def data(crowd: Crowd, n: int) -> Call[Any]:
    crowd.client.hset(STORE.keys.profile("large-1"), mapping=fields("large", DATA))
    return STORE.profiles.data("large-1")


def mark(crowd: Crowd, n: int) -> Call[Any]:
    return STORE.metrics.mark(f"2027-01-15T08:0{n}:00Z", f"v{n}")


def listed(crowd: Crowd, n: int) -> Call[Any]:
    crowd.client.zadd("profiles", {f"kept-{k}": NOW + k for k in range(10_000)})
    return STORE.profiles.page(NOW, 9000)


MEASURED = [
    Worst("flush_metrics", "50 classes", "3 fields of 2 hashes and 26 counters", CLASSES * 32, flush),
    Worst("job_metrics", "60 minutes", "60 times, each with 3 fields and 26 counters", 60 * 29, of_class),
    Worst("mark_deploy", "", "1 field", 1, mark),
    Worst("profiles", "the last page of 10,000", "n profiles", 100, listed),
    Worst("read_hashes", "1,000 classes", "`fields` fields plus one hash", 3 * (330 + MANY), minutes),
    Worst("read_profile", "100", "100 profiles of a few fields", 700, infos),
    Worst("read_profile", "1 MB", "1 of 1 MB", 1, data),
    Worst("store_profile", "2,000 are over", "1 MB and a few fields; at most 1000", 1000 + 8, store),
]  # fmt: skip
