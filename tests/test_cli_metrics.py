"""`sidekiq-lua metrics`, `deploy` and `profiles`."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import gzip
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from commandline import CommandLine, cli, make_cli

from sidekiq_lua import Sidekiq
from sidekiq_lua.cli.main import main
from sidekiq_lua.profiling import Recording, packed
from sidekiq_lua.tally import Count


def shown(cli: CommandLine, *args: str | Path) -> str:
    done = cli.run(*args)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(cli: CommandLine, *args: str | Path) -> str:
    done = cli.run(*args)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    return done.stderr


@pytest.fixture
def app(url: str) -> Any:
    app = Sidekiq(redis=url)
    yield app
    app.close()


def ran(app: Sidekiq, *counts: Count) -> None:
    app.transport().run(app.store.metrics.flush("t", 1, app.clock.now(), counts))


# -- metrics ----------------------------------------------------------------------------------


def test_the_table(cli: CommandLine, app: Sidekiq) -> None:
    ran(app, Count("Echo", 1200, 200, 1500, {0: 1000}), Count("Billing::Charge", 2, 1, 2500, {12: 1}))

    assert shown(cli, "metrics") == (
        "CLASS             RUNS  FAILED   TOTAL  AVERAGE\n"
        "Billing::Charge      2       1  2.500s   2.500s\n"
        "Echo             1,200     200  1.500s   0.002s\n"
    )


def test_one_class_with_marks(cli: CommandLine, app: Sidekiq) -> None:
    ran(app, Count("Echo", 4, 0, 400_150, {0: 1, 5: 2, 25: 1}))
    shown(cli, "deploy", "v2")

    output = shown(cli, "metrics", "Echo", "--minutes", "5")

    assert "Echo      4       0  400.150s  100.037s\n" in output
    assert "  under 20ms: 1\n under 150ms: 2\n      longer: 1\n" in output
    assert re.search(r"\n\n20\d\d-\d\d-\d\dT\d\d:\d\d:00Z  v2\n$", output)
    assert "under" not in shown(cli, "metrics", "Echo", "--hours", "5")


def test_metrics_as_json(cli: CommandLine, app: Sidekiq) -> None:
    ran(app, Count("Echo", 4, 0, 150, {0: 1}))

    found = json.loads(shown(cli, "metrics", "--json"))

    assert found["granularity"] == "minutely"
    assert found["job_results"]["Echo"]["totals"] == {"p": 4, "ms": 150, "s": 0.15}


def test_metrics_that_are_refused(cli: CommandLine) -> None:
    assert "give a whole number from 1 to 480" in refused(cli, "metrics", "--minutes", "999")
    assert "give HOST:PORT" in refused(cli, "metrics", "--listen", "9394")
    assert "--listen takes neither" in refused(cli, "metrics", "Echo", "--listen", "127.0.0.1:0")


# -- deploy -----------------------------------------------------------------------------------


def test_marks_and_their_list(cli: CommandLine, redis: Any) -> None:
    assert shown(cli, "deploy", "v2.1 größer") == "Marked: v2.1 größer\n"
    assert shown(cli, "deploy", "v2.1 größer").startswith("Not marked: this minute has a mark, or this label")

    (stamp,) = json.loads(shown(cli, "deploy", "--list", "--json"))
    assert shown(cli, "deploy", "--list") == f"{stamp}  v2.1 größer\n"
    redis.flushall()
    assert json.loads(shown(cli, "deploy", "v3", "--json")) == {"label": "v3", "marked": True}


def test_git_names_the_mark(cli: CommandLine) -> None:
    assert "no git commit is found here: give the deploy a label" in refused(cli, "deploy")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "Bigger"]):
        subprocess.run([*git, *command], check=True, cwd=cli.directory)

    assert re.fullmatch(r"Marked: [0-9a-f]+ Bigger\n", shown(cli, "deploy"))


# -- profiles -------------------------------------------------------------------------------


def profiled(app: Sidekiq, token: str, jid: str) -> None:
    recording = Recording()
    recording.add(["perform\0jobs.py\x001"], 0.5)
    data = packed(recording, 10_000, name="Echo", pid=1, started_at=1.0, elapsed_s=0.5, interval_s=0.001)
    fields = {
        "token": token, "jid": jid, "type": "Echo", "started_at": 1_795_489_385, "elapsed": 0.5, "data": data,
        "size": len(data or b""),
    }  # fmt: skip
    app.transport().run(app.store.profiles.store(f"{token}-{jid}", fields, time.time()))


def test_profiles_are_listed(cli: CommandLine, app: Sidekiq) -> None:
    assert shown(cli, "profiles") == "No profiles are kept.\n"
    profiled(app, "slow", "17")

    lines = shown(cli, "profiles", "list").splitlines()
    assert lines[0].split() == ["STARTED", "ELAPSED", "SIZE", "CLASS", "NAME"]
    assert re.fullmatch(r"2026-11-24 03:03:05  0\.500s   \d+   Echo   slow-17", lines[1])
    (found,) = json.loads(shown(cli, "profiles", "list", "--json"))
    assert (found["name"], found["token"], found["elapsed"]) == ("slow-17", "slow", 0.5)


def test_a_profile_is_exported(cli: CommandLine, app: Sidekiq) -> None:
    profiled(app, "slow", "17")
    profiled(app, "other", "18")

    assert shown(cli, "profiles", "export", "slow", "-o", "out.gz") == "Wrote out.gz (Echo, 0.500s)\n"
    shown(cli, "profiles", "export", "17", "-o", "out.json", "--format", "speedscope")

    stored = json.loads(gzip.decompress((cli.directory / "out.gz").read_bytes()))
    assert stored["meta"]["preprocessedProfileVersion"] == 48
    made = json.loads((cli.directory / "out.json").read_text())
    assert made["profiles"][0]["weights"] == [500.0]


def test_profiles_that_cannot_be_exported(cli: CommandLine, app: Sidekiq, redis: Any) -> None:
    profiled(app, "slow", "17")
    profiled(app, "slow", "18")
    redis.hset("slow-17", "data", gzip.compress(b'{"threads": []}'))

    assert "2 profiles are called 'slow', name one of them: slow-" in refused(
        cli, "profiles", "export", "slow", "-o", "x"
    )
    assert "there is no profile 'fast'" in refused(cli, "profiles", "export", "fast", "-o", "x")
    assert "the profile slow-17 was not made by sidekiq-lua" in refused(
        cli, "profiles", "export", "17", "-o", "x", "--format", "speedscope"
    )


@pytest.mark.parametrize("name", ["metrics", "deploy", "profiles", "profiles list", "profiles export"])
def test_help_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([*name.split(), "--help"])

    assert f"Examples:\n    sidekiq-lua {name}" in capsys.readouterr().out
