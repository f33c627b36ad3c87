"""Ruby 8.1's Data API reads a Python worker while it runs: its process, work, metrics, marks and profiles."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import Any

import pytest
from interop.harness import Python, Ruby, RubyKind, order
from waiting import wait_until

from sidekiq_lua import Deploy, Sidekiq
from sidekiq_lua.version import SIDEKIQ_VERSION

pytestmark = pytest.mark.interop

EMBEDDED = """
import sys
from sidekiq_lua import Sidekiq
app = Sidekiq(heartbeat_interval=0.2, heartbeat_ttl=5, tag="web")
with app.configure_embed():
    sys.stdin.readline()
"""


@pytest.fixture
def kind(sidekiq_8_1: RubyKind) -> RubyKind:
    """Sidekiq 8.1: older ones know no capsules, marks or profiles in this form."""
    return sidekiq_8_1


def test_ruby_reads_a_running_worker(python: Python, ruby: Ruby, redis: Any, events: Any, url: str) -> None:
    began = time.time()
    worker = python.start("default", "low,2").ready()
    held, profiled, *_ = python.produce_all(
        [
            order("HoldJob", "é", 1),
            order("EchoJob", "slow", options={"profile": "prod"}),
            order("EchoJob", "quick", count=5),
            order("FailAlwaysJob", "x"),
        ]
    )
    app = Sidekiq(redis=url)
    try:
        assert Deploy(app).mark("v7 größer", at=began)
    finally:
        app.close()
    worker.wait_for(
        lambda: redis.get("stat:processed") == b"7" and events(event="begin"), "seven jobs to end"
    )
    worker.wait_for(lambda: worker.beat("busy") == "1", "a beat that shows the held job")

    def seen() -> dict[str, Any] | None:
        found = ruby.inspect("stats", "processes", "work", "metrics", "deploys", "profiles")
        return found if found["metrics"].get("EchoJob", {"totals": {}})["totals"].get("p") == 6 else None

    found = worker.wait_for(seen, "the metrics of seven runs")

    [process] = found["processes"]["list"]
    assert (process["identity"], process["pid"], process["tag"]) == (worker.identity, worker.pid, "interop")
    weights = {"default": 0, "low": 2}
    assert process["api_capsules"] == {"default": {"concurrency": 3, "mode": "weighted", "weights": weights}}
    assert (process["api_weights"], set(process["api_queues"])) == (weights, {"default", "low"})
    assert process["api_version"] == process["version"] == SIDEKIQ_VERSION
    assert (process["api_embedded?"], process["stopping"], process["busy"]) == (False, False, 1)
    assert 5_000 < process["rss"] == found["processes"]["total_rss"] < 2_000_000
    assert 0 < process["rtt_us"] < 1_000_000
    assert began - 1 < process["started_at"] < process["beat"] < time.time()

    assert (found["stats"]["workers_size"], found["work"]["size"]) == (1, 1)
    [work] = found["work"]["list"]
    assert (work["process"], work["jid"], work["queue"]) == (worker.identity, *held, "default")
    assert re.fullmatch(r"[0-9a-z]+(-[0-9a-z]+)?", work["tid"])
    assert work["args"] == ["é", 1]
    assert began - 1 < work["run_at"] < time.time()

    echo, failed = found["metrics"]["EchoJob"]["totals"], found["metrics"]["FailAlwaysJob"]["totals"]
    assert (echo["p"], failed["p"], failed["f"]) == (6, 1, 1)
    assert 0 <= echo["s"] < 60
    assert "HoldJob" not in found["metrics"]
    assert list(found["deploys"].values()) == ["v7 größer"]
    assert found["profiles"] == [{"key": f"prod-{profiled[0]}", "jid": profiled[0], "type": "EchoJob"}]

    redis.rpush("interop:go", 1)
    worker.wait_for(lambda: events(event="end"), "the held job to end")
    worker.stop()


def test_ruby_knows_an_embedded_one_and_leaves_it_alone(
    python: Python, ruby: Ruby, redis: Any, kind: RubyKind
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", EMBEDDED], env=python.environment(), stdin=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: redis.smembers("processes"), 20)
        [shown] = ruby.inspect("processes")["processes"]["list"]
        assert (shown["pid"], shown["tag"], shown["api_embedded?"]) == (process.pid, "web", True)
        assert shown["concurrency"] == 2
        for command in ("quiet", "stop"):
            with pytest.raises(AssertionError, match="embedded process"):
                ruby.control(command, shown["identity"])
        process.communicate("end\n", 20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert ruby.inspect("processes")["processes"]["list"] == []
