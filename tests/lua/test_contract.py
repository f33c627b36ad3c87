"""Every file of lua/ keeps the contract that its header states; every rule refuses a bad script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lua_rules as rules
import pytest

from sidekiq_lua.store.scripts import library, script_dir

LUA = Path(str(script_dir()))
SCRIPTS = sorted(path.stem for path in LUA.glob("*.lua"))
LIBS = sorted(path.stem for path in (LUA / "lib").glob("*.lua"))


def source(name: str) -> str:
    return (LUA / f"{name}.lua").read_text("utf-8")


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("rule", rules.SCRIPT_RULES, ids=lambda rule: rule.__name__)
def test_script(rule: rules.Rule, name: str) -> None:
    assert rule(source(name), name) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_flags_fit_what_the_script_and_its_libs_do(name: str) -> None:
    assert rules.flags(library()[name].text, name) == []


@pytest.mark.parametrize("name", LIBS)
@pytest.mark.parametrize("rule", rules.LIB_RULES, ids=lambda rule: rule.__name__)
def test_lib(rule: rules.Rule, name: str) -> None:
    assert rule(source(f"lib/{name}"), name) == []


def test_every_lib_is_used_and_every_include_is_called() -> None:
    included = {name: rules.includes(source(name)) for name in SCRIPTS}
    assert {lib for libs in included.values() for lib in libs} == set(LIBS)
    for name, libs in included.items():
        assert [lib for lib in libs if f"{lib}(" not in rules.body(source(name))] == [], name


def test_the_loader_reads_the_same_parameters() -> None:
    for name, script in library().items():
        found = rules.parameters(source(name))
        assert script.keys.names == tuple(p.name for p in found if p.table == "KEYS")
        assert script.argv.names == tuple(p.name for p in found if p.table == "ARGV")
        assert list(script.header) == rules.FIELDS


def test_exceptions_name_scripts_that_are_there() -> None:
    assert {*rules.TAILS, *rules.WHOLE, *rules.USERS_WORK} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_call_takes_exactly_the_header_s_names(name: str) -> None:
    script = library()[name]
    values: dict[str, Any] = {n: n for n in (*script.keys.names, *script.argv.names)}
    for table in (script.keys, script.argv):
        if table.open_ended:
            values[table.names[-1]] = [table.names[-1], "more"]
    call = script.call(**values)
    assert call.script is script
    assert call.keys == (*script.keys.names, *["more"] * script.keys.open_ended)
    assert call.argv == (*script.argv.names, *["more"] * script.argv.open_ended)
    for missing in values:
        with pytest.raises(TypeError, match=missing):
            script.call(**{n: v for n, v in values.items() if n != missing})
    with pytest.raises(TypeError, match="unheard_of"):
        script.call(**values, unheard_of="x")
    with pytest.raises(TypeError, match="positional"):
        script.call(*values.values())


# -- what the rules refuse ------------------------------------------------------------------

GOOD = """#!lua flags=allow-oom
-- Move a job to another list.
--
-- KEYS  1   source  list  where it is
--       2   target  list  where it goes
--       3.. rest    list  more of them
-- ARGV  1   payload  the job,
--                    whole
-- RETURNS   1 if it moved, 0 if it was gone
-- BOUND     1 job
-- REPLAY    same
-- ROLES     worker, admin
-- INVARIANT it is in one list

local source, target = KEYS[1], KEYS[2]
local payload = ARGV[1]

-- include lib/put_back.lua

local moved, more = 0, nil
for i = 3, #KEYS do
  redis.call("SADD", KEYS[i], "x")
end
put_back(source, target, payload)
redis.call("LPUSH", target, payload) -- os.time() .. "KEYS[9]"
return moved
"""

GOOD_LIB = """-- double(list, item): add an item twice.
local function double(list, item)
  redis.call("LPUSH", list, item)
  redis.call("LPUSH", list, item)
