"""What a worker ran is in Sidekiq's metrics: exact, at a clean stop and after an outage too."""

import asyncio
import threading

import pytest
from proxy import Fate, Proxy
from waiting import wait_until

from sidekiq_lua import Sidekiq
from sidekiq_lua.store.scripts import library
from sidekiq_lua.worker.failure import ErrorReporter
from sidekiq_lua.worker.metrics import MetricsFlusher


def totals(redis, prefix="j|", ten=False):
    """The fields of all minutes (or tens of minutes), added up."""
    found = {}
    for key in redis.scan_iter(f"{prefix}*"):
        if (key[-2:-1] == b":") is not ten:
            continue
        for field, value in redis.hgetall(key).items():
            name = field.decode()
            found[name] = found.get(name, 0) + int(value)
    return found


def histogram(redis, name):
    buckets = [0] * 26
    for key in redis.scan_iter(f"h|{name}-*"):
        raw = redis.get(key).ljust(52, b"\0")
        buckets = [n + int.from_bytes(raw[2 * i : 2 * i + 2]) for i, n in enumerate(buckets)]
    return buckets


def processed(redis):
    return int(redis.get("stat:processed") or 0)


def test_exact_over_threads_tasks_failures_and_beats(make_app, run, redis):
    app = make_app(concurrency=8, heartbeat_interval=0.05)

    class SyncJob(app.Job):
        def perform(self, n):
            if n % 10 == 0:
                raise ValueError(n)

    class AsyncJob(app.Job):
        async def perform(self, n):
            await asyncio.sleep(0)
            if n % 10 == 0:
                raise ValueError(n)

    class SlowJob(app.Job):
        def perform(self):
            threading.Event().wait(0.035)

    for job_class in (SyncJob, AsyncJob):
        job_class.set(retry=False).perform_bulk([[n] for n in range(1000)])
    SlowJob.perform_bulk([[]] * 4)
    runner = run(app)
    wait_until(lambda: processed(redis) == 2004)
    runner.stop()

    for ten in (False, True):
        found = totals(redis, ten=ten)
        ms = {name: found.pop(f"{name}|ms") for name in ("SyncJob", "AsyncJob", "SlowJob")}
        assert found == {
            "SyncJob|p": 1000, "SyncJob|f": 100, "AsyncJob|p": 1000, "AsyncJob|f": 100, "SlowJob|p": 4,
        }  # fmt: skip
        assert ms["SlowJob"] >= 140
    assert sum(histogram(redis, "SyncJob")) == 900
    assert sum(histogram(redis, "AsyncJob")) == 900
    slow = histogram(redis, "SlowJob")
    assert (sum(slow), slow[0], slow[1]) == (4, 0, 0)


def test_a_beat_flushes_while_the_worker_runs(app, run, redis):
    class EchoJob(app.Job):
        def perform(self):
            pass

    EchoJob.perform_async()
    run(app)

    wait_until(lambda: totals(redis).get("EchoJob|p") == 1)


def test_a_wrapped_job_counts_for_what_it_wraps(app, run, redis):
    class WrapperJob(app.Job):
        def perform(self):
            pass

    app.client.push({"class": "WrapperJob", "wrapped": "Inner::Job", "args": []})
    run(app)

    wait_until(lambda: totals(redis).get("Inner::Job|p") == 1)


def test_what_did_not_run_is_not_counted(app, run, redis):
    app.client.push({"class": "UnknownJob", "args": [], "retry": False})
    runner = run(app)
    wait_until(lambda: processed(redis) == 1)
    runner.stop()

    assert totals(redis) == {}


def test_a_job_that_is_cut_off_and_put_back_counts_where_it_ends(make_app, run, redis):
    inside, gate = threading.Event(), threading.Event()
    app = make_app(timeout=0.01)

    class CutJob(app.Job):
        def perform(self):
            inside.set()
            while not gate.wait(0.01):
                pass

    CutJob.perform_async()
    runner = run(app)
    wait_until(inside.is_set)
    runner.stop()
    assert redis.llen("queue:default") == 1
    assert totals(redis) == {}

    gate.set()
    runner.restart()
    wait_until(lambda: processed(redis) == 1)
    runner.stop()
    assert totals(redis)["CutJob|p"] == 1
    assert "CutJob|f" not in totals(redis)


def test_the_setting_turns_it_off(make_app, run, redis):
    app = make_app(metrics=False)

    class EchoJob(app.Job):
        def perform(self):
            pass

    EchoJob.perform_async()
    runner = run(app)
    wait_until(lambda: processed(redis) == 1)
    runner.stop()

    assert totals(redis) == {}
    assert app.tally.totals() == {}


