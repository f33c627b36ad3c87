"""ProcessSet, Process, WorkSet and StatsHistory, on a real server."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from freezegun import freeze_time

from sidekiq_lua import ProcessSet, Sidekiq, StatsHistory, Workers, WorkSet
from sidekiq_lua.errors import ConfigurationError, SidekiqError

INFO = {
    "hostname": "vm",
    "pid": 1,
    "tag": "app",
    "labels": ["x"],
    "version": "8.1.7",
    "embedded": False,
    "queues": ["default", "low"],
    "capsules": {
        "default": {"concurrency": 3, "mode": "weighted", "weights": {"default": 2, "low": 1}},
        "solo": {"concurrency": 1, "mode": "strict", "weights": {"low": 5, "floats": 0}},
    },
}


def beat(redis: Any, identity: str, info: dict[str, Any] | bytes, **fields: Any) -> None:
    redis.sadd("processes", identity)
    text = info if isinstance(info, bytes) else json.dumps({**info, "identity": identity})
    redis.hset(identity, mapping={"info": text, **fields})


@pytest.fixture
def fleet(redis: Any) -> None:
    beat(redis, "vm:2:b", INFO, concurrency=4, busy=2, beat=5.5, quiet="true", rss=1000, rtt_us=90)
    beat(
        redis,
        "vm:1:a",
        {**INFO, "capsules": None, "weights": {"default": 1}, "concurrency": 5},
        busy=1,
        rss=7,
    )
    redis.sadd("processes", "gone:1:x")


def test_processes(app: Sidekiq, fleet: None, redis: Any) -> None:
    processes = ProcessSet(app, clean=False)
    old, new = processes
    assert (old.identity, new.identity, new.id, new["identity"]) == ("vm:1:a", *["vm:2:b"] * 3)
    assert (new.tag, new.labels, new.version, new["pid"], new["nothing"]) == ("app", ["x"], "8.1.7", 1, None)
    assert (new.queues, new.weights) == (["default", "low", "floats"], {"default": 2, "low": 5, "floats": 0})
    assert (old.queues, old.weights, old.capsules) == (["default", "low"], {"default": 1}, None)
    assert (new.is_stopping, old.is_stopping, new.is_embedded) == (True, False, False)
    assert (new["busy"], new["beat"], new["rss"], new["rtt_us"], new["concurrency"]) == (2, 5.5, 1000, 90, 4)
    assert (len(processes), processes.size, bool(processes)) == (3, 3, True)
    assert (processes.total_concurrency, processes.total_rss, processes.total_rss_in_kb) == (9, 1007, 1007)
    assert processes["vm:1:a"]["rss"] == 7
    assert (processes.get("gone:1:x"), processes.get("never:1:x")) == (None, None)
    with pytest.raises(KeyError):
        processes["gone:1:x"]
    redis.srem("processes", "vm:1:a")
    assert processes.get("vm:1:a") is None  # it has left, and its heartbeat is still there


def test_cleaning_up(app: Sidekiq, fleet: None, redis: Any) -> None:
    assert len(ProcessSet(app)) == 2
    redis.sadd("processes", "gone:2:x")
    assert ProcessSet(app, clean=False).cleanup() == 0  # a minute has not passed
    redis.delete("process_cleanup")
    assert ProcessSet(app, clean=False).cleanup() == 1
    assert redis.smembers("processes") == {b"vm:1:a", b"vm:2:b"}


def test_signals(app: Sidekiq, fleet: None, redis: Any) -> None:
    process = ProcessSet(app)["vm:2:b"]
    process.quiet()
    process.stop()
    process.dump_threads()
    assert redis.lrange("vm:2:b-signals", 0, -1) == [b"TTIN", b"TERM", b"TSTP"]
    assert 50 < redis.ttl("vm:2:b-signals") <= 60
    beat(redis, "vm:3:c", {**INFO, "embedded": True})
    embedded = ProcessSet(app)["vm:3:c"]
    for act in (embedded.quiet, embedded.stop):
        with pytest.raises(SidekiqError, match="embedded"):
            act()
    assert redis.exists("vm:3:c-signals") == 0
    embedded.dump_threads()
    assert redis.llen("vm:3:c-signals") == 1


def test_the_leader(app: Sidekiq, fleet: None, redis: Any) -> None:
    processes = ProcessSet(app)
    assert (processes.leader, processes["vm:1:a"].is_leader) == ("", False)
    redis.set("dear-leader", "vm:1:a")
    assert (ProcessSet(app).leader, processes["vm:1:a"].is_leader, processes["vm:2:b"].is_leader) == (
        *("vm:1:a", True),
        False,
    )


def test_what_a_process_says_may_be_odd(app: Sidekiq, redis: Any) -> None:
    for number, info in enumerate((b"no JSON", b"[1]", b'{"capsules":5,"weights":7}', b"{}")):
        beat(redis, f"vm:{number}:a", info)
    for process in ProcessSet(app):
        assert (process.queues, process.weights, process.tag, process.labels) == ([], {}, "", [])
        assert (process.version, process.is_embedded, process["busy"]) == (None, False, 0)


def work(queue: str, run_at: int, payload: Any) -> str:
    return json.dumps({"queue": queue, "payload": payload, "run_at": run_at})


def test_what_runs(app: Sidekiq, fleet: None, redis: Any, raw: Any) -> None:
    redis.hset(
        "vm:2:b:work", mapping={"t1": work("low", 30, raw(1).decode()), "t2": work("low", 10, "no JSON")}
    )
    redis.hset("vm:1:a:work", mapping={"t3": work("x", 20, raw(2).decode()), "t4": "no JSON", "t5": "{}"})
    lines = list(WorkSet(app))
    assert [(p, t) for p, t, _ in lines] == [
        *[("vm:1:a", "t5"), ("vm:2:b", "t2")],
        *[("vm:1:a", "t3"), ("vm:2:b", "t1")],
    ]
    job = lines[-1].work
    assert (job.queue, job.payload, job.process_id, job.thread_id) == ("low", raw(1).decode(), "vm:2:b", "t1")
    assert (job.run_at, job.job.args, job.job.queue) == (datetime.fromtimestamp(30, UTC), [1], "low")
    assert (len(WorkSet(app)), WorkSet(app).size, Workers) == (3, 3, WorkSet)
    found = WorkSet(app).find_work(f"{2:024}")
    assert found is not None
    assert (found.queue, WorkSet(app).find_work_by_jid("none")) == ("x", None)


def test_many_processes(app: Sidekiq, redis: Any, raw: Any) -> None:
    for number in range(230):
        beat(redis, f"vm:{number}:a", INFO, busy=1, concurrency=2)
        redis.hset(f"vm:{number}:a:work", "t", work("low", number, raw(number).decode()))
    assert [line.work.job.args for line in WorkSet(app)] == [[n] for n in range(230)]
    assert (len(WorkSet(app)), ProcessSet(app).total_concurrency) == (230, 460)


def test_history(app: Sidekiq, redis: Any) -> None:
    redis.mset(
        {"stat:processed:2026-11-24": 5, "stat:processed:2026-11-22": "abc", "stat:failed:2026-11-23": 1}
    )
    with freeze_time("2026-11-24T23:59:59Z"):
        history = StatsHistory(3, app=app)
    assert list(history.processed.items()) == [("2026-11-24", 5), ("2026-11-23", 0), ("2026-11-22", 0)]
    assert history.failed == {"2026-11-24": 0, "2026-11-23": 1, "2026-11-22": 0}
    assert StatsHistory(1, date(2026, 11, 23), app).failed == {"2026-11-23": 1}
    assert StatsHistory(1, datetime(2026, 11, 23, 5, tzinfo=UTC), app).failed == {"2026-11-23": 1}
    assert len(StatsHistory(1825, app=app).processed) == 1825
    for days in (0, 1826, True, "3"):
        with pytest.raises(ConfigurationError, match="1825"):
            StatsHistory(days, app=app)  # type: ignore[arg-type]