end
"""


def broken(old: str, new: str, base: str = GOOD) -> str:
    assert base.count(old) >= 1, f"{old!r} is not in the good script"
    return base.replace(old, new)


LOOP = """for i = 3, #KEYS do
  redis.call("SADD", KEYS[i], "x")
end
"""
CODE = 'redis.call("LPUSH", target, payload)'

REFUSED: list[tuple[Callable[[str, str], list[str]], str, str, str]] = [
    (rules.shebang, "#!lua flags=allow-oom\n", "", "line 1"),
    (rules.shebang, "allow-oom", "allow-oom,allow-stale", "allow-stale"),
    (rules.shebang, "#!lua flags=allow-oom", "#!lua allow-oom", "line 1"),
    (rules.sentence, "-- Move a job to another list.\n", "", "sentence"),
    (rules.sentence, "another list.\n", "another list\n", "sentence"),
    (rules.sentence, "Move", "move", "sentence"),
    (rules.fields, "-- BOUND     1 job\n", "", "BOUND"),
    (rules.fields, "-- RETURNS   1 if it moved, 0 if it was gone\n", "", "RETURNS"),
    (rules.fields, "-- INVARIANT it is in one list\n", "", "INVARIANT"),
    (rules.fields, "-- INVARIANT it is in one list\n", "-- INVARIANT\n", "INVARIANT"),
    (rules.fields, "-- ROLES ", "-- ROLE  ", "ROLE"),
    (rules.replay, "same", "sometimes", "REPLAY"),
    (rules.replay, "same", "repeats", "REPLAY"),
    (rules.roles, "worker, admin", "worker, janitor", "janitor"),
    (rules.numbering, "--       2   target", "--       4   target", "[1, 4, 3]"),
    (rules.numbering, "2   target", "2.. target", "target takes all"),
    (rules.numbering, "source  list", "source  pile", "pile"),
    (rules.numbering, "1   payload", "1   source ", "twice"),
    (rules.numbering, "1   payload", "1   from   ", "from cannot"),
    (rules.numbering, "1   payload", "1   read   ", "read cannot"),
    (rules.binding, "local source, target", "local target, source", "(1, 'target')"),
    (rules.binding, "KEYS[1], KEYS[2]", "KEYS[2], KEYS[1]", "(2, 'source')"),
    (rules.binding, "local payload = ARGV[1]\n", "", "ARGV binds []"),
    (rules.binding, CODE, 'redis.call("LPUSH", KEYS[1], payload)', "KEYS[1] outside"),
    (rules.binding, CODE, 'redis.call("LPUSH", target, ARGV[2])', "ARGV[2] outside"),
    (rules.use, "put_back(source, ", "put_back(target, ", "source is not used"),
    (rules.use, "--       3.. rest    list  more of them\n", "", "KEYS is used beyond"),
    (rules.use, LOOP, "", "KEYS is not used beyond"),
    (rules.use, CODE, 'redis.call("LPUSH", target, ARGV[i])', "ARGV is used beyond"),
    (rules.flags, "flags=allow-oom", "flags=no-writes", "expected ['allow-oom']"),
    (rules.flags, " flags=allow-oom", "", "expected ['allow-oom']"),
    (rules.known_commands, CODE, 'redis.call("KEYS", payload)', "KEYS"),
    (rules.known_commands, CODE, 'redis.call("TIME")', "TIME"),
    (rules.known_commands, CODE, 'redis.pcall("SMEMBERS", target)', "SMEMBERS"),
    (rules.known_commands, CODE, 'redis.call("HGETALL", target)', "HGETALL"),
    (rules.known_commands, CODE, 'redis.call("LRANGE", target, 0, -1)', "LRANGE"),
    (rules.known_commands, CODE, 'redis.call("SCAN", 0)', "SCAN"),
    (rules.known_commands, CODE, 'redis.call(payload, target)', "payload"),
    (rules.known_commands, CODE, 'redis.call("lpush", target)', "lpush"),
    (rules.known_commands, CODE, 'redis.call("ZRANGE", target, 0, -1)', "LIMIT"),
    (rules.known_commands, CODE, 'redis.call("HSCAN", target, 0)', "COUNT"),
    (rules.no_globals, CODE, 'return payload:find("a.", 1)', ":find"),
    (rules.no_globals, CODE, 'return payload:rep(9)', "rep"),
    (rules.no_literal_key, CODE, 'redis.call("LPUSH", "queue:default", payload)', "queue:default"),
    (rules.no_literal_key, CODE, 'redis.pcall("GET", "stat:processed")', "stat:processed"),
    (rules.no_built_text, CODE, 'redis.call("LPUSH", target .. payload, payload)', ".."),
    (rules.no_built_text, CODE, "redis.call('LPUSH', target, payload)", "'"),
    (rules.no_globals, CODE, "local args = cjson.decode(payload).args", "cjson"),
    (rules.no_globals, CODE, "count = 1", "count"),
    (rules.no_globals, "local moved, more", "moved, more", "moved"),
    (rules.no_globals, CODE, "redis.set_repl(redis.REPL_NONE)", "redis.set_repl"),
    (rules.no_globals, CODE, 'local now = os.time()', "os"),
    (rules.no_globals, CODE, "return string.sub(payload, 1)", "string"),
    (rules.no_globals, "-- include lib/put_back.lua\n", "", "put_back"),
    (rules.bounded_unpack, CODE, 'redis.call("LPUSH", target, unpack(ARGV))', "unpack(ARGV)"),
    (rules.bounded_unpack, CODE, 'redis.call("LPUSH", target, unpack(ARGV, 2))', "unpack(ARGV, 2)"),
    (
        rules.bounded_unpack,
        CODE,
        'redis.call("LPUSH", target, unpack(ARGV, i, math.min(i + 9999, #ARGV)))',
        "9999",
    ),
    (rules.length, "return moved\n", "return moved\n" + "\n" * 40, "at most 60"),
]  # fmt: skip

REFUSED_LIBS: list[tuple[str, str, str]] = [
    ("local function double", "function double", "one `local function double"),
    ("local function double", "local function twice", "one `local function double"),
    ("-- double(list, item)", "-- double(list)", "first line"),
    ("(list, item)\n  redis", "(list)\n  local item = ARGV[1]\n  redis", "ARGV is used"),
    ("end\n", "end\nlocal other = 1\n", "one `local function double"),
    ("end\n", "end\n-- include lib/count.lua\n", "includes no other"),
]


@pytest.mark.parametrize(("rule", "old", "new", "complaint"), REFUSED)
def test_rule_refuses(rule: rules.Rule, old: str, new: str, complaint: str) -> None:
    assert complaint in " ".join(rule(broken(old, new), "bad"))


@pytest.mark.parametrize(("old", "new", "complaint"), REFUSED_LIBS)
def test_lib_rule_refuses(old: str, new: str, complaint: str) -> None:
    assert complaint in " ".join(rules.pure_lib(broken(old, new, GOOD_LIB), "double"))


def test_rules_let_the_good_ones_pass() -> None:
    assert [c for rule in (*rules.SCRIPT_RULES, rules.flags) for c in rule(GOOD, "good")] == []
    assert [c for rule in rules.LIB_RULES for c in rule(GOOD_LIB, "double")] == []


def test_a_read_and_work_of_users_have_flags_of_their_own() -> None:
    read = '#!lua flags=no-writes\nreturn redis.call("GET", key)\n'
    assert rules.flags(read, "get") == []
    assert rules.flags(read.replace("no-writes", "allow-oom"), "get") == [
        "flags ['allow-oom'], expected ['no-writes']"
    ]
    assert rules.flags(GOOD, "push") == ["flags ['allow-oom'], expected []"]
    assert rules.flags(broken(" flags=allow-oom", ""), "push") == []


def test_every_rule_is_shown_a_bad_script() -> None:
    shown = {case[0] for case in REFUSED} | {rules.pure_lib}
    assert shown == {*rules.SCRIPT_RULES, *rules.LIB_RULES, rules.flags}
