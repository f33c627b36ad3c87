"""Jobs that want a profile get one, and run in any case."""

import asyncio
import gzip
import json
import sys
import threading
from collections import Counter

import pytest
from waiting import real_now_s, wait_until


def crunch(seconds):
    until = real_now_s() + seconds
    while real_now_s() < until:
        deep(4)


def deep(n):
    return n and deep(n - 1)


def processed(redis):
    return int(redis.get("stat:processed") or 0)


def profile_of(redis, name):
    return json.loads(gzip.decompress(redis.hget(name, "data")))


def by_path(profile):
    """Milliseconds by stack, outermost first, as names of functions."""
    (thread,) = profile["threads"]
    texts, functions, frames = thread["stringArray"], thread["funcTable"], thread["frameTable"]
    found = Counter()
    for stack, weight in zip(thread["samples"]["stack"], thread["samples"]["weight"], strict=True):
        path = []
        while stack is not None:
            path.append(texts[functions["name"][frames["func"][thread["stackTable"]["frame"][stack]]]])
            stack = thread["stackTable"]["prefix"][stack]
        found[" ".join(reversed(path))] += weight
    return found


def time_in(profile, *names):
    return sum(ms for path, ms in by_path(profile).items() if all(name in path for name in names))


def test_a_profile_says_where_the_time_went(app, run, redis):
    class CrunchJob(app.Job):
        def perform(self):
            crunch(0.1)
            threading.Event().wait(0.1)

    jid = CrunchJob.set(profile="slow").perform_async()
    run(app)
    wait_until(lambda: redis.exists("profiles"))

    name = f"slow-{jid}"
    fields = {key.decode(): value for key, value in redis.hgetall(name).items()}
    assert (fields["token"], fields["jid"], fields["type"]) == (b"slow", jid.encode(), b"CrunchJob")
    assert fields["filename"].startswith(f"slow-CrunchJob-{jid}-".encode())
    assert int(fields["size"]) == len(fields["data"])
    elapsed = float(fields["elapsed"])
    assert elapsed >= 0.2
    assert 86_300 < redis.ttl(name) <= 86_400
    profile = profile_of(redis, name)
    assert sum(profile["threads"][0]["samples"]["weight"]) == pytest.approx(elapsed * 1000, rel=0.2)
    assert time_in(profile, "CrunchJob.perform", "crunch") >= 50
    assert time_in(profile, "CrunchJob.perform", "wait") >= 50
    assert not any("Thread.run" in path or "Manager" in path for path in by_path(profile)), "the job alone"


def test_async_jobs_side_by_side_get_profiles_of_their_own(make_app, run, redis):
    app = make_app(concurrency=3)

    class SleepJob(app.Job):
        async def perform(self):
            await asyncio.sleep(0.15)
            crunch(0.05)

    class OtherJob(app.Job):
        async def perform(self):
            for _ in range(10):
                crunch(0.01)
                await asyncio.sleep(0.001)

    jids = [SleepJob.set(profile="nap").perform_async() for _ in range(2)]
    OtherJob.perform_async()
    run(app)
    wait_until(lambda: redis.zcard("profiles") == 2)

    for jid in jids:
        profile = profile_of(redis, f"nap-{jid}")
        assert time_in(profile, "SleepJob.perform", "[await]") >= 75
        assert time_in(profile, "SleepJob.perform", "crunch") >= 20
        assert time_in(profile, "OtherJob") == 0


def test_jobs_without_profile_leave_none(app, run, redis):
    class PlainJob(app.Job):
        def perform(self):
            pass

    PlainJob.perform_async()
    PlainJob.set(profile="").perform_async()
    run(app)
    wait_until(lambda: processed(redis) == 2)

    assert not redis.exists("profiles")


def test_a_job_that_fails_leaves_none_and_the_next_one_does(app, run, redis):
    class FailJob(app.Job):
        def perform(self, fail):
            if fail:
                raise ValueError

    for fail in (True, False):
        FailJob.set(profile="x", retry=False).perform_async(fail)
    runner = run(app)
    wait_until(lambda: processed(redis) == 2)
    wait_until(lambda: redis.zcard("profiles") == 1)
    runner.stop()

    assert int(redis.get("stat:failed")) == 1
    assert redis.zcard("profiles") == 1


