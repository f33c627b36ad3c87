"""Each fault is planted in a healthy database and found; a healthy one is silent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from waiting import wait_until

from sidekiq_lua import Sidekiq
from sidekiq_lua.api.doctor import CHECKS, Doctor, Finding
from sidekiq_lua.store.examination import Examination
from sidekiq_lua.store.owners import Owner

OWNER = Owner("host:1:abcdef", "0.0", ("default", "low"), 5)
JOB = {"class": "EchoJob", "args": [], "retry": True, "created_at": 1, "enqueued_at": 1}


def job(jid: str, **more: Any) -> bytes:
    return json.dumps({**JOB, "jid": jid, **more}).encode()


@pytest.fixture
def app(make_server: Any) -> Iterator[Sidekiq]:
    """A healthy database: a worker that serves two queues, jobs everywhere, one of them running."""
    server = make_server(appendonly="yes")
    app = Sidekiq(redis=server.url)
    store, transport = app.store, app.transport()
    transport.run(store.counters.announce())
    transport.run(store.owners.register(OWNER))
    beat = {"info": json.dumps({"queues": OWNER.queues}), "beat": time.time(), "busy": 1}
    transport.run(store.processes.beat(OWNER.identity, [OWNER], 60, beat, {}))
    transport.run(store.queues.push("default", [job(f"d{n}") for n in range(20)]))
    transport.run(store.queues.push("low", [job("l")]))
    transport.run(store.queues.schedule([(time.time() + 60, job("s"))]))
    running = store.running(OWNER.identity, OWNER.epoch)
    transport.run(running.fetch(["default"], 1))
    with server.client() as client:
        app.redis = client  # type: ignore[attr-defined]
        yield app
    app.close()


def wrong(app: Sidekiq, limit: int = 100) -> list[Finding]:
    return [finding for finding in Doctor(app, limit).examine() if finding.level != "ok"]


def test_a_healthy_database_is_silent(app: Any) -> None:
    assert wrong(app) == []
    assert [finding.check for finding in Doctor(app).examine()] == list(CHECKS)


def strange_key(redis: Any) -> None:
    redis.set("cache:1", "x")


def fill(redis: Any) -> None:
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] * 1.02))


def evict(redis: Any) -> None:
    """What ends soonest goes first: these, and not the heartbeat."""
    for n in range(300):
        redis.set(f"j|261124|1:{n}", "x" * 10_000, ex=20)
    redis.config_set("maxmemory-policy", "volatile-ttl")
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] - 500_000)
    redis.config_set("maxmemory", 0)
    redis.config_set("maxmemory-policy", "noeviction")
    assert redis.info("stats")["evicted_keys"]


PLANTED: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "twice": ("a job in two places", "critical", lambda r: r.zadd("retry", {job("d7"): 9e9})),
    "twice in queues": ("a job in two places", "critical", lambda r: r.lpush("queue:low", job("d7"))),
    "ownerless": (
        "running lists without an owner",
        "critical",
        lambda r: r.lpush("lua:running:gone:1:abcdef:0.0:default", job("o")),
    ),
    "broken owner": (
        "running lists without an owner",
        "critical",
        lambda r: r.hset("lua:owners", "x:0.0", "{"),
    ),
    "unparsable": ("payloads that do not parse", "warning", lambda r: r.lpush("queue:low", b"\xff{")),
    "stranger": ("keys of others", "notice", strange_key),
    "policy": ("eviction policy", "critical", lambda r: r.config_set("maxmemory-policy", "allkeys-lru")),
    "evicted": ("evicted keys", "critical", evict),
    "no persistence": ("persistence", "warning", lambda r: r.config_set("appendonly", "no")),
    "memory": ("memory", "critical", fill),
    "paused": (
        "paused queues that grow",
        "warning",
        lambda r: (
            r.sadd("paused", "low"),
            r.lpush("queue:low", job("n", enqueued_at=int(time.time() * 1000))),
        ),
    ),
    "unserved": (
        "queues that nobody serves",
        "warning",
        lambda r: (r.sadd("queues", "mail"), r.lpush("queue:mail", job("m"))),
    ),
    "lag": ("heartbeats that lag", "warning", lambda r: r.hset(OWNER.identity, "beat", time.time() - 45)),
}


def test_jobs_of_a_process_that_died_while_nobody_else_works(app: Any) -> None:
    """They are in no queue, and in no heartbeat that `monitor` and `jobs running` could show."""
    app.transport().run(app.store.queues.clear("default"))
    app.transport().run(app.store.queues.clear("low"))
    app.redis.delete(OWNER.identity)

    (found,) = wrong(app)

    assert (found.check, found.level) == ("jobs that nobody brings back", "warning")
    assert found.verdict == f"{OWNER.identity} died with 1 jobs, and no worker runs to return them"
    other = Owner("host:2:abcdef", "0.0", ("other",), 5)
    app.transport().run(app.store.owners.register(other))
    beat = {"info": json.dumps({"queues": other.queues}), "beat": time.time(), "busy": 0}
    app.transport().run(app.store.processes.beat(other.identity, [other], 60, beat, {}))
    assert wrong(app) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(app: Any, name: str) -> None:
    check, level, plant = PLANTED[name]
    plant(app.redis)

    found = wrong(app)

    assert {(finding.check, finding.level) for finding in found} == {(check, level)}
    assert all(finding.verdict and finding.remedy for finding in found)


def test_a_cluster(make_server: Any) -> None:
    server = make_server(cluster_enabled=True, appendonly=True)
    with server.client() as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    app = Sidekiq(redis=server.url)

    (found,) = wrong(app)
    app.close()

    assert (found.check, found.level) == ("kind of server", "critical")
    assert found.verdict == "this is a Redis Cluster, where Sidekiq's keys lie in different slots"


def test_a_clock_that_is_wrong(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    there = app.redis.time
    monkeypatch.setattr(Examination, "time", lambda look: there()[0] + 5)
    assert [(f.check, f.level) for f in wrong(app)] == [("clock skew", "warning")]


def test_scripts_of_two_versions(app: Any) -> None:
    app.redis.hset("lua:scripts", app.redis.script_load("return 1"), "push 0.0.9")
    assert [(f.check, f.level) for f in wrong(app)] == [("script versions", "notice")]


def test_nothing_is_written(app: Any, dump: Any) -> None:
    before = dump(app.redis)
    Doctor(app).examine()
    assert dump(app.redis) == before


def test_the_data_of_ruby_alone(make_server: Any) -> None:
    """No owners, no scripts: what Ruby has is examined all the same."""
    server = make_server(appendonly="yes")
    app = Sidekiq(redis=server.url)
    with server.client() as redis:
        redis.sadd("queues", "default")
        redis.lpush("queue:default", job("a"), job("b"))
        redis.sadd("processes", "ruby:1:abcdef0123")
        redis.hset(
            "ruby:1:abcdef0123", mapping={"info": '{"queues":["low"]}', "beat": time.time(), "busy": 0}
        )
    assert [(f.check, f.level) for f in wrong(app)] == [("queues that nobody serves", "warning")]
    app.close()


def test_a_job_that_moves_meanwhile_is_no_fault(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was read in its queue, and then in the running list to which it had moved."""
    doctor = Doctor(app)
    look = doctor._look
    sorted_ = look.sorted
    moved = job("l")

    def later(key: str) -> list[bytes]:
        if app.redis.lrem("queue:low", 1, moved):
            app.redis.zadd("retry", {moved: 9e9})
        return sorted_(key)

    monkeypatch.setattr(look, "sorted", later)
    monkeypatch.setattr(look, "kind", lambda key, kind=look.kind: "zset" if key == "retry" else kind(key))
    assert "a job in two places" not in {finding.check for finding in doctor.examine() if finding.remedy}
