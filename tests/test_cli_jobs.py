"""`sidekiq-lua queues`, `jobs`, `retry`, `kill`, `delete`, `pause` and `unpause`."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from commandline import CommandLine, cli, make_cli

from sidekiq_lua import Sidekiq
from sidekiq_lua.api.bulk import Progress
from sidekiq_lua.cli import acting
from sidekiq_lua.cli.ask import ProgressLine
from sidekiq_lua.cli.main import main

AT = 1_795_489_385
"""2026-11-24 03:03:05 UTC."""


def job(jid: str, name: str = "Charge", *args: Any, queue: str = "mail", **more: Any) -> str:
    fields = {"class": name, "args": args, "jid": jid, "queue": queue, "retry": True, "created_at": AT * 1000}
    return json.dumps({**fields, **more}, separators=(",", ":"))


def waits(redis: Any, queue: str, *jobs: str) -> None:
    redis.sadd("queues", queue)
    if jobs:
        redis.lpush(f"queue:{queue}", *jobs)


def failed(jid: str, *args: Any, **more: Any) -> str:
    error = {
        "error_class": "CardError",
        "error_message": "declined",
        "failed_at": AT * 1000,
        "retry_count": 3,
    }
    return job(jid, "Charge", *args, **{**error, **more})


class Here:
    """The command in this process, on an instance of its own: a process each would take ten times as long."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *args: str) -> tuple[int, str, str]:
        """The exit code and what was printed on standard output and on standard error."""
        code = main([*args, "--app", "own_app:app"])
        return code, *self._capsys.readouterr()


@pytest.fixture
def here(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Here]:
    app = Sidekiq(redis=url)
    module: Any = ModuleType("own_app")
    module.app = app
    monkeypatch.setitem(sys.modules, "own_app", module)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))  # which is no terminal: nobody may read it
    monkeypatch.chdir(tmp_path)
    yield Here(capsys)
    app.close()


def shown(here: Here, *args: str) -> str:
    code, printed, errors = here.run(*args)
    assert (code, errors) == (0, "")
    return printed


def refused(here: Here, *args: str, code: int = 1) -> str:
    found, printed, errors = here.run(*args)
    assert (found, printed, errors.count("\n")) == (code, "", 1), errors
    return errors


def jids(redis: Any, name: str) -> list[str]:
    raws = redis.lrange(name, 0, -1) if name.startswith("queue:") else redis.zrange(name, 0, -1)
    return [json.loads(raw)["jid"] for raw in raws]


# -- queues -----------------------------------------------------------------------------------


def test_queues(here: Here, redis: Any) -> None:
    assert shown(here, "queues") == "No queues.\n"
    waits(redis, "mail", job("1", enqueued_at=int((time.time() - 7205) * 1000)), job("2"))
    waits(redis, "low")
    redis.sadd("paused", "low")

    assert "give --json after list" in refused(here, "queues", "--json", "list", code=2)
    assert json.loads(shown(here, "queues", "--json"))[1]["size"] == 2
    found = json.loads(shown(here, "queues", "list", "--json"))
    assert [(queue["name"], queue["size"], queue["paused"]) for queue in found] == [
        ("low", 0, True), ("mail", 2, False),
    ]  # fmt: skip
    assert 7205 <= found[1]["latency"] < 7300
    head, low, mail = shown(here, "queues").splitlines()
    assert (head.split(), low.split()) == (["NAME", "SIZE", "LATENCY"], ["low", "0", "0.00", "paused"])
    assert mail.startswith("mail     2  7,2")


def test_queues_are_cleared(here: Here, cli: CommandLine, redis: Any, dump: Any) -> None:
    for name in ("mail", "low", "kept"):
        waits(redis, name, job("1"), job("2"))
    before = dump()

    assert "there is no terminal: give --yes" in refused(here, "queues", "clear", "mail", code=2)
    assert "there is no queue 'mial', but there are: mail" in refused(
        here, "queues", "clear", "mail", "mial", "-y"
    )
    code, screen = cli.on_terminal("queues", "clear", "mail", after="[y/N]: ", answer="n\n")
    assert (code, "Delete all jobs of this queue: 2 in mail? [y/N]: n" in screen) == (1, True)
    assert screen.endswith("sidekiq-lua queues clear: nothing was done\n")
    assert dump() == before

    assert cli.on_terminal("queues", "clear", "mail", after="[y/N]: ", answer="y\n")[0] == 0
    assert json.loads(shown(here, "queues", "clear", "low", "-y", "--json")) == [
        {"queue": "low", "deleted": 2}
    ]
    assert dump() == {"queues": ["kept"], "queue:kept": before["queue:kept"]}


