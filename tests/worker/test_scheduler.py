"""Due jobs: moved once, by their bytes, through client middleware."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time
from waiting import wait_until

from sidekiq_lua.payload import Codec
from sidekiq_lua.worker import scheduler as module
from sidekiq_lua.worker.failure import ErrorReporter
from sidekiq_lua.worker.scheduler import Scheduler


def load(raw):
    return Codec().load(raw)


@pytest.fixture
def scheduler(app):
    """A scheduler that a test steps by hand."""
    return Scheduler(app, app.transport(), ErrorReporter(app), lambda: 1)


def drain(scheduler):
    skips = {}
    while scheduler.enqueue_due(skips):
        continue


def test_a_scheduled_job_runs_when_it_is_due(app, run, redis):
    seen = []

    class LaterJob(app.Job):
        def perform(self, n):
            seen.append((n, app.clock.now()))

    at = datetime.now(UTC) + timedelta(seconds=0.3)
    LaterJob.perform_at(at, 1)
    ((raw, score),) = redis.zrange("schedule", 0, -1, withscores=True)
    assert "at" not in load(raw)
    assert "enqueued_at" not in load(raw)
    assert score == pytest.approx(at.timestamp())
    run(app)
    wait_until(lambda: seen)
    assert seen[0][0] == 1
    assert 0 <= seen[0][1] - at.timestamp() < 2


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system has no clock that nobody sets")
@pytest.mark.parametrize("wrong", [-3600, 0])
def test_no_job_is_early_when_the_machines_clock_is_set(make_app, run, redis, monkeypatch, wrong):
    """To an hour later than it was, between two beats."""
    real = time.time

    class Shifted:
        def __call__(self):
            return real() + wrong

    app = make_app(heartbeat_interval=20, heartbeat_ttl=60)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", Shifted())
        branch = run(app)._launcher.branches[0]
        branch.heartbeat.stop()
        assert branch.heartbeat.join(5)
        wrong += 3600
        redis.zadd("schedule", {b'{"class":"A","args":[]}': real() + 1800})
        branch.scheduler.step()
        branch.heartbeat.beat()
        skew = app.clock.now() - real()
    assert redis.zcard("schedule") == 1
    assert app.clock.offset == pytest.approx(-wrong, abs=1)
    assert skew == pytest.approx(0, abs=1)


@pytest.mark.usefixtures("redis")
def test_a_worker_learns_the_servers_clock_while_its_own_is_frozen(make_app, run, log):
    app = make_app(heartbeat_interval=20, heartbeat_ttl=60)
    with freeze_time("2026-11-24"):
        branch = run(app)._launcher.branches[0]
        branch.heartbeat.beat()
    assert app.clock.offset == pytest.approx(0, abs=1)
    assert "clock differs" not in log.getvalue()


def test_what_is_not_due_stays(app, scheduler, redis, dump):
    redis.zadd("schedule", {b'{"class":"A","args":[]}': app.clock.now() + 60})
    before = dump()
    drain(scheduler)
    assert dump() == before


def test_defaults_are_filled_in_and_unknown_fields_kept(scheduler, redis):
    redis.zadd("retry", {b'{"class":"A","args":[2],"x":{"y":[]},"retry_count":3}': 1})
    drain(scheduler)
    (raw,) = redis.lrange("queue:default", 0, -1)
    payload = load(raw)
    assert len(payload.pop("jid")) == 24
    assert payload.pop("created_at") == pytest.approx(payload.pop("enqueued_at"), abs=1000)
    assert payload == {
        "retry": True, "queue": "default", "class": "A", "args": [2], "x": {"y": []}, "retry_count": 3,
    }  # fmt: skip
    assert redis.smembers("queues") == {b"default"}
    assert redis.zcard("retry") == 0


def test_more_than_a_batch_drains_in_one_step(scheduler, redis):
    redis.zadd("schedule", {f'{{"class":"A","args":[{n}]}}': n for n in range(1, 351)})
    drain(scheduler)
    assert redis.zcard("schedule") == 0
    order = [load(raw)["args"][0] for raw in reversed(redis.lrange("queue:default", 0, -1))]
    assert order == list(range(1, 351))


def test_client_middleware_runs_again_and_may_change_or_stop_a_job(app, scheduler, redis):
    class Middle:
        def call(self, job_class, payload, queue, redis, next):
            if payload["args"] == ["stop"]:
                return None
            payload["seen"] = True
            payload["queue"] = "other"
            return next()

    app.config.client_middleware.add(Middle)
    redis.zadd("schedule", {b'{"class":"A","args":["stop"]}': 1, b'{"class":"A","args":["go"]}': 2})
    drain(scheduler)
    assert redis.zcard("schedule") == 0
    (raw,) = redis.lrange("queue:other", 0, -1)
    assert load(raw)["seen"] is True
    assert not redis.exists("queue:default")


def test_a_middleware_that_fails_keeps_its_jobs_and_stops_no_others(app, scheduler, redis):
    errors = []
    app.config.error_handlers.append(lambda error, context, config: errors.append(str(error)))

    class Middle:
        def call(self, job_class, payload, queue, redis, next):
            if payload["args"][0] < 150:
                raise RuntimeError("broken")
            return next()

    app.config.client_middleware.add(Middle)
    redis.zadd("schedule", {f'{{"class":"A","args":[{n}]}}': n for n in range(1, 201)})
    drain(scheduler)
    assert redis.zcard("schedule") == 149
    assert redis.llen("queue:default") == 51
    assert set(errors) == {"broken"}


def test_what_is_no_job_is_left_to_the_worker_as_it_is(scheduler, redis):
    redis.zadd("schedule", {b'{"bad json': 1})
    drain(scheduler)
    assert redis.lrange("queue:default", 0, -1) == [b'{"bad json']


def test_a_queue_of_a_wrong_type_keeps_its_job_alone(scheduler, redis, log):
    redis.set("queue:wrong", "x")
    redis.zadd("schedule", {b'{"class":"A","args":[],"queue":"wrong"}': 1, b'{"class":"B","args":[]}': 2})
    drain(scheduler)
    assert redis.zrange("schedule", 0, -1) == [b'{"class":"A","args":[],"queue":"wrong"}']
    assert redis.llen("queue:default") == 1
    assert "the key of queue 'wrong' is not a list" in log.getvalue()


def test_two_schedulers_move_each_entry_once(app, make_app, redis):
    other = make_app()
    schedulers = [Scheduler(a, a.transport(), ErrorReporter(a), lambda: 1) for a in (app, other)]
    redis.zadd("schedule", {f'{{"class":"A","args":[],"jid":"{n}"}}': 1 for n in range(500)})
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(drain, schedulers))
    jids = [load(raw)["jid"] for raw in redis.lrange("queue:default", 0, -1)]
    assert sorted(jids, key=int) == [str(n) for n in range(500)]


@pytest.mark.parametrize(("processes", "low", "high"), [(1, 2.5, 7.5), (9, 22.5, 67.5), (10, 0, 100)])
def test_the_pause_grows_with_the_number_of_processes(make_app, processes, low, high):
    app = make_app(poll_interval_average=None)
    scheduler = Scheduler(app, app.transport(), ErrorReporter(app), lambda: processes)
    pauses = [scheduler.pause() for _ in range(2000)]
    assert low <= min(pauses)
    assert max(pauses) <= high
    assert sum(pauses) / len(pauses) == pytest.approx(5 * processes, rel=0.1)


def test_a_job_that_lacks_nothing_keeps_its_text(app, scheduler, redis):
    """Spaces, order and numbers as another writer left them; only the time is added."""
    text = b'{"args": [1.50, 1e2],"class":"EchoJob","jid":"j1","retry":true,"queue":"default","created_at":1}'
    redis.zadd("schedule", {text: 1})
    scheduler.enqueue_due({})
    (raw,) = redis.lrange("queue:default", 0, -1)
    assert raw.startswith(text[:-1] + b',"enqueued_at":')
    assert json.loads(raw)["enqueued_at"] > 1


def test_who_is_beaten_to_the_entries_waits_a_little(app, scheduler, redis, monkeypatch):
    """Another poller moves them between the reading and the moving."""
    redis.zadd(
        "schedule", {json.dumps({"class": "EchoJob", "args": [], "jid": str(n)}): 1 for n in range(350)}
    )
    prepare = scheduler._prepare

    def beaten(entry, tail):
        redis.zrem("schedule", entry)
        return prepare(entry, tail)

    monkeypatch.setattr(scheduler, "_prepare", beaten)
    assert scheduler.step() < 0.1
    assert redis.zcard("schedule") == 150
    assert redis.llen("queue:default") == 0


def test_a_middleware_that_lets_one_like_a_job_pass_loses_none_to_two_pollers(app, make_app, redis):
    """As one for unique jobs does: the second poller would forget what the first is about to move."""
    other = make_app()
    schedulers = [Scheduler(each, each.transport(), ErrorReporter(each), lambda: 1) for each in (app, other)]

    class Unique:
        def call(self, job_class, payload, queue, redis_, next):
            return next() if redis.set(f"like:{payload['args']}", 1, nx=True) else None

    class Meanwhile(Unique):
        def call(self, *args):
            passed = super().call(*args)
            schedulers[1].enqueue_due({})
            return passed

    app.config.client_middleware.add(Meanwhile)
    other.config.client_middleware.add(Unique)
    redis.zadd("schedule", {f'{{"class":"A","args":[{n}],"jid":"{n}"}}': 1 for n in range(3)})
    schedulers[0].enqueue_due({})
    assert redis.llen("queue:default") == 3
    assert redis.zcard("schedule") == 0


def test_what_middleware_failed_on_keeps_its_time(app, scheduler, redis):
    class Broken:
        def call(self, job_class, payload, queue, redis, next):
            raise RuntimeError

    app.config.client_middleware.add(Broken)
    redis.zadd("retry", {b'{"class":"A","args":[]}': 12.5})
    drain(scheduler)
    assert redis.zscore("retry", b'{"class":"A","args":[]}') == 12.5


def test_a_middleware_that_wants_to_end_the_program_ends_no_poller(app, run, redis, log):
    class Leave:
        def call(self, job_class, payload, queue, redis, next):
            return sys.exit(1) if payload["args"] == ["exit"] else next()

    app.config.client_middleware.add(Leave)
    redis.zadd("schedule", {b'{"class":"A","args":["exit"]}': 1})
    scheduler = run(app)._launcher.branches[0].scheduler
    wait_until(lambda: "client middleware failed on a due job" in log.getvalue())
    redis.zadd("schedule", {b'{"class":"A","args":[1],"queue":"other"}': 2})
    wait_until(lambda: redis.llen("queue:other") == 1)
    assert redis.zrange("schedule", 0, -1) == [b'{"class":"A","args":["exit"]}']
    assert scheduler.runs


def test_slow_middleware_leaves_for_later_what_it_has_claimed(app, scheduler, redis, monkeypatch):
    """Else another poller would claim it as well before this one moves it."""
    spent = []
    monkeypatch.setattr(module, "monotonic", lambda: time.monotonic() + sum(spent))

    class Slow:
        def call(self, job_class, payload, queue, redis, next):
            if payload["args"] == [1]:
                spent.append(0.75 * module._CLAIM_S)
            return next()

    app.config.client_middleware.add(Slow)
    redis.zadd("schedule", {f'{{"class":"A","args":[{n}],"jid":"{n}"}}': n for n in range(4)})
    scheduler.enqueue_due({})
    assert redis.llen("queue:default") == 2
    assert [score for _, score in redis.zrange("schedule", 0, -1, withscores=True)] == [2, 3]
    drain(scheduler)
    assert redis.llen("queue:default") == 4
