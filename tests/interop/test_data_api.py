"""Ruby's Data API and ours read the same from one database that workers and clients of both have written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from interop.harness import order
from interop.values import ARGS

from sidekiq_lua import (
    DeadSet,
    JobRecord,
    ProcessSet,
    Queue,
    RetrySet,
    ScheduledSet,
    Sidekiq,
    SortedEntry,
    Stats,
    StatsHistory,
    WorkSet,
)

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]


@pytest.fixture
def app(url: str) -> Iterator[Sidekiq]:
    app = Sidekiq(redis=url, environment="test")
    yield app
    app.close()


@pytest.fixture
def mixed(python: Any, ruby: Any, redis: Any) -> Any:
    """Workers of both languages; running, retried, dead, scheduled and waiting jobs made by both.

    Only Python has the classes DieJob and HoldJob.
    """
    workers = [python.start("default", "py").ready(), ruby.start("default", "rb").ready()]
    for side in (python, ruby):
        side.produce_all(
            [
                order("EchoJob", *ARGS, count=3),
                order("FailAlwaysJob", "é ✓ 😀 /", count=2),
                order("DieJob", "</é>", options={"queue": "py", "retry": 0}),
                order("EchoJob", *ARGS, in_=3600),
                order("HoldJob", *ARGS, options={"queue": "py"}),
                order("EchoJob", *ARGS, count=2, options={"queue": "waiting"}),
            ]
        )

    def all_there() -> bool:
        sizes = [redis.zcard(name) for name in ("retry", "dead", "schedule")]
        busy = workers[0].beat("busy")
        done = int(redis.get("stat:processed") or 0)
        return (sizes, busy, done) == ([4, 2, 2], "2", 12)

    # Ruby writes its counters with its beats, which are ten seconds apart.
    workers[0].wait_for(all_there, "twelve jobs done and two running", timeout_s=30)
    return workers


def record(job: JobRecord) -> dict[str, Any]:
    """As inspect.rb prints it, but for what the moment decides."""
    seen: dict[str, Any] = {
        name: getattr(job, name)
        for name in (
            "jid",
            "display_class",
            "args",
            "display_args",
            "queue",
            "tags",
            "item",
            "error_backtrace",
        )
    }
    seen["class"] = job.klass
    for name in ("created_at", "enqueued_at", "failed_at", "retried_at"):
        at = getattr(job, name)
        seen[name] = pytest.approx(at.timestamp(), abs=0.002) if at else None
    if isinstance(job, SortedEntry):
        assert job.at is not None
        seen |= {"score": job.score, "at": pytest.approx(job.at.timestamp(), abs=1e-5), "error": job.is_error}
    return seen


def told(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in ("latency", "iterable_state")}


def test_both_read_the_same(kind: Any, mixed: Any, ruby: Any, app: Sidekiq) -> None:
    if kind.form != "8.1":
        pytest.skip(
            "Sidekiq 6.4 reads the times of 8.1 otherwise: name a checkout of 8.1.7, see docs/interop.md"
        )
    seen = ruby.inspect("stats", "history", "queues", "retry", "schedule", "dead", "processes", "work")

    stats, history = Stats(app), StatsHistory(2, app=app)
    names = ("processed", "failed", "scheduled_size", "retry_size", "dead_size", "enqueued", "workers_size")
    assert {name: getattr(stats, name) for name in names} == {name: seen["stats"][name] for name in names}
    assert (stats.queues, stats.processes_size) == (seen["stats"]["queues"], 2)
    assert (history.processed, history.failed) == (seen["history"]["processed"], seen["history"]["failed"])
    assert history.failed[max(history.failed)] == 6

    assert [queue.name for queue in Queue.all(app)] == list(seen["queues"])
    for queue in Queue.all(app):
        theirs = seen["queues"][queue.name]
        assert (len(queue), [record(job) for job in queue]) == (theirs["size"], [*map(told, theirs["jobs"])])
        assert queue.latency == pytest.approx(theirs["latency"], abs=20)
    for entries in (RetrySet(app), ScheduledSet(app), DeadSet(app)):
        assert [record(entry) for entry in entries] == [*map(told, seen[entries.name])]

    ours = ProcessSet(app, clean=False)
    theirs = seen["processes"]
    assert (len(ours), ours.total_concurrency, ours.leader) == (
        2,
        theirs["total_concurrency"],
        theirs["leader"],
    )
    for process, other in zip(ours, theirs["list"], strict=True):
        same = (
            "hostname",
            "started_at",
            "pid",
            "tag",
            "concurrency",
            "labels",
            "identity",
            "version",
            "busy",
        )
        assert {name: process[name] for name in same} == {name: other[name] for name in same}
        api = {"queues": process.queues, "version": process.version}
        if kind.version >= (8, 1):
            api["capsules"] = process.capsules
        assert {f"api_{name}": value for name, value in api.items()} == {
            f"api_{name}": other.get(f"api_{name}", other.get(name)) for name in api
        }

    work = [(w.process_id, w.thread_id, w.work.queue, w.work.job.jid, w.work.job.args) for w in WorkSet(app)]
    listed = seen["work"]["list"]
    assert sorted(work) == sorted((w["process"], w["tid"], w["queue"], w["jid"], w["args"]) for w in listed)
    assert len(WorkSet(app)) == seen["work"]["size"] == 2


def test_we_act_on_what_ruby_wrote(ruby: Any, app: Sidekiq, redis: Any) -> None:
    jids = ruby.produce_all(
        [order("EchoJob", *ARGS, in_=3600, count=4), order("EchoJob", *ARGS, options={"queue": "low"})]
    )
    scheduled, [waiting] = jids[0], jids[1]
    entries = {entry.jid: entry for entry in ScheduledSet(app)}
    assert sorted(entries) == sorted(scheduled)
    assert entries[scheduled[0]].kill()
    assert entries[scheduled[1]].add_to_queue()
    assert entries[scheduled[2]].edit_args("é/")
    assert entries[scheduled[3]].reschedule(7200)
    job = Queue("low", app).find_job(waiting)
    assert job is not None
    assert job.move_to("other")

    seen = ruby.inspect("queues", "schedule", "dead")

    assert [entry["jid"] for entry in seen["dead"]] == [scheduled[0]]
    assert [job["jid"] for job in seen["queues"]["default"]["jobs"]] == [scheduled[1]]
    assert [job["jid"] for job in seen["queues"]["other"]["jobs"]] == [waiting]
    assert [(entry["jid"], entry["args"]) for entry in seen["schedule"]] == [
        (scheduled[3], ARGS),
        (scheduled[2], ["é/"]),
    ]
    # Bytes that Ruby writes itself: its own reschedule finds the member and does not double it.
    ruby.control("reschedule", "schedule", 2_000_000_000, scheduled[2])
    assert redis.zcard("schedule") == 2