@pytest.mark.parametrize(
    ("options", "interval_ms"), [({}, 1), ({"interval": 5000}, 5), ({"interval": 1}, 0.1)]
)
def test_the_interval_is_an_option(app, run, redis, options, interval_ms):
    class CrunchJob(app.Job):
        def perform(self):
            crunch(0.02)

    jid = CrunchJob.set(profile="x", profiler_options=options).perform_async()
    run(app)
    wait_until(lambda: redis.exists("profiles"))

    assert profile_of(redis, f"x-{jid}")["meta"]["interval"] == pytest.approx(interval_ms)


def test_without_pyinstrument_one_warning_and_jobs_run(app, run, redis, log, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyinstrument.stack_sampler", None)

    class EchoJob(app.Job):
        def perform(self):
            pass

    class AsyncEchoJob(app.Job):
        async def perform(self):
            pass

    for job_class in (EchoJob, AsyncEchoJob, EchoJob):
        job_class.set(profile="x").perform_async()
    runner = run(app)
    wait_until(lambda: processed(redis) == 3)
    runner.stop()

    assert not redis.exists("profiles")
    assert redis.get("stat:failed") is None
    assert log.getvalue().count("pip install 'sidekiq-lua[profile]'") == 1


def test_a_profile_that_redis_refuses_fails_no_job(app, run, redis, log):
    class EchoJob(app.Job):
        def perform(self):
            pass

    jid = EchoJob.set(profile="x").perform_async()
    redis.set(f"x-{jid}", "foreign")
    run(app)
    wait_until(lambda: f"the profile of {jid} could not be written" in log.getvalue())

    wait_until(lambda: processed(redis) == 1)
    assert redis.get("stat:failed") is None


# -- the setting ----------------------------------------------------------------------------


def test_a_profiler_of_one_s_own(make_app, run, redis):
    seen = []

    def mine(payload, fn):
        seen.append((payload["profile"], "begin"))
        answer = fn()
        seen.append((payload["profile"], "end"))
        return answer

    app = make_app(profiler=mine, concurrency=1)

    class EchoJob(app.Job):
        def perform(self):
            seen.append("sync")

    class AsyncEchoJob(app.Job):
        async def perform(self):
            await asyncio.sleep(0)
            seen.append("async")

    EchoJob.set(profile="a").perform_async()
    runner = run(app)
    wait_until(lambda: processed(redis) == 1)
    AsyncEchoJob.set(profile="b").perform_async()
    wait_until(lambda: processed(redis) == 2)
    runner.stop()

    assert seen[:3] == [("a", "begin"), "sync", ("a", "end")]
    # `fn()` of an async job answers what is awaited after that; `async def mine` would await it inside.
    assert seen[3:] == [("b", "begin"), ("b", "end"), "async"]
    assert not redis.exists("profiles")


def test_an_async_profiler_waits_for_the_job(make_app, run, redis):
    seen = []

    async def mine(payload, fn):
        await fn()
        seen.append("end")

    app = make_app(profiler=mine)

    class AsyncEchoJob(app.Job):
        async def perform(self):
            seen.append("async")

    AsyncEchoJob.set(profile="b").perform_async()
    run(app)
    wait_until(lambda: processed(redis) == 1)

    assert seen == ["async", "end"]


def echo_job(app, kind):
    if kind == "sync":

        class EchoJob(app.Job):
            def perform(self):
                pass
    else:

        class EchoJob(app.Job):
            async def perform(self):
                pass

    return EchoJob


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_profiler_that_forgets_the_job_does_not_lose_it(make_app, run, redis, log, kind):
    app = make_app(profiler=lambda payload, fn: None)

    echo_job(app, kind).set(profile="a").perform_async()
    run(app)
    wait_until(lambda: redis.zcard("retry") == 1)

    wait_until(lambda: "the setting `profiler` did not run the job" in log.getvalue())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_job_does_not_run_again_for_a_profiler_that_fails_after_it(make_app, run, redis, log, kind):
    def mine(payload, fn):
        fn()
        raise OSError("no space left")

    async def awaiting(payload, fn):
        await fn()
        raise OSError("no space left")

    app = make_app(profiler=mine if kind == "sync" else awaiting)

    echo_job(app, kind).set(profile="a").perform_async()
    run(app)
    wait_until(lambda: "the setting `profiler` failed after its job" in log.getvalue())

    wait_until(lambda: processed(redis) == 1)
    assert not redis.zcard("retry")
