"""A worker with two capsules as a process: what it says, and what becomes of its jobs when it is killed."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from commandline import JOBS, CommandLine, cli, make_cli, notes, push
from servers import Server
from waiting import wait_until

FILE = """
concurrency: 2
heartbeat_interval: 0.3
heartbeat_ttl: 2
recovery_interval: 0.1
capsules:
  serial:
    concurrency: 1
    queues: ["one,2", two]
"""


def test_the_jobs_of_both_come_back_when_the_worker_is_killed(cli: CommandLine, redis: Any) -> None:
    cli.write("jobs.py", JOBS)
    cli.write("sidekiq.yml", FILE)
    first = cli.start("worker", "-r", "jobs")
    assert re.search(r"concurrency: 2, queues: default \(strict\)", first.output)
    assert "Capsule serial; concurrency: 1, queues: one,2 two (weighted)" in first.output
    for queue in ("default", "default", "one", "two"):
        push(redis, "Gate", 60, queue=queue)
    wait_until(lambda: notes(redis) == ["inside"] * 3)
    first.kill()
    second = cli.start("worker", "-r", "jobs")
    wait_until(lambda: notes(redis) == ["inside"] * 6)
    redis.rpush("gate", *range(4))
    wait_until(lambda: notes(redis).count("through") == 4)
    second.signal("TERM")
    assert second.end() == 0
    assert not list(redis.scan_iter("lua:running:*"))
    assert sum(redis.llen(f"queue:{name}") for name in ("default", "one", "two")) == 0


def test_a_killed_worker_s_jobs_come_back_on_each_server(
    cli: CommandLine, redis: Any, make_server: Callable[..., Server]
) -> None:
    other = make_server()
    cli.write("jobs.py", JOBS)
    cli.write("sidekiq.yml", f"{FILE}    pool: eu\npools:\n  eu: ${{EU_URL}}\n")
    cli.env["EU_URL"] = other.url
    first = cli.start("worker", "-r", "jobs")
    assert f"queues: one,2 two (weighted), Redis: {other.url}" in first.output
    with other.client() as away:
        push(redis, "Gate", 60)
        push(away, "Gate", 60, queue="one")
        wait_until(lambda: notes(redis) == ["inside"] * 2)
        push(away, "Note", "second", queue="two")  # there is no room for it
        assert redis.smembers("processes") == away.smembers("processes")
        first.kill()
        second = cli.start("worker", "-r", "jobs")
        wait_until(lambda: notes(redis).count("inside") == 4)
        redis.rpush("gate", 1, 2)
        wait_until(lambda: sorted(notes(redis)) == ["inside"] * 4 + ["second", "through", "through"])
        second.signal("TERM")
        assert second.end() == 0
        for client in (redis, away):
            assert not list(client.scan_iter("lua:running:*"))
            assert not list(client.scan_iter("queue:*"))
            assert not client.smembers("processes")


def test_a_capsule_without_queues_is_told_at_once(cli: CommandLine) -> None:
    cli.write("jobs.py", f"{JOBS}\n    sidekiq.configure_server(lambda config: config.capsule('idle'))")
    ended = cli.run("worker", "-r", "jobs", "--processes", "2")
    assert ended.returncode == 1
    assert "capsule 'idle' has no queues" in ended.stderr
    assert "Traceback" not in ended.stderr