def test_a_flush_whose_reply_is_lost_counts_once(make_app, server, redis, run, log):
    with Proxy(server.port) as proxy:
        app = make_app(redis=proxy.url)
        script = library()["flush_metrics"]
        redis.script_load(script.text)
        runner = run(app)
        proxy.on(script.sha.encode(), Fate.CUT_REPLY, times=3)
        app.tally.succeeded({"class": "EchoJob"}, 0.001)
        wait_until(lambda: proxy.met)
        app.tally.succeeded({"class": "EchoJob"}, 0.001)
        wait_until(lambda: totals(redis).get("EchoJob|p") == 2)
        runner.stop()

    assert totals(redis)["EchoJob|p"] == 2
    assert log.getvalue().count("metrics could not be written") == 1


def test_nothing_is_lost_or_doubled_by_an_outage(make_app, make_server, run, log):
    server = make_server()
    seen = []
    app = make_app(redis={"url": server.url, "socket_timeout": 0.5, "connect_timeout": 0.2})
    redis = server.client()

    class EchoJob(app.Job):
        def perform(self, n):
            seen.append(n)

    runner = run(app)
    EchoJob.perform_bulk([[n] for n in range(50)])
    wait_until(lambda: processed(redis) == 50)
    wait_until(lambda: totals(redis).get("EchoJob|p") == 50)
    # No flush, and no beat, gets through until it is ended.
    redis.execute_command("CLIENT", "PAUSE", "30000", "WRITE")
    app.tally.succeeded({"class": "EchoJob"}, 0.001)
    wait_until(lambda: "the heartbeat failed" in log.getvalue())
    app.tally.succeeded({"class": "EchoJob"}, 0.001)
    redis.execute_command("CLIENT", "UNPAUSE")
    EchoJob.perform_bulk([[n] for n in range(50)])
    wait_until(lambda: processed(redis) == 100, timeout=20)
    runner.stop()

    assert totals(redis)["EchoJob|p"] == 102
    assert sum(histogram(redis, "EchoJob")) == 102
    redis.close()


@pytest.mark.parametrize("refusal", ["full", "type"])
def test_what_redis_refuses_is_kept_for_later(make_app, make_server, run, log, refusal):
    server = make_server()
    app = make_app(redis=server.url)
    redis = server.client()
    foreign = [app.store.keys.minute(app.clock.now() + 60 * n) for n in range(3)]
    if refusal == "full":
        redis.config_set("maxmemory", "1")
    else:
        for key in foreign:
            redis.set(key, "foreign")

    class EchoJob(app.Job):
        def perform(self):
            pass

    runner = run(app)
    app.tally.succeeded({"class": "EchoJob"}, 0.001)
    wait_until(lambda: "metrics could not be written, they are kept" in log.getvalue())
    assert redis.scard("processes") == 1, "the heartbeat goes on"
    redis.config_set("maxmemory", "0")
    redis.delete(*foreign)
    app.tally.succeeded({"class": "EchoJob"}, 0.001)

    wait_until(lambda: totals(redis).get("EchoJob|p") == 2)
    runner.stop()
    assert log.getvalue().count("metrics could not be written") == 1
    assert sum(histogram(redis, "EchoJob")) == 2
    redis.close()


def test_a_user_who_may_not_count_runs_jobs_and_is_told_once(make_app, make_server, run, log):
    server = make_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-hincrby")
    app = make_app(redis=server.url, heartbeat_interval=0.05)

    class EchoJob(app.Job):
        def perform(self):
            pass

    runner = run(app)
    with server.client() as client:
        for n in (1, 2):
            EchoJob.perform_async()
            wait_until(lambda n=n: processed(client) == n)
            wait_until(lambda n=n: histogram(client, "EchoJob")[0] == n)
    runner.stop()

    assert log.getvalue().count("a part of the metrics is not written") == 1


def test_two_instances_count_apart(url):
    one, two = Sidekiq(redis=url), Sidekiq(redis=url)

    assert one.tally is not two.tally
    assert one.tally.token != two.tally.token


class Clock:
    offset = 0.0

    def __init__(self, now):
        self.now = lambda: now


def test_a_minute_that_refuses_does_not_stop_the_next(make_app, redis, log):
    app = make_app(clock=Clock(1_795_489_385.5))
    flusher = MetricsFlusher(app, app.transport(), ErrorReporter(app))
    redis.set("j|261124|3:03", "foreign")
    app.tally.succeeded({"class": "EchoJob"}, 0.001)
    assert not flusher.flush()

    app.clock = Clock(1_795_489_445.5)
    assert flusher.flush()

    assert redis.hgetall("j|261124|3:04") == {b"EchoJob|p": b"1", b"EchoJob|ms": b"1"}
