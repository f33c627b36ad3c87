"""Pollers of both languages empty the same sets at the same time."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest

pytestmark = pytest.mark.interop

JOBS = 10_000


@pytest.fixture
def kind(checkout):
    return checkout


@pytest.mark.timeout(120)
def test_two_pollers_of_each_language_promote_10000_jobs_once(python, ruby, redis, record_property):
    # Ruby moves one at a time, Python a hundred; so Ruby looks more often, or it would find little to do.
    pollers = ((ruby, 0.01), (python, 0.05))
    workers = [side.start("elsewhere", poll_s=s, stamp=True) for side, s in pollers for _ in range(2)]
    for worker in workers:
        worker.ready()
    # Ruby's pollers begin within five seconds; by then they all wait for the same moment.
    due = time.time() + 8
    bulk = {"at": due, "bulk": True, "count": JOBS // 2, "options": {"queue": "full"}}
    jids = [jid for side in (ruby, python) for jid in side.produce("EchoJob", side.lang, **bulk)]
    assert redis.zcard("schedule") == JOBS == len(set(jids))
    assert time.time() < due, "enqueueing took longer than the pollers wait"

    workers[0].wait_for(lambda: redis.zcard("schedule") < JOBS, "the first promotion")
    began = time.time()
    workers[0].wait_for(lambda: redis.zcard("schedule") == 0, "the last promotion", 60)
    seconds = time.time() - began
    workers[0].wait_for(lambda: redis.llen("queue:full") >= JOBS, "all of them in their queue")
    for worker in workers:
        worker.stop()

    jobs = [json.loads(raw) for raw in redis.lrange("queue:full", 0, -1)]
    assert len(jobs) == JOBS
    assert {job["jid"] for job in jobs} == set(jids)
    assert redis.exists("schedule", "retry", "dead") == 0
    by_side = Counter(job["promoted_by"].split(":")[0] for job in jobs)
    by_pair = Counter((job["args"][0], job["promoted_by"].split(":")[0]) for job in jobs)
    record_property("promoted", f"{dict(by_side)} in {seconds:.2f} s")
    record_property("by process", dict(Counter(job["promoted_by"] for job in jobs)))
    record_property("by who wrote and who promoted", {f"{a}, {b}": n for (a, b), n in by_pair.items()})
    assert by_side["ruby"] > 0
    assert by_side["python"] > 0