def test_pausing(here: Here, redis: Any) -> None:
    waits(redis, "mail", job("1"))
    waits(redis, "low")
    assert shown(here, "pause") == "Nothing is paused.\n"
    assert shown(here, "queues", "pause", "mail") == "queue mail is paused.\n"
    assert shown(here, "pause", "mail", "--class", "Charge") == (
        "queue mail was paused already.\nclass Charge is paused.\n"
    )
    assert shown(here, "pause") == "queue mail: 1 job waiting\nclass Charge: 0 jobs put aside\n"
    assert json.loads(shown(here, "pause", "--json"))["queues"] == [{"name": "mail", "size": 1}]
    assert "there is no queue 'mial'" in refused(here, "pause", "low", "mial")
    assert redis.smembers("paused") == {b"mail"}
    redis.sadd("paused", "new")  # no job was ever in it
    assert "queue new: 0 jobs waiting\n" in shown(here, "pause")
    assert shown(here, "unpause", "new") == "queue new goes on.\n"

    redis.rpush("lua:held:Charge", b"mail\n" + job("9").encode())
    assert "unpause" in refused(here, "unpause", code=2)
    found = json.loads(shown(here, "unpause", "mail", "--class", "Charge", "--json"))
    assert found[0] == {"queue": "mail", "paused": False, "changed": True}
    assert (found[1]["class"], found[1]["changed"], found[1]["returned"]) == ("Charge", True, 1)
    assert shown(here, "queues", "unpause", "mail") == "queue mail was not paused.\n"
    assert not redis.exists("paused", "lua:paused_classes")
    assert jids(redis, "queue:mail") == ["1", "9"]


# -- jobs -------------------------------------------------------------------------------------


def test_jobs_of_a_place(here: Here, redis: Any) -> None:
    assert shown(here, "jobs", "retry") == "No jobs.\n"
    waits(redis, "mail", job("a1", "Mail", "x" * 80), job("a2", "Mail\x1b", 2, enqueued_at=AT * 1000))
    redis.zadd("retry", {failed("r1", 5): AT, failed("r2", 6, tags=["vip"]): AT + 60, "no job": 1})

    assert shown(here, "jobs", "queue:mail") == (
        "AT                   JID  CLASS     ARGS\n"
        "2026-11-24 03:03:05  a2   Mail\\x1b  [2]\n"
        f'2026-11-24 03:03:05  a1   Mail      ["{"x" * 57}…\n'
    )
    assert shown(here, "jobs", "retry") == (
        "AT                   JID   CLASS   ARGS        ERROR\n"
        "2026-11-24 03:04:05  r2    Charge  [6]         CardError: declined\n"
        "2026-11-24 03:03:05  r1    Charge  [5]         CardError: declined\n"
        '1970-01-01 00:00:01  none  none    ["no job"]\n'
    )
    assert [line.split()[2:4] for line in shown(here, "jobs").splitlines()] == [
        ["PLACE", "CLASS"], ["a2", "queue:mail"], ["a1", "queue:mail"],
        ["r2", "retry"], ["r1", "retry"], ["none", "retry"],
    ]  # fmt: skip
    assert refused(here, "jobs", "queue:mial").endswith("there is no queue 'mial', but there are: mail\n")
    assert "'mail' is not one of queue:NAME, scheduled, retry" in refused(here, "jobs", "mail", code=2)


def test_jobs_are_chosen(here: Here, redis: Any) -> None:
    redis.zadd(
        "dead", {failed("d1", 5): AT, failed("d2", 6, tags=["vip"]): AT + 60, job("d3", "Mail"): AT + 90}
    )

    def found(*args: str) -> list[str]:
        return [json.loads(line)["jid"] for line in shown(here, "jobs", "dead", "--json", *args).splitlines()]

    assert found() == ["d3", "d2", "d1"]
    assert found("--class", "Charge") == ["d2", "d1"]
    assert found("--class", "Charge", "--tag", "vip") == ["d2"]
    assert found("--text", "Card*ned") == ["d2", "d1"]
    assert "tag must be a text, not ''" in refused(here, "jobs", "dead", "--tag", "")
    code, printed, errors = here.run("jobs", "dead", "--json", "--limit", "2")
    assert (code, printed.count("\n")) == (0, 2)
    assert errors == "There are more: --limit 0 shows all, and this showed 2.\n"
    assert found("--limit", "3") == found("--limit", "0")


