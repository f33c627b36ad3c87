"""What `sidekiq-lua monitor` prints of a prepared database."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from commandline import JOBS, CommandLine, cli, make_cli

from sidekiq_lua import __version__
from sidekiq_lua.cli.text import ago, since, wrapped
from sidekiq_lua.version import SIDEKIQ_VERSION

RUBY = {
    "hostname": "vm",
    "started_at": 1795488972.5,
    "pid": 20085,
    "tag": "three",
    "capsules": {"default": {"concurrency": 3, "mode": "strict", "weights": {"default": 0}}},
    "queues": ["default"],
    "weights": [{"default": 0}],
    "labels": [],
    "identity": "vm:20085:1893b7a6b794",
    "version": "8.1.7",
    "embedded": False,
}
"""The process of the sample."""


def process(redis: Any, info: dict[str, Any], **fields: Any) -> None:
    redis.sadd("processes", info["identity"])
    redis.hset(info["identity"], mapping={"info": json.dumps(info), "busy": 0, "quiet": "false", **fields})


def queue(redis: Any, name: str, *payloads: dict[str, Any] | str) -> None:
    redis.sadd("queues", name)
    for payload in payloads:
        redis.lpush(f"queue:{name}", payload if isinstance(payload, str) else json.dumps(payload))


def shown(cli: CommandLine, *args: str) -> str:
    done = cli.run("monitor", *args)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_overview(cli: CommandLine, redis: Any) -> None:
    redis.mset({"stat:processed": 1234567, "stat:failed": 1018})
    process(redis, RUBY, busy=2)
    process(redis, {**RUBY, "identity": "other:1:a"}, busy=1)
    queue(redis, "default", "a", "b")
    queue(redis, "low", "c")
    for name, size in (("retry", 2), ("schedule", 4), ("dead", 3)):
        redis.zadd(name, {str(number): number for number in range(size)})
    assert shown(cli, "overview") == (
        "---- Overview ----\n"
        "  Processed: 1,234,567\n"
        "     Failed: 1,018\n"
        "       Busy: 3\n"
        "   Enqueued: 3\n"
        "    Retries: 2\n"
        "  Scheduled: 4\n"
        "       Dead: 3\n"
    )


def test_processes(cli: CommandLine, redis: Any) -> None:
    process(redis, RUBY, concurrency=3, busy=1)
    older = {"hostname": "vm", "started_at": 1795488972.5, "identity": "old:1:a", "concurrency": 10}
    process(redis, {**older, "queues": ["low", "high"], "labels": ["reliable", "x"], "tag": ""}, quiet="true")
    capsules = [{"critical": 2, "default": 1}, {"solo": 0}]
    seven = {name: value for name, value in RUBY.items() if name != "capsules"}
    process(redis, {**seven, "identity": "two:1:a", "weights": capsules, "version": "7.3.10"}, concurrency=4)
    tables = {"a": {"weights": {"critical": 2, "default": 1}}, "b": {"weights": {"solo": 0}}}
    process(redis, {**RUBY, "identity": "three:1:a", "capsules": tables}, concurrency=4)
    process(redis, {**RUBY, "identity": "ours:1:a", "lua_version": "0.0.1"}, concurrency=5)
    redis.sadd("processes", "gone:1:a")
    redis.sadd("processes", "foreign:1:a")
    redis.hset("foreign:1:a", "info", "no JSON")
    output = re.sub(r"\((just now|[^()]* ago)\)", "(AGO)", shown(cli, "processes"))
    started = "  Started: 2026-11-24 02:56:12 +0000 (AGO)\n"
    assert output == (
        "---- Processes (6) ----\n"
        "foreign:1:a\n  Started: unknown\n"
        "  Threads: unknown (0 busy)\n   Queues: none\n  Version: unknown\n\n"
        f"old:1:a [reliable] [x] [quiet]\n{started}"
        "  Threads: 10 (0 busy)\n   Queues: high; low\n  Version: unknown\n\n"
        f"ours:1:a [three]\n{started}"
        "  Threads: 5 (0 busy)\n   Queues: default\n  Version: sidekiq-lua 0.0.1\n\n"
        f"three:1:a [three]\n{started}  Threads: 4 (0 busy)\n   Queues: critical, default; solo\n\n"
        f"two:1:a [three]\n{started}"
        "  Threads: 4 (0 busy)\n   Queues: critical: 2, default: 1; solo\n  Version: 7.3.10\n\n"
        f"vm:20085:1893b7a6b794 [three]\n{started}  Threads: 3 (1 busy)\n   Queues: default\n"
    )


def test_a_process_that_says_nonsense(cli: CommandLine, redis: Any) -> None:
    """Whoever else writes to Redis, the others are shown."""
    nonsense: list[dict[str, Any]] = [
        {"capsules": {"a": 1, "b": {"weights": None}}},
        {"weights": [1], "started_at": float("nan")},
        {"queues": [1, "b"], "started_at": 1e300},
        {"weights": {"a": 2}, "started_at": "x"},
    ]
    for number, info in enumerate(nonsense):
        process(redis, {"identity": f"odd:{number}:a", "version": SIDEKIQ_VERSION, **info})
    process(redis, RUBY)
    parts = shown(cli, "processes").split("\n\n")
    assert [part.split("Queues: ")[1].strip() for part in parts] == [
        "none",
        "none",
        "1; b",
        "a: 2",
        "default",
    ]
    assert [part.count("Started: unknown") for part in parts] == [1, 1, 1, 1, 0]


def test_queues(cli: CommandLine, redis: Any) -> None:
    queue(redis, "critical")
    queue(redis, "floats", {"class": "A", "args": [], "enqueued_at": time.time() - 3600.0})
    queue(redis, "broken\x1b[31m", "no JSON")
    output = shown(cli, "queues")
    assert re.sub(r"36\d\d\.\d\d", "3600.00", output) == (
        "---- Queues (3) ----\n"
        "NAME              SIZE  LATENCY\n"
        "broken\\x1b[31m       1     0.00\n"
        "critical             0     0.00\n"
        "floats               1  3600.00\n"
    )


@pytest.mark.parametrize("args", [[], ["all"]])
def test_all(cli: CommandLine, redis: Any, args: list[str]) -> None:
    header, overview, processes, queues = shown(cli, *args).split("\n\n")
    assert re.fullmatch(
        rf"sidekiq-lua {re.escape(__version__)}\n\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC", header
    )
    assert overview.startswith("---- Overview ----\n  Processed: 0\n")
    assert processes == "---- Processes (0) ----"
    assert queues == "---- Queues (0) ----\nNAME    SIZE  LATENCY\n"


def test_version_needs_neither_server_nor_settings(cli: CommandLine) -> None:
    cli.write("sidekiq.yml", "queues: [")
    cli.env["REDIS_URL"] = "redis://127.0.0.1:1/0"
    assert shown(cli, "version").startswith(f"sidekiq-lua {__version__}\n")


def test_an_unknown_section(cli: CommandLine) -> None:
    done = cli.run("monitor", "que")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "sidekiq-lua monitor: there is no section 'que', "
        "try one of: all, version, overview, processes, queues (see sidekiq-lua monitor --help)\n"
    )


def test_it_writes_nothing(cli: CommandLine, redis: Any, dump: Any) -> None:
    process(redis, RUBY)
    redis.sadd("processes", "gone:1:a")
    queue(redis, "default", "a")
    before = dump(ttl=True)
    shown(cli)
    assert dump(ttl=True) == before


def test_it_finds_the_server_of_a_file_and_of_an_instance(cli: CommandLine, redis: Any) -> None:
    redis.set("stat:processed", 77)
    url = cli.env.pop("REDIS_URL")
    cli.write("elsewhere.toml", f"redis = '{url}'")
    cli.write("own.py", f"from sidekiq_lua import Sidekiq\napp = Sidekiq(redis='{url}')")
    for args in (["-C", "elsewhere.toml"], ["--app", "own:app"]):
        assert "Processed: 77\n" in shown(cli, "overview", *args)


def test_it_sees_a_worker_of_ours(cli: CommandLine) -> None:
    cli.write("jobs.py", JOBS)
    running = cli.start("worker", "-r", "jobs", "-g", "own", "-q", "a", "-q", "b")
    output = shown(cli, "processes")
    assert "---- Processes (1) ----" in output
    assert f":{running.process.pid}:" in output
    assert " [own]\n" in output
    assert "  Threads: 5 (0 busy)\n   Queues: a, b\n" in output
    assert "Version" not in output


# -- words ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (59.9, "just now"),
        (60, "a minute ago"),
        (120, "2 minutes ago"),
        (3599, "59 minutes ago"),
        (3600, "an hour ago"),
        (7200, "2 hours ago"),
        (360_000, "100 hours ago"),
    ],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    assert ago(seconds) == words


def test_when_and_how_long_ago() -> None:
    assert since(1795488972.5, 1795488972.5 + 180) == "2026-11-24 02:56:12 +0000 (3 minutes ago)"


def test_long_lists_are_wrapped() -> None:
    names = [f"queue_{number:02}" for number in range(12)]
    text = wrapped(names, 11)
    lines = text.split("\n")
    assert len(lines) == 2
    assert len(lines[0]) + 11 <= 80
    assert lines[1].startswith(" " * 11 + "queue_")
    assert "; ".join(names) == " ".join(line.strip() for line in lines)
    assert wrapped([], 11) == ""


# -- doctor -----------------------------------------------------------------------------


def test_doctor(cli: CommandLine, redis: Any) -> None:
    """The shared server keeps nothing on disk, which is a warning; jobs in danger are worse."""
    redis.sadd("queues", "mail")
    redis.lpush("queue:mail", '{"class":"A","args":[],"jid":"1"}')
    done = cli.run("doctor", "--quiet")
    assert done.returncode == 3
    assert "queues that nobody serves: queue mail holds 1 jobs, and no process runs\n" in done.stdout
    assert "-> start a worker with -q mail\n" in done.stdout

    redis.lpush("lua:running:a:1:abcdef:0.0:mail", "x")
    done = cli.run("doctor", "--json")
    assert done.returncode == 4
    levels = {finding["check"]: finding["level"] for finding in json.loads(done.stdout)}
    assert levels["running lists without an owner"] == "critical"
    assert levels["clock skew"] == "ok"

    done = cli.run("doctor", "--limit", "1")
    assert (done.returncode, done.stdout) == (2, "")
