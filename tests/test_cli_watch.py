"""`sidekiq-lua monitor --json` and `--watch`, and `quiet` and `stop` with a real worker."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from commandline import JOBS, CommandLine, cli, heartbeat, make_cli, notes, push
from servers import Server
from waiting import wait_until

from sidekiq_lua.cli.main import main
from sidekiq_lua.cli.watching import _drawn
from sidekiq_lua.version import SIDEKIQ_VERSION, __version__

QUICK = "heartbeat_interval: 0.1\nheartbeat_ttl: 5\n"


def worker(cli: CommandLine, redis: Any) -> tuple[Any, str]:
    """A real worker that beats ten times a second, and its identity."""
    cli.write("jobs.py", JOBS)
    cli.write("quick.yml", QUICK)
    running = cli.start("worker", "-r", "jobs", "-C", "quick.yml")
    (identity,) = wait_until(lambda: redis.smembers("processes"), what="its heartbeat")
    return running, identity.decode()


def test_the_document(cli: CommandLine, redis: Any) -> None:
    running, identity = worker(cli, redis)
    push(redis, "Note", "x", queue="elsewhere")

    done = cli.run("monitor", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert list(found) == ["format", "at", "sidekiq_lua", "sidekiq", "overview", "processes", "queues"]
    assert (found["format"], found["sidekiq_lua"], found["sidekiq"]) == (1, __version__, SIDEKIQ_VERSION)
    assert found["overview"] == {
        "processed": 0, "failed": 0, "busy": 0, "enqueued": 1, "retries": 0, "scheduled": 0, "dead": 0,
    }  # fmt: skip
    (process,) = found["processes"]
    assert (process["identity"], process["pid"], process["queues"]) == (
        identity, running.process.pid, ["default"],
    )  # fmt: skip
    assert (process["busy"], process["concurrency"], process["quiet"]) == (0, 5, False)
    assert process["beat"] >= process["started_at"] > 1e9
    assert process["rss_kb"] > 1000
    assert [(queue["name"], queue["size"], queue["paused"]) for queue in found["queues"]] == [
        ("elsewhere", 1, False)
    ]
    one = json.loads(cli.run("monitor", "queues", "--json").stdout)
    assert list(one) == ["format", "at", "sidekiq_lua", "sidekiq", "queues"]


def test_quiet_and_stop(cli: CommandLine, redis: Any) -> None:
    running, identity = worker(cli, redis)
    push(redis, "Gate", 20)
    wait_until(lambda: notes(redis) == ["inside"], what="a job that runs")

    assert cli.run("quiet", identity).returncode == 2
    unknown = cli.run("stop", "vm:1:a", "--yes")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert f"there is no process 'vm:1:a', but there are: {identity}\n" in unknown.stderr
    code, screen = cli.on_terminal("stop", "--all", after="[y/N]: ", answer="n\n")
    assert (code, f"Tell {identity} to end? [y/N]: n" in screen) == (1, True)
    assert heartbeat(redis)["quiet"] == "false"
    assert not redis.exists(f"{identity}-signals")

    done = cli.run("quiet", identity, "--yes", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [{"identity": identity, "told": True}])
    wait_until(lambda: heartbeat(redis)["quiet"] == "true", what="quiet")
    push(redis, "Note", "never")
    redis.rpush("gate", "go")
    wait_until(lambda: notes(redis) == ["inside", "through"], what="the end of the job that ran")

    done = cli.run("stop", "--all", "--yes")
    assert (done.returncode, done.stdout) == (0, f"Told {identity} to end.\n")
    assert running.end() == 0
    assert (redis.llen("queue:default"), notes(redis)) == (1, ["inside", "through"])
    assert cli.run("stop", "--all", "--yes").stdout == "No process runs.\n"


def test_an_embedded_process_is_not_told(cli: CommandLine, redis: Any) -> None:
    for identity, embedded in (("vm:1:a", True), ("vm:2:b", False)):
        redis.sadd("processes", identity)
        redis.hset(
            identity, mapping={"info": json.dumps({"embedded": embedded}), "beat": 1, "quiet": "false"}
        )

    done = cli.run("stop", "--all", "--yes")

    assert (done.returncode, done.stdout) == (1, "Told vm:2:b to end.\n")
    assert done.stderr.startswith("sidekiq-lua stop: vm:1:a is embedded in another program")
    assert (redis.lrange("vm:2:b-signals", 0, -1), redis.exists("vm:1:a-signals")) == ([b"TERM"], 0)


def test_watching_without_a_terminal_survives_an_outage(
    make_cli: Callable[[str], CommandLine], make_server: Callable[..., Server]
) -> None:
    server = make_server()
    cli = make_cli(server.url)
    running = cli.start("monitor", "overview", "--watch", "0.1", "--json", ready='"overview"')
    server.stop()
    running.wait_for('"error"')
    server.restart()
    before = running.output.count('"overview"')
    wait_until(lambda: running.output.count('"overview"') > before + 1, what="two more documents")
    running.signal("INT")

    assert running.end() == 0
    lines = [json.loads(line) for line in running.output.splitlines()]
    (error, *_) = [line["error"] for line in lines if "error" in line]
    assert str(server.port) in error
    assert {"format", "overview"} <= set(lines[-1])


def test_watching_as_text_without_a_terminal(cli: CommandLine, redis: Any) -> None:
    running = cli.start("monitor", "queues", "--watch=0.1", ready="LATENCY\n\n---- Queues (0) ----\n")
    running.signal("TERM")
    assert running.end() == 0
    assert "\x1b" not in running.output
    assert "Traceback" not in running.output


def test_watching_on_a_terminal(cli: CommandLine, redis: Any) -> None:
    code, screen = cli.on_terminal("monitor", "--watch", "overview", after="Dead: 0", answer="\x03")
    assert code == 0, screen
    assert screen.startswith("\x1b[2J\x1b[H---- Overview ----\x1b[K\n  Processed: 0\x1b[K\n")
    assert "Traceback" not in screen


def test_no_more_is_drawn_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "6")
    monkeypatch.setenv("LINES", "5")
    assert _drawn("1\n2\n3\nabcdefgh", first=False) == (
        "\x1b[H1\x1b[K\n2\x1b[K\n3\x1b[K\nabcdef\x1b[K\n\x1b[J"
    )
    assert "3\x1b[K\n… and \x1b[K\n" in _drawn("1\n2\n3\n4\n5", first=False)


@pytest.mark.parametrize("given", ["0", "soon", "nan"])
def test_watch_takes_seconds(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", f"--watch={given}"]) == 2
    assert f"--watch takes seconds from 0.1 to 86400, not '{given}'" in capsys.readouterr().err
