"""A dead process's jobs come back; a living one's do not."""

import threading

import pytest
from waiting import wait_until

from sidekiq_lua.clock import boottime
from sidekiq_lua.payload import Codec
from sidekiq_lua.store.owners import Owner
from sidekiq_lua.worker import heartbeat
from sidekiq_lua.worker.failure import FailureHandler
from sidekiq_lua.worker.recovery import Recovery

DEAD = Owner("elsewhere:1:abcabcabcabc", "0.0", ("default",), 5)


def job(n, **fields):
    return Codec().dump(
        {"class": "BackJob", "args": [n], "jid": f"j{n}", "queue": "default", "retry": True, **fields}
    )


@pytest.fixture
def left_behind(app, redis):
    """Jobs in the running list of a process that has no heartbeat; the oldest first."""

    def leave(*raws, owner=DEAD):
        app.transport().run(app.store.owners.register(owner))
        redis.lpush(app.store.keys.running(owner.identity, owner.epoch, "default"), *raws)

    return leave


@pytest.fixture
def seen(app):
    found = []

    class BackJob(app.Job):
        def perform(self, n):
            found.append(n)

    return found


def test_jobs_of_a_dead_process_are_returned_in_their_order(app, redis, left_behind):
    redis.lpush("queue:default", job("waiting"))
    left_behind(*[job(n) for n in range(250)])
    failures = FailureHandler(app, None)
    recovery = Recovery(app, app.transport(), failures, lambda: True, set, lambda: True, forget_after_s=60)
    assert recovery.sweep() == 250
    queue = [Codec().load(raw)["args"][0] for raw in reversed(redis.lrange("queue:default", 0, -1))]
    assert queue == [*range(250), "waiting"]
    assert not list(redis.scan_iter("lua:running:*"))


def test_large_jobs_are_returned_in_their_order_too_and_no_more_are_blamed(app, redis, left_behind):
    """A page of them ends before it has as many as it could."""
    left_behind(*[job(n, more="x" * 50_000) for n in range(60)])
    failures = FailureHandler(app, None)
    recovery = Recovery(app, app.transport(), failures, lambda: True, set, lambda: True, forget_after_s=60)
    assert recovery.sweep() == 60
    queue = [Codec().load(raw)["args"][0] for raw in reversed(redis.lrange("queue:default", 0, -1))]
    assert queue == [*range(60)]
    assert sorted(redis.scan_iter("lua:crashes:*")) == [b"lua:crashes:j%d" % n for n in range(5)]


def test_what_cannot_be_returned_stays_and_holds_up_no_other_jobs(app, redis, left_behind, log):
    owners = [Owner(f"elsewhere:{n}:abcabcabcabc", "0.0", ("bad", "default"), 5) for n in range(3)]
    for owner in owners:
        left_behind(job(owner.identity), owner=owner)
        redis.lpush(app.store.keys.running(owner.identity, "0.0", "bad"), job("bad", queue="bad"))
    redis.set("queue:bad", "a string")
    failures = FailureHandler(app, None)
    recovery = Recovery(app, app.transport(), failures, lambda: True, set, lambda: True, forget_after_s=0)
    assert recovery.sweep() == 3
    assert redis.llen("queue:default") == 3
    assert len(list(redis.scan_iter("lua:running:*:bad"))) == 3
    assert log.getvalue().count("jobs of queue bad, whose process elsewhere:1:abcabcabcabc died, ") == 1
    redis.delete("queue:bad")
    assert recovery.sweep() == 3


def test_jobs_of_a_dead_process_run(app, run, redis, left_behind, seen):
    left_behind(*[job(n) for n in range(250)])
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"250")
    assert sorted(seen) == list(range(250))
    assert not list(redis.scan_iter("lua:running:elsewhere*"))


def test_nobody_is_judged_before_the_own_beats_have_succeeded_for_a_ttl(
    make_app, run, redis, left_behind, seen
):
    app = make_app(heartbeat_ttl=60, heartbeat_interval=0.1)
    left_behind(job(1))
    runner = run(app)
    wait_until(lambda: runner._launcher.branches[0].heartbeat._healthy_since)
    runner._launcher.branches[0].recovery.step()
    assert redis.llen("lua:running:elsewhere:1:abcabcabcabc:0.0:default") == 1


def by_hand(branch):
    """Nothing beats or sweeps but the test: the first steps may come late, and change what it sets."""
    for actor in (branch.heartbeat, branch.recovery):
        actor.stop()
        assert actor.join(5)


