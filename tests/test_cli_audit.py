"""`sidekiq-lua scripts`, `slowlog` and `trace`: what Redis tells, with the names of scripts and jids."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py
from commandline import CommandLine, cli, make_cli
from keyspace import STORE, job
from waiting import wait_until

from sidekiq_lua.cli import scripts, shown, trace
from sidekiq_lua.store import Endpoint, Transport, heard
from sidekiq_lua.store.preflight import check_schema
from sidekiq_lua.store.script_counts import KINDS, News, read
from sidekiq_lua.store.scripts import library
from sidekiq_lua.version import __version__

PUSH = library()["push"].sha
NAMES = {PUSH: heard.Named("push", "1.0")}
CALL = [b"EVALSHA", PUSH.encode(), b"2", b"queues", b"queue:default", b"default", job(7)]


def line(sender: str, *words: bytes) -> heard.Line:
    return heard.Line(1_800_000_000.25, 0, sender, list(words))


# -- reading ----------------------------------------------------------------------------------


def test_a_line_of_monitor() -> None:
    text = rb'+1800000000.250000 [3 [::1]:6379] "set" "a b" "q\"\\\n\x00\xff"' + b"\r\n"
    assert heard.line(text) == heard.Line(
        1_800_000_000.25, 3, "[::1]:6379", [b"SET", b"a b", b'q"\\\n\x00\xff']
    )
    assert heard.line(b'1.5 [0 lua] "LLEN" "queue:x"').sender == "lua"
    with pytest.raises(ValueError, match="MONITOR said b'OK'"):
        heard.line(b"OK")


def test_a_call_of_a_script_has_its_name_and_jid() -> None:
    called = heard.called(CALL, NAMES)
    assert called.script == ("push", "1.0")
    assert called.keys == [b"queues", b"queue:default"]
    assert called.rest == [b"default", job(7)]
    assert called.jids == ["7".zfill(24)]


@pytest.mark.parametrize(
    ("words", "script", "sha", "jids"),
    [
        ([b"evalsha_ro", PUSH.upper().encode(), b"0"], NAMES[PUSH], PUSH, []),
        ([b"EVAL", library()["push"].text.encode(), b"0"], NAMES[PUSH], PUSH, []),
        ([b"EVALSHA", b"f" * 40, b"0", job(1), job(1), job(2)], None, "f" * 40, ["1", "2"]),
        ([b"BLMOVE", b"queue:a", b"b"], None, "", []),
        ([b"EVALSHA", b"x", b"many"], None, "", []),
        ([b"LPUSH", b"q", b'{"jid": "spaced"}'], None, "", ["spaced"]),
        ([b"LPUSH", b"q", b'{"args":["\\"jid\\":\\"no\\""],"jid":"ab'], None, "", []),
    ],
)
def test_other_calls(words: list[bytes], script: Any, sha: str, jids: list[str]) -> None:
    found = heard.called(words, NAMES)
    assert (found.script, found.sha) == (script, sha)
    assert [jid.lstrip("0") for jid in found.jids] == jids


def test_what_makes_a_script_known() -> None:
    text = library()["push"].text.encode()
    assert heard.loads([b"SCRIPT", b"load", text]) == PUSH
    assert heard.loads([b"EVAL", text, b"0"]) == PUSH
    assert heard.loads([b"SCRIPT", b"EXISTS", b"x"]) == ""
    assert heard.loads([b"PING"]) == ""
    assert shown.sentence(heard.called([b"SCRIPT", b"LOAD", text], NAMES)) == "SCRIPT LOAD push"


def test_statistics_take_all_ways_to_call_a_script_together() -> None:
    info = (
        "# Commandstats\r\n"
        "cmdstat_evalsha:calls=10,usec=1,usec_per_call=1.00,rejected_calls=1,failed_calls=4\r\n"
        "cmdstat_evalsha_ro:calls=5,usec=1,usec_per_call=1.00,rejected_calls=0,failed_calls=0\r\n"
        "cmdstat_get:calls=99,usec=1,usec_per_call=1.00,rejected_calls=7,failed_calls=9\r\n"
        "# Errorstats\r\nerrorstat_NOSCRIPT:count=3\r\nerrorstat_ERR:count=8\r\n"
    )
    assert heard.statistics(info) == {"calls": 12, "failures": 2, "reloads": 3}
    assert heard.statistics("") == {"calls": 0, "failures": 0, "reloads": 0}


# -- writing ----------------------------------------------------------------------------------


def test_a_script_s_own_commands_are_indented() -> None:
    lines = [
        None,
        line("1:2", *CALL),
        line("lua", b"LLEN", b"queue:default"),
        line("1:2", b"GET", b"k\x1b[31m" + b"x" * 100),
    ]
    assert list(trace.as_text(lines, NAMES)) == [
        f"08:00:00.250000  push queues queue:default  jid {'7':0>24}",
        "                 LLEN queue:default",
        f"08:00:00.250000  GET k\\x1b[31m{'x' * 51}…",
    ]


def test_json_has_them_inside() -> None:
    lines = [line("1:2", *CALL), line("lua", b"LLEN", b"q"), None, line("1:2", b"PING")]
    first, second = map(json.loads, trace.as_objects(lines, NAMES))
    assert (first["script"], first["inner"], first["jids"]) == ("push", [["LLEN", "q"]], ["7".zfill(24)])
    assert (second["command"], second["script"], second["inner"]) == ("PING", None, [])


def test_an_unknown_script_is_shown_by_its_hash() -> None:
    assert shown.sentence(heard.called(CALL, {})) == f"script {PUSH} queues queue:default  jid {'7':0>24}"


def test_calls_and_loads_are_counted() -> None:
    text = library()["push"].text.encode()
    lines = [
        None, line("1:2", *CALL), line("1:2", b"SCRIPT", b"LOAD", text), line("1:2", *CALL),
        line("1:2", b"EVAL", text, b"0"), line("lua", b"LLEN", b"q"),
    ]  # fmt: skip
    assert scripts.counted(lines)[PUSH] == {"calls": 3, "reloads": 2}


def test_the_table_of_scripts() -> None:
    row = {"name": "push", "version": "1.0", "loaded": True, "calls": 1200, "reloads": 0}
    assert scripts.table([{**row, "failures": None, "fenced": None}]) == [
        "SCRIPT  VERSION  LOADED  CALLS  RELOADS",
        "push    1.0      yes     1,200        0",
    ]
    assert scripts.table([{**row, "loaded": False, "failures": 7, "fenced": 3}]) == [
        "SCRIPT  VERSION  LOADED  CALLS  FAILURES  RELOADS  FENCED",
        "push    1.0      no      1,200         7        0       3",
    ]


# -- on a server ---------------------------------------------------------------------------------


@pytest.fixture
def push(url: str) -> Any:
    transport = Transport(Endpoint(url))
    check_schema(transport, STORE)
    yield lambda *payloads: transport.run(STORE.queues.push("default", payloads))
    transport.close()


def test_scripts(cli: CommandLine, redis: redis_py.Redis, push: Callable[..., int]) -> None:
    redis.script_flush()
    redis.config_resetstat()
    push(job(1))
    redis.hset("lua:scripts", "e" * 40, "push 0.0.1")

    found = json.loads(cli.run("scripts", "--json").stdout)

    rows = {(row["name"], row["version"]): row for row in found["scripts"]}
    assert rows["push", __version__]["loaded"] is True
    assert rows["push", "0.0.1"]["loaded"] is False
    assert len(rows) == len(library()) + 1
    assert found["total"] == {"calls": 1, "failures": 0, "reloads": 1}
    assert (found["since"], rows["push", __version__]["calls"]) == (None, 0)
    lines = cli.run("scripts").stdout.splitlines()
    assert lines[-2] == "Counts: no worker wrote any yet"
    assert lines[-1] == "All scripts: 1 calls, 0 failed, 1 of scripts that Redis had forgotten"


def test_counts_of_scripts(cli: CommandLine, url: str, redis: redis_py.Redis) -> None:
    redis.script_flush()
    transport = Transport(Endpoint(url))
    for n in (1, 2):
        news = [News("ack", "calls", 500 * n), News("ack", "failures", 2), News("ack", "fenced", 1)]
        transport.run(STORE.counters.count_scripts(news, 1_800_000_000.5 + n))
    transport.close()

    lines = cli.run("scripts").stdout.splitlines()
    assert lines[0].split() == ["SCRIPT", "VERSION", "LOADED", "CALLS", "FAILURES", "RELOADS", "FENCED"]
    assert ["ack", __version__, "no", "1,500", "4", "0", "2"] in [text.split() for text in lines]
    assert "Counts: of workers and their jobs, since 2027-01-15 08:00:01" in lines
    found = json.loads(cli.run("scripts", "--json").stdout)
    (ack,) = [row for row in found["scripts"] if row["name"] == "ack"]
    assert found["since"] == 1_800_000_001.5
    assert {kind: ack[kind] for kind in KINDS} == {"calls": 1500, "failures": 4, "reloads": 0, "fenced": 2}


def test_what_else_is_in_the_counts_is_passed_over() -> None:
    words = [b"since", b"x", b"", b"1", b"a:calls", b"7", b"a:wins", b"1", b"b:calls", b"-", b"c", b"\xff"]
    assert read(words) == (0.0, {"a": {"calls": 7, "failures": 0, "reloads": 0, "fenced": 0}})


def test_slowlog(cli: CommandLine, redis: redis_py.Redis, push: Callable[..., int]) -> None:
    assert cli.run("slowlog").returncode == 0
    push(job(0))  # a server that does not know the script would see two calls of the next one
    before = redis.config_get("slowlog-log-slower-than")
    redis.config_set("slowlog-log-slower-than", 0)
    redis.slowlog_reset()
    try:
        push(job(1))
    finally:
        redis.config_set("slowlog-log-slower-than", before["slowlog-log-slower-than"])

    entries = json.loads(cli.run("slowlog", "--json").stdout)
    (entry,) = [one for one in entries if one["script"] == "push"]
    assert entry["jids"] == ["1".zfill(24)]
    assert entry["keys"] == ["queues", "queue:default"]
    assert entry["micros"] >= 0
    text = cli.run("slowlog", "-n", "100").stdout
    assert re.search(rf"^[\d-]+ [\d:]+ +[\d.]+ms  push queues queue:default  jid {'1':0>24}$", text, re.M)
    redis.slowlog_reset()
    assert cli.run("slowlog").stdout == "The slow log is empty.\n"


def test_trace_until_interrupted(cli: CommandLine, redis: redis_py.Redis, push: Callable[..., int]) -> None:
    push(job(0))
    with subprocess.Popen(
        [*cli.command, "trace"], cwd=cli.directory, env=cli.env, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(
                lambda: "cmd=monitor" in redis.execute_command("CLIENT", "LIST").decode(), 20, "MONITOR"
            )
            push(job(1))
            assert process.stdout
            heads = iter(process.stdout.readline, "")
            seen = [next(text for text in heads if "  push queues" in text)]
            seen += [next(heads) for _ in range(3)]
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0

    assert seen[0].endswith(f"  push queues queue:default  jid {'1':0>24}\n")
    assert [text.strip() for text in seen[1:]] == [
        "LLEN queue:default",
        "SADD queues default",
        f"LPUSH queue:default {shown.word(job(1))}  jid {'1':0>24}",
    ]


def test_trace_for_some_time(cli: CommandLine, url: str) -> None:
    done = cli.run("trace", "--seconds", "0.05", "--json")
    assert (done.returncode, done.stderr) == (0, "")