def test_one_job_whole(here: Here, redis: Any) -> None:
    waits(redis, "mail", job("a1", "Mail"))
    redis.zadd("retry", {failed("r1", 5, tags=["vip", "eu"]): AT})
    redis.sadd("processes", "vm:1:a")
    redis.hset("vm:1:a:work", "t1", json.dumps({"queue": "mail", "payload": job("w1"), "run_at": AT}))

    assert shown(here, "jobs", "--jid", "r1") == (
        "        jid: r1\n      place: retry\n        due: 2026-11-24 03:03:05\n      class: Charge\n"
        "       args: [5]\n      queue: mail\n       tags: vip, eu\n    created: 2026-11-24 03:03:05\n"
        "      error: CardError: declined\n     failed: 2026-11-24 03:03:05\n"
        "      retry: true\nretry_count: 3\n"
    )
    assert json.loads(shown(here, "jobs", "retry", "--jid", "r1", "--json")) == {
        "place": "retry", "at": AT, "jid": "r1", "job": json.loads(failed("r1", 5, tags=["vip", "eu"])),
    }  # fmt: skip
    assert "place: running of vm:1:a\n" in shown(here, "jobs", "--jid", "w1")
    assert "there is no job 'a1' in retry: it is in queue:mail" in refused(
        here, "jobs", "retry", "--jid", "a1"
    )
    assert "there is no job 'zz' in any place" in refused(here, "jobs", "--jid", "zz")


# -- retry, kill, delete ----------------------------------------------------------------------


def test_retry(here: Here, redis: Any) -> None:
    redis.zadd("retry", {failed("r1"): AT, failed("r2"): AT, failed("r3", tags=["vip"]): AT})
    redis.zadd("dead", {failed("d1"): AT, failed("d2"): AT})
    redis.zadd("schedule", {job("s1", retry_count=3): AT * 2})

    assert shown(here, "retry", "d1") == "Retried d1 of dead.\n"
    assert json.loads(redis.lindex("queue:mail", 0))["retry_count"] == 2
    assert "no job 'zz' in retry or dead" in refused(here, "retry", "r1", "zz", "--yes")
    assert "in retry or dead: it is in scheduled" in refused(here, "retry", "s1")
    assert "give --yes" in refused(here, "retry", "r1", "d2", code=2)
    assert "give --yes" in refused(here, "retry", "--all", code=2)
    assert jids(redis, "queue:mail") == ["d1"]

    assert json.loads(shown(here, "retry", "r1", "d2", "--yes", "--json")) == [
        {"jid": "r1", "place": "retry", "retried": True}, {"jid": "d2", "place": "dead", "retried": True},
    ]  # fmt: skip
    assert shown(here, "retry", "--tag", "vip", "--yes") == "Retried 1 job of retry.\n"
    redis.zadd("retry", {"no job": 1})
    code, printed, errors = here.run("retry", "--all", "--yes", "--json")
    assert (code, json.loads(printed)) == (
        1, {"place": "retry", "retried": 1, "left": 1, "seen": 2, "total": 2},
    )  # fmt: skip
    assert errors.endswith("1 job could not be retried and stayed in place.\n")
    assert shown(here, "retry", "s1", "--from", "scheduled") == "Retried s1 of scheduled.\n"
    assert json.loads(redis.lindex("queue:mail", 0))["retry_count"] == 3
    assert jids(redis, "queue:mail") == ["s1", "r2", "r3", "d2", "r1", "d1"]


def test_kill(here: Here, cli: CommandLine, redis: Any) -> None:
    redis.zadd("retry", {failed("r1"): AT, failed("r2"): AT, failed("r3", tags=["vip"]): AT})
    redis.zadd("schedule", {job("s1"): AT * 2})

    assert "give --yes" in refused(here, "kill", "r1", code=2)
    code, screen = cli.on_terminal("kill", "r1", "--json", after="[y/N]: ", answer="y\n")
    assert (code, "Kill the job r1? [y/N]: y" in screen) == (0, True)
    assert cli.on_terminal("kill", "r2", after="[y/N]: ", answer="\x04")[0] == 130
    code, screen = cli.on_terminal("kill", "--tag", "vip", after="[y/N]: ", answer="y\n")
    assert "Kill the jobs of retry with tag vip? [y/N]: y\n" in screen
    assert screen.endswith("2 of 2 jobs looked at, 1 done\x1b[K\nKilled 1 job of retry.\n")
    assert shown(here, "kill", "--from", "scheduled", "--all", "--yes") == "Killed 1 job of scheduled.\n"
    assert (sorted(jids(redis, "dead")), jids(redis, "retry")) == (["r1", "r3", "s1"], ["r2"])
    assert "'dead' is not one of retry and scheduled" in refused(
        here, "kill", "--from", "dead", "--all", code=2
    )


