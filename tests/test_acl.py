"""`sidekiq-lua acl`: with the line that it prints a role can do its work, and nothing beyond."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import lua_rules
import pytest
import redis as redis_py
from _audit import reference
from _audit import roles as acl_page
from click.testing import CliRunner
from keyspace import ME, put
from script_cases import CASES
from servers import Server
from waiting import wait_until

from sidekiq_lua import AsyncClient, Job, Sidekiq, SidekiqLogger, Stats, WorkSet
from sidekiq_lua.api.doctor import CHECKS, Doctor
from sidekiq_lua.cli import acl
from sidekiq_lua.cli.main import main
from sidekiq_lua.cli.report import Session
from sidekiq_lua.errors import RedisError, RedisRefused
from sidekiq_lua.store import Endpoint, Store, Transport, access, heard
from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.contract import contracts
from sidekiq_lua.store.keys import Keys, patterns

REAL = {
    "host:1:aaaa": "host:1:aaaa00000000",
    "gone:1:x": "gone:1:bbbb00000000",
    **{name: f"{name.partition('-')[0]}-{'0' * 22}31" for name in ("new-31", "mine-23", "gone-1")},
}
"""Identities and jids of the cases are short; real ones end in 12 and 24 hexadecimal digits."""

Login = Callable[..., Transport]


@pytest.fixture
def login(redis: redis_py.Redis, server: Server) -> Iterator[Login]:
    """A connection as the user that the line of a role makes; whatever was denied to it, ends the test."""
    made: list[Transport] = []

    def make(role: str, prefix: str = "") -> Transport:
        made.append(Transport(Endpoint(user(redis, server, role, prefix))))
        return made[-1]

    redis.execute_command("ACL", "LOG", "RESET")
    yield make
    for transport in made:
        transport.close()
    for role in access.PLAIN:
        redis.execute_command("ACL", "DELUSER", role)


def user(redis: redis_py.Redis, server: Server, role: str, prefix: str = "") -> str:
    """Make the user; answers its URL."""
    line = access.grant(role, prefix).line(role, access.hashed("pw"))
    redis.execute_command(*line.split())
    return f"redis://{role}:pw@127.0.0.1:{server.port}/0"


def denied(redis: redis_py.Redis) -> list[str]:
    """What ACL LOG has, as a user would have to add it."""
    log = redis.execute_command("ACL", "LOG")
    return [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in map(_decoded, log)]


def _decoded(entry: Any) -> Mapping[str, str]:
    pairs = entry.items() if isinstance(entry, dict) else zip(entry[::2], entry[1::2], strict=True)
    return {_text(key): _text(value) for key, value in pairs}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


# -- every script of a role --------------------------------------------------------------------

RUNS = [(role, name) for role in access.PLAIN for name in access.grant(role).scripts]


def real(value: Any) -> Any:
    """The same with the identities of real processes."""
    match value:
        case str():
            for short, whole in REAL.items():
                value = value.replace(short, whole)
            return value
        case bytes():
            return real(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        case dict():
            return {real(key): real(item) for key, item in value.items()}
        case list() | tuple() | set():
            return type(value)(real(item) for item in value)
    return value


@pytest.mark.parametrize(("role", "name"), RUNS)
def test_a_role_may_run_its_scripts(redis: redis_py.Redis, login: Login, role: str, name: str) -> None:
    case = CASES[name]
    put(redis, real(case.found))
    call = Call(case.call.script, real(case.call.keys), real(case.call.argv), lambda reply: reply)

    login(role).run(call)

    assert denied(redis) == []


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("enqueuer", []),
        ("scheduler", ["schedule"]),
        ("dashboard", []),
    ],
)
def test_other_scripts_change_nothing_for_a_role(
    redis: redis_py.Redis, login: Login, role: str, may: list[str]
) -> None:
    """But for those that need no more than its own."""
    transport, changed = login(role), []
    for name in sorted(set(CASES) - set(access.grant(role).scripts)):
        redis.flushdb()
        put(redis, real(CASES[name].found))
        before = everything(redis)
        call = Call(
            CASES[name].call.script, real(CASES[name].call.keys), real(CASES[name].call.argv), lambda r: r
        )
        (outcome,) = transport.run_many([call])
        assert not isinstance(outcome, Exception) or re.search("can't|permission", str(outcome)), name
        if everything(redis) != before:
            changed.append(name)
    assert changed == may


def everything(redis: redis_py.Redis) -> dict[bytes, bytes | None]:
    return {key: redis.dump(key) for key in redis.scan_iter(count=1000)}


# -- journeys ----------------------------------------------------------------------------------


class Noted(Job):
    def perform(self, text: str) -> None:
        if text == "fail":
            raise ValueError(text)


@pytest.fixture
def as_role(redis: redis_py.Redis, server: Server, login: Login) -> Iterator[Callable[..., Sidekiq]]:
    """An instance that logs in as a role."""
    made: list[Sidekiq] = []

    def make(role: str, **settings: Any) -> Sidekiq:
        login(role)
        app = Sidekiq(
            redis=user(redis, server, role), heartbeat_interval=0.2, recovery_interval=0.1,
            poll_interval_average=0.05, timeout=5, logger=SidekiqLogger(io.StringIO()), **settings,
        )  # fmt: skip
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


def test_the_life_of_jobs(redis: redis_py.Redis, as_role: Callable[..., Sidekiq]) -> None:
    """Pushed by one user, run, retried and promoted by another, read by the third."""
    client = as_role("enqueuer", reliable_push=True).client
    for text in ("now", "fail"):
        client.push({"class": "Noted", "args": [text], "retry": 3})
    client.push({"class": "Noted", "args": ["later"], "at": 1.0})
    client.push_bulk({"class": "Noted", "args": [["a"], ["b"]], "queue": "low"})

    worker = as_role("worker", queues=["default", "low"])
    worker.register_job(Noted)
    runner = worker.run()
    try:
        wait_until(lambda: int(redis.get("stat:processed") or 0) >= 5, 15, "five runs")
        wait_until(lambda: redis.zcard("retry") == 1, 15, "the retry")
    finally:
        runner.stop()

    stats = Stats(as_role("dashboard"))
    assert (stats.processed, stats.failed, stats.retry_size) == (5, 1, 1)
    assert denied(redis) == []


def test_pushes_of_asyncio(redis: redis_py.Redis, as_role: Callable[..., Sidekiq]) -> None:
    app = as_role("enqueuer")

    async def push() -> None:
        async with AsyncClient(app) as client:
            await client.push({"class": "Noted", "args": ["now"]})
            await client.push({"class": "Noted", "args": ["later"], "at": 9e9})

    asyncio.run(push())
    assert (redis.llen("queue:default"), redis.zcard("schedule")) == (1, 1)
    assert denied(redis) == []


def test_a_dashboard_may_not_push(redis: redis_py.Redis, as_role: Callable[..., Sidekiq]) -> None:
    with pytest.raises(RedisError, match=r"permission|can't"):
        as_role("dashboard").client.push({"class": "Noted", "args": ["x"]})

    assert redis.keys() == []
    assert "dashboard: command sadd" in denied(redis)


def test_what_runs_is_seen(redis: redis_py.Redis, as_role: Callable[..., Sidekiq]) -> None:
    identity = real(ME.identity)
    put(redis, {"processes": {identity}, f"{identity}:work": {"tid": '{"payload":"{}","run_at":1}'}})

    for role in ("dashboard", "admin"):
        assert [line.thread_id for line in WorkSet(as_role(role))] == ["tid"]
    assert denied(redis) == []


def test_the_commands_that_look_from_outside(redis: redis_py.Redis, login: Login) -> None:
    dashboard, admin = login("dashboard"), login("admin")

    names = heard.names(dashboard, Store())
    dashboard.command("SCRIPT", "EXISTS", *names)
    dashboard.command("INFO", "commandstats")
    admin.command("SLOWLOG", "GET", 1)
    assert next(iter(heard.listen(admin, 0.01))) is None
    assert denied(redis) == []
    with pytest.raises(RedisRefused, match="MONITOR"):
        list(heard.listen(dashboard, 0.01))


def test_the_doctor_s_user(redis: redis_py.Redis, server: Server, login: Login) -> None:
    """The line in docs/acl.md is enough for `sidekiq-lua doctor`, and lets it change nothing."""
    for role in access.PLAIN:
        login(role)
    rules = re.findall(r"`(%R~\* \+@connection .*?)`", acl_page.INTRODUCTION.replace("\n  ", " "))
    assert len(rules) == 1
    redis.execute_command("ACL", "SETUSER", "doctor", "reset", "on", ">pw", *_rules(rules[0]))
    put(redis, {"queue:default": [b"{}"], "queues": {"default"}, "cache:1": {"token": "x"}})
    app = Sidekiq(redis=f"redis://doctor:pw@127.0.0.1:{server.port}/0")
    try:
        before = everything(redis)
        assert {finding.check for finding in Doctor(app).examine()} == set(CHECKS)
        assert denied(redis) == []
        with pytest.raises(RedisError, match=r"permission|can't"):
            app.client.push({"class": "Noted", "args": ["x"]})
        assert everything(redis) == before
    finally:
        app.close()
        redis.execute_command("ACL", "DELUSER", "doctor")


def _rules(line: str) -> list[str]:
    """A selector in parentheses is one word."""
    return re.findall(r"\([^)]*\)|\S+", line)


def test_an_enqueuer_may_not_fetch_or_look(redis: redis_py.Redis, login: Login) -> None:
    put(redis, {"queue:default": [b"secret"]})
    transport = login("enqueuer")

    for words in (["RPOP", "queue:default"], ["LRANGE", "queue:default", 0, -1], ["GET", "queue:default"]):
        with pytest.raises(RedisRefused):
            transport.command(*words)
    assert redis.llen("queue:default") == 1


def test_a_prefix_bounds_all_keys(redis: redis_py.Redis, login: Login) -> None:
    transport = login("enqueuer", "{a*b}:")

    transport.run(Store(Keys("{a*b}:")).queues.push("default", [b"1"]))
    for prefix in ("", "{aXb}:"):
        with pytest.raises(RedisError, match=r"permission|can't|NOPERM"):
            transport.run(Store(Keys(prefix)).queues.push("default", [b"1"]))
    assert sorted(redis.keys()) == [b"{a*b}:queue:default", b"{a*b}:queues"]


# -- what is granted -----------------------------------------------------------------------------


def test_parameters_stand_for_the_keys_that_scripts_are_given() -> None:
    for name, contract in contracts().items():
        for parameter, found in reference.redis_names(contract).items():
            allowed = [patterns()[place] for place in access.places(name, parameter)]
            for pattern in found:
                key = real(EXAMPLES.get(pattern, pattern))
                assert any(fnmatchcase(key, one) for one in allowed), f"{name}: {parameter} is {key}"


EXAMPLES = {
    "IDENTITY": "host:1:aaaa",
    "IDENTITY:work": "host:1:aaaa:work",
    "IDENTITY-signals": "host:1:aaaa-signals",
    "DAY-marks": "20270115-marks",
    "NAME": "new-31",
}


def test_no_table_has_what_nobody_needs() -> None:
    used = {
        name
        for contract in contracts().values()
        for key in contract.keys
        for name in (key.name, f"{contract.name}.{key.name}", f"admin/{contract.name}.{key.name}")
    }
    assert set(access.PLACES) <= used
    assert {place for places in access.PLACES.values() for place in places} == set(patterns())


def test_only_a_read_only_key_is_one() -> None:
    worker, dashboard = access.grant("worker"), access.grant("dashboard")
    assert worker.keys["paused"] == "r"
    assert worker.keys["queue:*"] == "rw"
    assert set(dashboard.keys.values()) == {"r"}


# -- the command ---------------------------------------------------------------------------------


def shown(*args: str) -> str:
    done = CliRunner().invoke(acl.command, args, obj=Session())
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_line() -> None:
    line = shown("scheduler")
    assert line == (
        "ACL SETUSER sidekiq-scheduler reset on >PASSWORD %RW~queue:* %RW~queues %RW~retry %RW~schedule "
        "+@connection -@dangerous +script|exists +script|load "
        "+exists +llen +lpush +sadd +scard +zadd +zmscore +zrange +zrem "
        "(~* +eval +eval_ro +evalsha +evalsha_ro)\n"
    )


def test_an_enqueuer_s_scripts_stand_apart() -> None:
    line = shown("enqueuer")
    assert " (%RW~queues %RW~queue:* +llen +lpush +sadd) " in line
    assert [part for part in line.split("(") if "+del" in part and "queue:" in part] == []


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "pw"
    file.write_text("hunter2\nnext\n")
    line = shown("scheduler", "--name", "s", "--password-file", str(file), "--prefix", "p:")
    assert line.startswith(f"ACL SETUSER s reset on #{hashlib.sha256(b'hunter2').hexdigest()} %RW~p:queue:* ")
    assert line.endswith(" (~p:* +eval +eval_ro +evalsha +evalsha_ro)\n")


def test_json() -> None:
    found = json.loads(shown("scheduler", "--json"))
    assert found["scripts"] == ["claim", "due", "promote", "push"]
    assert found["keys"] == {"queue:*": "rw", "queues": "rw", "retry": "rw", "schedule": "rw"}
    assert "zrem" in found["commands"]
    assert found["line"].startswith("ACL SETUSER sidekiq-scheduler reset on >PASSWORD ")


def test_roles_are_those_of_the_headers() -> None:
    assert set(acl.ROLES) == set(access.PLAIN) == lua_rules.KNOWN_ROLES


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["boss"], "'boss' is not one of 'enqueuer', 'worker', 'scheduler', 'dashboard', 'admin'"),
        (["worker", "--name", "a b"], "--name 'a b': leave out spaces, quotes and parentheses"),
        (["worker", "--password-file", "/dev/null"], "--password-file /dev/null: its first line is empty"),
    ],
)
def test_refusals(args: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acl", *args]) in (1, 2)
    assert complaint in capsys.readouterr().err
