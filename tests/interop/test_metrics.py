"""Metrics, deploy marks and profiles of both languages are one: each reads the sum of what both wrote."""

from __future__ import annotations

import base64
import gzip
import json
import time
from typing import Any

import pytest
from interop.harness import Python, RubyKind, order

from sidekiq_lua import Deploy, MetricsQuery, ProfileSet, Sidekiq
from sidekiq_lua.api.metrics import Result
from sidekiq_lua.tally import Count

pytestmark = pytest.mark.interop


@pytest.fixture
def kind(sidekiq_8: RubyKind) -> RubyKind:
    """Sidekiq 8.1: older ones have other keys."""
    return sidekiq_8


@pytest.fixture
def app(url: str) -> Any:
    app = Sidekiq(redis=url)
    yield app
    app.close()


def same(theirs: dict[str, Any], ours: Result) -> None:
    """Ruby's answer and ours are equal, but for empty series and the histogram's order."""
    jobs = {
        name: {
            "totals": job.totals,
            "series": job.series,
            "hist": {at: buckets[::-1] for at, buckets in job.hist.items()},
            "avg": job.total_avg(),
            "series_avg": job.series_avg(),
        }
        for name, job in ours.job_results.items()
    }
    assert rounded(theirs["jobs"]) == rounded(jobs)
    assert theirs["marks"] == [list(mark) for mark in ours.marks]


def rounded(value: Any) -> Any:
    """Numbers to 9 digits, and no empty series: Ruby makes one when it is asked for it."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items() if part != {}}
    return value if isinstance(value, list) else round(value, 9)


def test_both_read_the_sum_of_what_both_ran(python: Python, ruby: Any, redis: Any, app: Any) -> None:
    workers = [python.start().ready(), ruby.start().ready()]
    began = time.time()
    python.produce_all(
        [order("EchoJob", n) for n in range(30)] + [order("FailAlwaysJob", "x") for _ in range(6)]
    )
    ruby.produce_all(
        [order("EchoJob", n) for n in range(30)] + [order("FailAlwaysJob", "y") for _ in range(4)]
    )
    workers[0].wait_for(lambda: redis.llen("interop:echo") == 70, "70 jobs to run")
    for worker in workers:
        worker.stop()
    assert Deploy(app).mark("from Python", at=began - 120)
    ruby.script("metrics.rb", "mark", "from Ruby größer", str(began - 60))

    now = time.time()
    theirs = ruby.script("metrics.rb", "query", str(now), "EchoJob")
    query = MetricsQuery(app, now)

    same(theirs["minutes"], query.top_jobs(minutes=60))
    same(theirs["hours"], query.top_jobs(hours=72))
    same(theirs["job"], query.for_job("EchoJob", minutes=60))
    same(theirs["job_hours"], query.for_job("EchoJob", hours=24))
    totals = {name: job.totals for name, job in query.top_jobs().job_results.items()}
    assert {name: (t["p"], t.get("f", 0)) for name, t in totals.items()} == {
        "EchoJob": (60, 0), "FailAlwaysJob": (10, 10),
    }  # fmt: skip
    hist = query.for_job("EchoJob").job_results["EchoJob"].hist
    assert sum(map(sum, hist.values())) == 60
    assert len(theirs["minutes"]["marks"]) == 2


def test_all_times_and_buckets(ruby: Any, app: Any) -> None:
    """Names of keys through a year: padded and unpadded days, hours and minutes; every bucket."""
    for n, now in enumerate((1_767_229_385.5, 1_772_326_859.9, 1_795_489_385.5, 1_798_761_599.0)):
        for minutes in (0, 1, 7, 10, 59):
            counts = [
                Count("EchoJob", 27, 1, 1234, dict.fromkeys(range(26), 1)),
                Count("A::B", 1, 0, 3, {n: 1}),
            ]
            call = app.store.metrics.flush(f"t{n}-{minutes}", 1, now - minutes * 60, counts)
            assert app.transport().run(call).added
        theirs = ruby.script("metrics.rb", "query", repr(now), "EchoJob")
        query = MetricsQuery(app, now)

        same(theirs["minutes"], query.top_jobs(minutes=60))
        same(theirs["job"], query.for_job("EchoJob", minutes=60))
        assert theirs["minutes"]["jobs"]["EchoJob"]["totals"]["p"] == 5 * 27
        assert theirs["hours"]["jobs"]["A::B"]["totals"]["p"] == 5


def test_one_mark_for_processes_of_both(ruby: Any, app: Any, redis: Any) -> None:
    now = time.time()
    assert Deploy(app).mark("v2", at=now)
    ruby.script("metrics.rb", "mark", "v2", str(now + 60))
    ruby.script("metrics.rb", "mark", "v3", str(now + 180))
    assert not Deploy(app).mark("v3", at=now + 300)

    marks = {
        label: at
        for key in redis.keys("*-marks")
        for at, label in ((k.decode(), v.decode()) for k, v in redis.hgetall(key).items())
    }
    assert set(marks) == {"v2", "v3"}
    assert set(ruby.script("metrics.rb", "deploys")) <= set(marks.values())


def test_ruby_reads_a_python_profile(python: Python, ruby: Any, redis: Any, app: Any) -> None:
    worker = python.start().ready()
    [[jid]] = python.produce_all([order("EchoJob", 1, options={"profile": "tok"})])
    worker.wait_for(lambda: redis.exists("profiles"), "a profile")
    worker.stop()

    (record,) = ProfileSet(app)
    (theirs,) = ruby.script("metrics.rb", "profiles")
    assert theirs == {
        "key": f"tok-{jid}", "token": "tok", "jid": jid, "type": "EchoJob", "size": record.size,
        "started_at": int(record.started_at), "elapsed": record.elapsed,
        "data": base64.b64encode(record.data()).decode(),
    }  # fmt: skip
    assert json.loads(gzip.decompress(record.data()))["threads"][0]["name"] == f"EchoJob {jid}"