def test_nobody_is_judged_while_the_own_heartbeat_is_gone_too(make_app, run, redis, left_behind):
    """Where the server's clock is set forward, all are gone at once, before a beat can notice."""
    app = make_app(heartbeat_ttl=61, heartbeat_interval=30, recovery_interval=100)
    branch = run(app)._launcher.branches[0]
    by_hand(branch)
    recovery, identity = branch.recovery, branch.identity
    recovery._may_judge = lambda: True
    left_behind(job(1))
    redis.delete(identity)
    assert recovery.sweep() == 0
    assert redis.llen("lua:running:elsewhere:1:abcabcabcabc:0.0:default") == 1

    redis.hset(identity, "info", "{}")
    assert recovery.sweep() == 1


@pytest.fixture
def judge(make_app, run):
    """A worker whose beats have been answered for long enough, and whose next one is due later."""
    runner = run(make_app(heartbeat_ttl=60, heartbeat_interval=20, recovery_interval=60))
    branch = runner._launcher.branches[0]
    by_hand(branch)
    branch.heartbeat._healthy_since -= 60
    assert branch.heartbeat.may_judge()
    return branch


def test_nobody_is_judged_after_a_jump_of_the_servers_clock(redis, left_behind, judge):
    """It ends heartbeats of the living until they beat; one by less than a TTL some of them."""
    left_behind(job(1))
    judge.heartbeat._ahead -= 50
    assert judge.recovery.sweep() == 0
    judge.heartbeat.beat()
    assert judge.heartbeat.steady()
    assert not judge.heartbeat.may_judge()
    assert judge.recovery.sweep() == 0
    judge.heartbeat._healthy_since -= 60
    assert judge.recovery.sweep() == 1


def test_nobody_is_judged_by_one_who_slept_before_its_next_beat(redis, left_behind, judge, monkeypatch):
    left_behind(job(1))
    monkeypatch.setattr(heartbeat, "boottime", lambda: boottime() + 3600)
    assert judge.recovery.sweep() == 0
    judge.heartbeat.beat()
    assert judge.recovery.sweep() == 0


def test_a_process_with_a_heartbeat_keeps_its_jobs(app, run, redis, left_behind, seen):
    redis.hset("elsewhere:1:abcabcabcabc", "info", "{}")
    left_behind(job(1))
    runner = run(app)
    wait_until(lambda: runner._launcher.branches[0].heartbeat.may_judge())
    assert runner._launcher.branches[0].recovery.sweep() == 0
    assert redis.llen("lua:running:elsewhere:1:abcabcabcabc:0.0:default") == 1
    assert seen == []


def test_after_three_crashes_a_job_is_a_poison_pill(app, run, redis, left_behind, seen):
    deaths = []
    app.config.death_handlers.append(lambda payload, error: deaths.append((payload["jid"], str(error))))
    redis.set("lua:crashes:j1", 2)
    left_behind(job(1), job(2))
    run(app)
    wait_until(lambda: seen == [2])
    (raw,) = redis.zrange("dead", 0, -1)
    payload = Codec().load(raw)
    assert payload["error_class"] == "PoisonPill"
    assert payload["error_message"] == (
        "3 processes died while this job ran, the last was elsewhere:1:abcabcabcabc; beside it ran j2"
    )
    wait_until(lambda: deaths == [("j1", payload["error_message"])])
    assert redis.get("lua:crashes:j1") is None
    assert redis.get("lua:crashes:j2") == b"1"
    assert 0 < redis.ttl("lua:crashes:j2") <= 259200


def test_a_poison_pill_goes_to_the_quarantine_queue(make_app, run, redis, left_behind):
    app = make_app(quarantine_queue="ward")
    deaths = []
    app.config.death_handlers.append(lambda payload, error: deaths.append((payload["jid"], str(error))))
    redis.set("lua:crashes:j1", 2)
    left_behind(job(1))
    run(app)
    (raw,) = wait_until(lambda: redis.lrange("queue:ward", 0, -1))
    payload = Codec().load(raw)
    assert payload["error_class"] == "PoisonPill"
    assert payload["error_message"].startswith("3 processes died while this job ran, the last was elsewhere")
    assert (payload["queue"], payload["quarantined_from"], payload["jid"]) == ("ward", "default", "j1")
    assert redis.sismember("queues", "ward")
    assert redis.zcard("dead") == 0
    wait_until(lambda: deaths == [("j1", payload["error_message"])])


def test_a_poison_pill_of_the_quarantine_queue_itself_is_buried(make_app, run, redis, left_behind):
    app = make_app(quarantine_queue="default")
    redis.set("lua:crashes:j1", 2)
    left_behind(job(1))
    run(app)
    (raw,) = wait_until(lambda: redis.zrange("dead", 0, -1))
    assert "quarantined_from" not in Codec().load(raw)
    assert redis.llen("queue:default") == 0


def test_a_poison_pill_that_cannot_be_written_keeps_its_text(app, run, redis, left_behind):
    """Other writers' numbers may be read and not written; the jobs behind it must be recovered too."""
    raw = b'{"class":"BackJob","args":[1e999],"jid":"odd","queue":"default"}'
    redis.set("lua:crashes:odd", 2)
    left_behind(raw, job(2))
    run(app)
    assert wait_until(lambda: redis.zrange("dead", 0, -1)) == [raw]