def test_delete(here: Here, redis: Any) -> None:
    waits(redis, "mail", job("a1"), job("a2", "Mail"), job("a3", "Mail", tags=["vip"]))
    redis.zadd("dead", {failed("d1"): AT, failed("d2"): AT, failed("d3"): AT})
    redis.sadd("lua:paused_classes", "Charge")
    redis.rpush("lua:held:Charge", *(b"mail\n" + job(jid).encode() for jid in ("h1", "h2")))

    for args in (["a1"], ["--from", "dead", "--all"]):
        assert "give --yes" in refused(here, "delete", *args, code=2)
    assert "there is no job 'zz' in any place" in refused(here, "delete", "a1", "zz", "--yes")
    assert len(jids(redis, "queue:mail") + jids(redis, "dead")) == 6
    assert shown(here, "delete", "a1", "d1", "h1", "--yes") == (
        "Deleted a1 of queue:mail.\nDeleted d1 of dead.\nDeleted h1 of held:Charge.\n"
    )
    assert json.loads(shown(here, "delete", "--from", "queue:mail", "--tag", "vip", "--yes", "--json")) == {
        "place": "queue:mail", "deleted": 1, "left": 0, "seen": 1, "total": 2,
    }  # fmt: skip
    assert jids(redis, "queue:mail") == ["a2"]
    for place in ("queue:mail", "held:Charge"):
        assert shown(here, "delete", "--from", place, "--all", "-y") == f"Deleted 1 job of {place}.\n"
    assert shown(here, "delete", "--from", "dead", "--all", "-y") == "Deleted 2 jobs of dead.\n"
    assert redis.keys() == [b"lua:paused_classes"]


def test_middleware_that_fails_leaves_the_job(here: Here, redis: Any) -> None:
    class Refusing:
        def call(self, job_class: Any, payload: Any, queue: str, redis: Any, next: Any) -> Any:
            if payload["jid"] == "r1":
                raise RuntimeError("not today")
            return next()

    sys.modules["own_app"].app.config.client_middleware.use(Refusing)
    redis.zadd("retry", {failed("r1"): AT, failed("r2"): AT})

    code, printed, errors = here.run("retry", "r1", "r2", "--yes")

    assert (code, printed) == (1, "Retried r2 of retry.\n")
    assert errors.startswith("job r1: not retried: RuntimeError: not today (")
    assert (jids(redis, "retry"), jids(redis, "queue:mail")) == (["r1"], ["r2"])


def test_a_job_that_was_taken_meanwhile(here: Here, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    redis.zadd("retry", {failed("r1"): AT, failed("r2"): AT})

    def asked(yes: bool, question: str) -> None:
        redis.zrem("retry", failed("r1"))

    monkeypatch.setattr(acting, "be_sure", asked)
    code, printed, errors = here.run("kill", "r1", "r2", "--yes", "--json")
    assert (code, errors) == (1, "job r1: not killed: it was taken, moved or rescheduled meanwhile\n")
    assert [found["killed"] for found in json.loads(printed)] == [False, True]
    assert jids(redis, "dead") == ["r2"]


def test_progress_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine() as line:
        for seen in range(0, 25_001, 1000):
            line(Progress(25_000, seen, seen // 2))
    assert capsys.readouterr().err == (
        "10,000 of 25,000 jobs looked at, 5,000 done\n20,000 of 25,000 jobs looked at, 10,000 done\n"
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["retry"], "name jobs, or choose them with --all, --class, --tag or --text (see"),
        (["kill", "x", "--all", "-y"], "choose them with --all, --class, --tag or --text: not both"),
        (["delete", "--all", "-y"], "--from is needed"),
        (["delete", "--from", "running", "--all", "-y"], "'running' is not one of queue:NAME, scheduled"),
        (["jobs", "--jid", "x", "--tag", "y"], "--jid names one job"),
        (["quiet"], "name processes, or take --all"),
        (["stop", "x", "--all", "-y"], "name processes, or take --all: not both"),
        (["queues", "clear", "-y"], "QUEUE..."),
    ],
)  # fmt: skip
def test_misuse(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    assert said in capsys.readouterr().err


NAMES = "monitor|jobs|retry|kill|delete|pause|unpause|quiet|stop|queues"
NAMES += "|queues list|queues clear|queues pause|queues unpause"


@pytest.mark.parametrize("name", NAMES.split("|"))
def test_help_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    assert f"Examples:\n    sidekiq-lua {name}" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["queue:mail", "held:Charge"])
def test_many_are_deleted_while_pages_are_read(here: Here, redis: Any, place: str) -> None:
    """What is deleted makes those behind it move up."""
    made = [job(str(number), ("Charge", "Other")[number % 3 == 0]) for number in range(2500)]
    if place == "queue:mail":
        waits(redis, "mail", *made)
    else:
        redis.sadd("lua:paused_classes", "Charge")
        redis.rpush("lua:held:Charge", *(f"mail\n{text}" for text in made))

    code, printed, _ = here.run("delete", "--from", place, "--class", "Charge", "--yes")

    assert (code, printed) == (0, f"Deleted 1,666 jobs of {place}.\n")
    assert redis.llen("queue:mail" if place == "queue:mail" else "lua:held:Charge") == 834
