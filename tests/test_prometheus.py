"""Figures for Prometheus, as its own parser reads them."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from commandline import CommandLine, cli, make_cli  # noqa: F401 -- fixtures
from prometheus_client.parser import text_string_to_metric_families
from waiting import wait_until

from sidekiq_lua import Sidekiq
from sidekiq_lua.contrib.prometheus import add_to_health, render, serve
from sidekiq_lua.errors import ConfigurationError

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def app(url: str) -> Iterator[Sidekiq]:
    app = Sidekiq(redis=url, log_level="fatal")
    yield app
    app.close()


def parsed(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def read(app: Sidekiq) -> Samples:
    kind, page = render(app)
    assert kind.startswith("text/plain; version=")
    return parsed(page.decode())


def test_redis_and_this_process(app: Sidekiq, redis: Any) -> None:
    redis.mset({"stat:processed": 12, "stat:failed": 3})
    redis.zadd("retry", {"a": 1, "b": 2})
    redis.zadd("dead", {"a": 1})
    redis.sadd("queues", "low")
    redis.sadd("paused", "low")
    redis.lpush("queue:low", '{"class":"A","args":[],"enqueued_at":1000}')
    redis.sadd("processes", "host:1:a")
    redis.hset("host:1:a", mapping={"info": "{}", "busy": 2, "concurrency": 5})
    app.tally.succeeded({"class": "Echo"}, 0.025)
    app.shard("redis://elsewhere").tally.succeeded({"class": "Echo"}, 400)
    app.tally.failed({"class": "Echo"})

    found = read(app)

    low, echo = (("queue", "low"),), (("class", "Echo"),)
    expected = {
        ("sidekiq_up", ()): 1, ("sidekiq_processed_total", ()): 12, ("sidekiq_failed_total", ()): 3,
        ("sidekiq_retries", ()): 2, ("sidekiq_dead", ()): 1, ("sidekiq_scheduled", ()): 0,
        ("sidekiq_enqueued", ()): 1, ("sidekiq_processes", ()): 1, ("sidekiq_busy", ()): 2,
        ("sidekiq_concurrency", ()): 5, ("sidekiq_queue_size", low): 1, ("sidekiq_queue_paused", low): 1,
        ("sidekiq_job_runs_total", (*echo, ("status", "success"))): 2,
        ("sidekiq_job_runs_total", (*echo, ("status", "failure"))): 1,
        ("sidekiq_job_seconds_sum", echo): 400.025, ("sidekiq_job_seconds_count", echo): 2,
        ("sidekiq_job_seconds_bucket", (*echo, ("le", "0.02"))): 0,
        ("sidekiq_job_seconds_bucket", (*echo, ("le", "0.03"))): 1,
        ("sidekiq_job_seconds_bucket", (*echo, ("le", "335.0"))): 1,
        ("sidekiq_job_seconds_bucket", (*echo, ("le", "+Inf"))): 2,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert found["sidekiq_queue_latency_seconds", low] > 1e9


def test_a_worker_counts_its_runs(app: Sidekiq) -> None:
    class EchoJob(app.Job):  # type: ignore[misc, name-defined]
        def perform(self) -> None:
            pass

    EchoJob.perform_bulk([[]] * 3)
    runner = app.run()
    key = ("sidekiq_job_runs_total", (("class", "EchoJob"), ("status", "success")))
    try:
        wait_until(lambda: read(app).get(key) == 3)
        assert read(app)["sidekiq_processes", ()] == 1
    finally:
        runner.stop()


def test_redis_is_down() -> None:
    app = Sidekiq(redis="redis://127.0.0.1:1/0")
    app.tally.failed({"class": "Echo"})

    found = read(app)

    assert found["sidekiq_up", ()] == 0
    assert found["sidekiq_job_runs_total", (("class", "Echo"), ("status", "failure"))] == 1
    assert ("sidekiq_dead", ()) not in found


def test_the_server(app: Sidekiq) -> None:
    with serve(app, "127.0.0.1:0") as url, urllib.request.urlopen(url, timeout=10) as page:
        assert parsed(page.read().decode())["sidekiq_up", ()] == 1


@pytest.mark.parametrize("address", ["9394", ":9394", "localhost", "localhost:x", "localhost:70000"])
def test_addresses_that_are_none(app: Sidekiq, address: str) -> None:
    with pytest.raises(ConfigurationError, match="give HOST:PORT"), serve(app, address):
        pass


def test_an_address_that_is_taken(app: Sidekiq) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(ConfigurationError, match=f"nothing can be served at {address}"),
            serve(app, address),
        ):
            pass


def test_the_command(cli: CommandLine) -> None:  # noqa: F811
    running = cli.start("metrics", "--listen", "127.0.0.1:0", ready="Serving")
    url = running.output.split("Serving ")[1].split()[0]
    with urllib.request.urlopen(url, timeout=10) as page:
        assert parsed(page.read().decode())["sidekiq_up", ()] == 1
    running.signal("TERM")
    assert running.end() == 0


def test_without_the_extra_one_sentence_says_so() -> None:
    code = "import sys; sys.modules['prometheus_client'] = None\nimport sidekiq_lua.contrib.prometheus"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ConfigurationError: figures for Prometheus need prometheus-client: pip install" in done.stderr


def test_beside_the_probes_of_a_worker(app: Sidekiq) -> None:
    class EchoJob(app.Job):  # type: ignore[name-defined,misc]
        def perform(self) -> None: ...

    app.config.health = "127.0.0.1:0"
    add_to_health(app)
    runner = app.run()
    try:
        EchoJob.perform_async()
        wait_until(lambda: app.transport().run(app.store.counters.totals()).processed)
        with urllib.request.urlopen(f"{runner.health_url}/metrics", timeout=10) as reply:
            found = parsed(reply.read().decode())
        name = EchoJob.sidekiq_name()
        assert found["sidekiq_job_runs_total", (("class", name), ("status", "success"))] == 1
        assert found["sidekiq_busy", ()] == 0
    finally:
        runner.stop()