def test_only_jobs_that_can_have_run_are_blamed(app, run, redis, left_behind, seen):
    left_behind(*[job(n) for n in range(8)])
    run(app)
    wait_until(lambda: len(seen) == 8)
    assert sorted(redis.scan_iter("lua:crashes:*")) == [b"lua:crashes:j%d" % n for n in range(5)]


def test_only_what_was_running_when_the_process_was_seen_to_die_is_blamed(make_app, run, redis, left_behind):
    """And it is recovered at once, whoever looks: its heartbeat's end is no guess then."""
    app = make_app(heartbeat_ttl=60)
    seen = []

    class BackJob(app.Job):
        def perform(self, n):
            seen.append(n)

    left_behind(*[job(n) for n in range(8)])
    redis.sadd("lua:fallen:elsewhere:1:abcabcabcabc", "", "j3", "j6")
    run(app)
    wait_until(lambda: len(seen) == 8)
    assert sorted(redis.scan_iter("lua:crashes:*")) == [b"lua:crashes:j3", b"lua:crashes:j6"]


def test_with_limit_0_no_job_is_a_poison_pill(make_app, run, redis, left_behind):
    app = make_app(crash_limit=0)
    seen = []

    class BackJob(app.Job):
        def perform(self, n):
            seen.append(n)

    redis.set("lua:crashes:j1", 99)
    left_behind(job(1))
    run(app)
    wait_until(lambda: seen == [1])


def test_what_is_no_job_is_recovered_as_it_is(app, run, redis, left_behind):
    left_behind(b"\xff not json")
    run(app)
    assert wait_until(lambda: redis.zrange("dead", 0, -1)) == [b"\xff not json"]


def test_a_dead_owner_is_forgotten_once_its_lists_are_empty(app, run, redis, left_behind, seen):
    left_behind(job(1))
    runner = run(app)
    runner._launcher.branches[0].recovery._forget_after_s = 0.2
    wait_until(lambda: seen == [1])
    wait_until(lambda: redis.hlen("lua:owners") == 1)
    assert not any(b"elsewhere" in field for field in redis.hkeys("lua:owners"))


def test_a_running_process_whose_registration_vanished_registers_again(app, run, redis):
    gate = threading.Event()
    seen = []

    class HoldJob(app.Job):
        def perform(self):
            seen.append(1)
            gate.wait(5)

    runner = run(app)
    HoldJob.perform_async()
    wait_until(lambda: seen)
    redis.delete("lua:owners")
    # The old epoch, whose list holds the running job, and the new one.
    wait_until(lambda: redis.hlen("lua:owners") == 2)
    gate.set()
    wait_until(lambda: redis.get("stat:processed") == b"1")
    HoldJob.perform_async()
    wait_until(lambda: len(seen) == 2)
    runner.stop()


def test_a_process_declared_dead_goes_on_under_a_new_epoch(app, run, redis, log):
    """Its job was recovered and runs elsewhere; its acknowledgement here is refused and counted."""
    gate = threading.Event()
    seen = []

    class ZombieJob(app.Job):
        def perform(self):
            seen.append(1)
            if len(seen) == 1:
                gate.wait(10)

    runner = run(app)
    ZombieJob.perform_async()
    wait_until(lambda: seen)
    exchange = runner._launcher.stations[0].exchange
    (running,) = redis.scan_iter("lua:running:*")
    redis.lmove(running.decode(), "queue:default", "RIGHT", "RIGHT")
    wait_until(lambda: len(seen) == 2)
    gate.set()
    wait_until(lambda: "settled elsewhere" in log.getvalue())
    # The two may be settled in either order.
    wait_until(lambda: redis.get("stat:processed") == b"1")
    assert sum(exchange._transport.counts.fenced.values()) == 1


def test_sidekiqs_list_is_pruned(app, run, redis):
    redis.sadd("processes", "gone:1:abcabcabcabc")
    run(app)
    wait_until(lambda: not redis.sismember("processes", "gone:1:abcabcabcabc"))
    assert redis.scard("processes") == 1


def test_sidekiqs_list_is_pruned_however_long_it_is(app, redis):
    """A scan of a large set has several pages, of which the first may be all of living processes."""
    for n in range(700):
        redis.sadd("processes", f"host{n}:1:abcabcabcabc")
        if n < 400:
            redis.hset(f"host{n}:1:abcabcabcabc", "info", "{}")
    failures = FailureHandler(app, None)
    recovery = Recovery(app, app.transport(), failures, lambda: True, set, lambda: True, forget_after_s=60)
    for _ in range(10):
        redis.delete("process_cleanup")
        recovery._next_prune = 0.0
        recovery._prune()
    assert redis.scard("processes") == 400
