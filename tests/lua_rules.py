"""The rules that every file of lua/ keeps: functions of a script's text that answer a list of complaints.

They read the text alone, so tests/lua/test_contract.py can show each of them what it must refuse.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

KNOWN_FLAGS = {"allow-oom", "no-writes"}
KNOWN_ROLES = {"enqueuer", "worker", "scheduler", "dashboard", "admin"}
KNOWN_TYPES = {"string", "list", "set", "zset", "hash"}
FIELDS = ["RETURNS", "BOUND", "REPLAY", "ROLES", "INVARIANT"]
MAX_LINES = 60

READS = {
    *("BITFIELD_RO", "EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HLEN", "HMGET", "HSCAN", "LINDEX"),
    *("LLEN", "LPOS", "LRANGE", "SCARD", "SISMEMBER", "SMEMBERS", "SSCAN", "STRLEN", "TYPE", "ZCARD"),
    *("ZCOUNT", "ZRANGE", "ZRANK", "ZSCORE", "ZMSCORE"),
}
WRITES = {
    *("BITFIELD", "DEL", "EXPIRE", "HDEL", "HINCRBY", "HSET", "HSETNX", "INCRBY", "LMOVE", "LPUSH", "LREM"),
    *("LSET", "RPOP", "RPUSH", "SADD", "SET", "SREM", "UNLINK", "ZADD", "ZREM", "ZREMRANGEBYRANK"),
}
"""With READS, every command that a script may call: each touches one member, or a number that is bounded."""

PAGED = {"HSCAN": "COUNT", "SSCAN": "COUNT", "ZRANGE": "LIMIT"}
"""Commands that are bounded only with this word."""

WHOLE: Mapping[str, str] = {
    "fallen": "one member for each slot of a process",
    "paused_classes": "as many names as people have paused",
    "read_hashes": "three fields for each class that ran, one for each minute of a day or running job",
}
"""Scripts that read a whole set or hash, and what bounds it."""

RANKED: Mapping[str, str] = {
    "page": "as many entries as lib/step.lua says, 100 at most",
    "place": "one entry",
    "waiting": "as many jobs as lib/step.lua says, 100 at most",
}
"""Scripts that read a list or a sorted set from one rank to another, and what bounds it."""

METHODS = {"byte", "sub", "find"}
"""Of strings: to compare members as Redis orders them, and to look for a text, which is no pattern."""

GLOBALS = {"ARGV", "KEYS", "ipairs", "math", "redis", "tonumber", "type", "unpack"}
"""No cjson, os, string or table: a script neither reads a payload nor makes a key."""
REDIS = {"call", "pcall", "acl_check_cmd"}
"""No set_repl, setresp, log, sha1hex."""

USERS_WORK = {
    "push",
    "push_once",
    "relay",
    "schedule",
    "schedule_once",
    "count_scripts",
    "flush_metrics",
    "mark_deploy",
    "store_profile",
}
"""Scripts that add work, or what is less than work, which a full Redis must refuse."""

TAILS: Mapping[str, str] = {
    "announce": "two arguments for each script of this version",
    "beat": "a key for each queue of this process, and arguments for its owners and its hash's few fields",
    "claim": "at most 200 entries, as the client reads them",
    "due": "the keys of two sets",
    "flush_metrics": "four words for each of 26 counters",
    "forget": "a key for each queue of one owner",
    "job_metrics": "three words for each of 26 counters, which the client writes out",
    "leave": "a key for each queue of one owner",
    "preflight": "the words of a command that it writes out itself",
    "promote": "at most 200 entries, as the client reads them",
    "read_profile": "the names of a few fields, which the client writes out",
    "schedule": "two arguments for each of at most 100 entries; the client cuts larger pushes",
    "schedule_once": "two arguments for each of at most 100 entries; the client cuts larger pushes",
    "store_profile": "two arguments for each of a few fields",
}
"""Scripts that unpack more than a slice of 1000, and what bounds it."""

_SETTLED = "an acknowledged job is over, whether the call comes to its end or not; sent again, it goes on"
_FIRST = "the heartbeat comes first: without it others take this process for dead, whatever is wrong"
_KNOWN = "until then the queue's name was written and the right to fetch taken, and no job has moved"
LATE: Mapping[tuple[str, str], str] = {
    ("ack", "running"): _SETTLED,
    ("ack_and_fetch", "lists"): _SETTLED,
    **{("beat", key): _FIRST for key in ("processes", "running", "owners", "signals")},
    **{("recover", key): _KNOWN for key in ("owners", "running")},
}
"""Scripts and keys on which a command may fail after a write, and why no job is lost by it."""

Rule = Callable[[str, str], list[str]]


class Parameter(NamedTuple):
    table: str
    number: int
    open_ended: bool
    name: str
    kind: str  # the type of a key, or types as in "hash/string"; "" for an argument


_PARAMETER = re.compile(r"-- (KEYS|ARGV|    )  (\d+)(\.\.)? +(\w+)  +(\S.*)")
_FIELD = re.compile(r"-- ([A-Z]+) +(\S.*)")
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[A-Za-z_]\w*|\d+(?:\.\d+)?|\.\.\.|\.\.|\[\[|[=~<>]=|\S')
# It looks ahead only, so a call among another's arguments is found too.
_CALL = re.compile(r"redis\.p?call\((?=\s*([^,)]+)(?:,\s*([^,)]+))?([^\n]*))")


def header(text: str) -> list[str]:
    """The comment block below line 1."""
    lines = text.splitlines()[1:]
    end = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
    return lines[:end]


def body(text: str) -> str:
    """The code, without comments and without the header."""
    lines = text.splitlines()[1 + len(header(text)) :]
    return "\n".join(re.sub(r"--.*", "", line) for line in lines)


def parameters(text: str) -> list[Parameter]:
    found = []
    table = ""
    for line in header(text):
        if match := _PARAMETER.match(line):
            table = match[1].strip() or table
            kind = match[5].split()[0] if table == "KEYS" else ""
            found.append(Parameter(table, int(match[2]), bool(match[3]), match[4], kind))
        elif not line.startswith("--     "):
            table = ""
    return found


def commands(text: str) -> set[str]:
    return {match[1].strip('"') for match in _CALL.finditer(body(text))}


def includes(text: str) -> list[str]:
    return re.findall(r"^-- include lib/(\w+)\.lua$", text, re.M)


# -- the header -------------------------------------------------------------------------


def shebang(text: str, name: str) -> list[str]:
    first = text.split("\n", 1)[0]
    match = re.fullmatch(r"#!lua(?: flags=([a-z,-]+))?", first)
    if not match:
        return [f"line 1 is {first!r}, not #!lua [flags=…]"]
    unknown = set(filter(None, (match[1] or "").split(","))) - KNOWN_FLAGS
    return [f"unknown flag {flag}" for flag in sorted(unknown)]


def sentence(text: str, name: str) -> list[str]:
    block = [line.removeprefix("--").strip() for line in header(text)]
    first = block[: block.index("")] if "" in block else block
    ok = first and re.match(r"[A-Z]", first[0]) and first[-1].endswith((".", "?"))
    return [] if ok else ["the header begins with a sentence and an empty comment line"]


def fields(text: str, name: str) -> list[str]:
    found = [match[1] for line in header(text) if (match := _FIELD.match(line))]
    expected = [*(["KEYS"] if "KEYS" in found else []), *(["ARGV"] if "ARGV" in found else []), *FIELDS]
    return [] if found == expected else [f"fields {found}, expected {expected}"]


def replay(text: str, name: str) -> list[str]:
    match = re.search(r"^-- REPLAY +(.*)$", text, re.M)
    ok = match and re.fullmatch(r"same|repeats: .+|token\b.*", match[1])
    return [] if ok else ["REPLAY is `same`, `repeats: what` or `token …`"]


def roles(text: str, name: str) -> list[str]:
    match = re.search(r"^-- ROLES +(.*)$", text, re.M)
    unknown = set(match[1].split(", ")) - KNOWN_ROLES if match else {"none"}
    return [f"unknown role {role!r}" for role in sorted(unknown)]


def numbering(text: str, name: str) -> list[str]:
    """Positions count up, only the last is open-ended, and names can be Python's parameters."""
    found = parameters(text)
    complaints = []
    for table in ("KEYS", "ARGV"):
        mine = [p for p in found if p.table == table]
        if [p.number for p in mine] != list(range(1, len(mine) + 1)):
            complaints.append(f"{table} are numbered {[p.number for p in mine]}")
        complaints += [
            f"{p.name} takes all that follow, but is not the last" for p in mine[:-1] if p.open_ended
        ]
    complaints += [
        f"{p.name} has the unknown type {p.kind!r}"
        for p in found
        if p.kind and not KNOWN_TYPES.issuperset(p.kind.split("/"))
    ]
    names = [p.name for p in found]
    complaints += [f"{n} is there twice" for n in sorted({n for n in names if names.count(n) > 1})]
    # The generated Python function takes `read` too, and uses the name `script` itself.
    taken = [n for n in names if keyword.iskeyword(n) or n in {"read", "script"}]
    return complaints + [f"{n} cannot be a parameter in Python" for n in taken]


# -- header against body ------------------------------------------------------------------


def binding(text: str, name: str) -> list[str]:
    """`local a, b = KEYS[1], KEYS[2]`, in the header's order, is the only use of a numbered position.

    A long list may take several such lines.
    """
    complaints = []
    code = body(text)
    for table in ("KEYS", "ARGV"):
        line = re.compile(rf"^local ([\w, ]+) = ({table}\[\d+\](?:, {table}\[\d+\])*)$", re.M)
        bound = [
            (int(number), name)
            for names, values in line.findall(code)
            for name, number in zip(names.split(", "), re.findall(r"\d+", values), strict=False)
        ]
        fixed = [(p.number, p.name) for p in parameters(text) if p.table == table and not p.open_ended]
        if bound != fixed:
            complaints.append(f"{table} binds {bound}, the header has {fixed}")
        outside = re.findall(rf"\b{table}\[(\d+)\]", line.sub("", code))
        complaints += [f"{table}[{n}] outside such a line" for n in outside]
    return complaints


def use(text: str, name: str) -> list[str]:
    """Every name is used, and KEYS and ARGV beyond the fixed positions only where the header has `n..`."""
    complaints = []
    code = body(text)
    for table in ("KEYS", "ARGV"):
        mine = [p for p in parameters(text) if p.table == table]
        for p in mine:
            if not p.open_ended and len(re.findall(rf"\b{p.name}\b", code)) < 2:
                complaints.append(f"{p.name} is not used")
        open_ended = bool(mine) and mine[-1].open_ended
        dynamic = bool(re.search(rf"\b{table}\b(?!\[\d+\])", code))
        if dynamic != open_ended:
            complaints.append(f"{table} is {'' if dynamic else 'not '}used beyond its fixed positions")
    return complaints


def flags(text: str, name: str) -> list[str]:
    """A read says so, and only work of users is refused by a full Redis. `text` has its includes in place."""
    found = set(re.split("[=,]", text.split("\n", 1)[0])[1:])
    wanted = {"allow-oom"}
    if not commands(text) & WRITES:
        wanted = {"no-writes"}
    elif name in USERS_WORK:
        wanted = set()
    return [] if found == wanted else [f"flags {sorted(found)}, expected {sorted(wanted)}"]


# -- the body -----------------------------------------------------------------------------


def known_commands(text: str, name: str) -> list[str]:
    complaints = []
    for match in _CALL.finditer(body(text)):
        command = match[1].strip('"')
        if match[1] != f'"{command}"' or command not in READS | WRITES:
            complaints.append(f"{match[1]} is not one of the commands that a script may call")
        if command in {"HGETALL", "SMEMBERS"} and name not in WHOLE:
            complaints.append(f"{command} is bounded only by what WHOLE says")
        if command in {"LRANGE", "ZRANGE"} and name in RANKED:
            continue
        if command == "LRANGE":
            complaints.append("LRANGE is bounded only by what RANKED says")
        if command in PAGED and f'"{PAGED[command]}"' not in match[3]:
            complaints.append(f"{command} without {PAGED[command]} is not bounded")
    return complaints


def no_literal_key(text: str, name: str) -> list[str]:
    return [
        f"{match[1]} on the key {match[2]}"
        for match in _CALL.finditer(body(text))
        if match[2] and match[2].startswith(('"', "'"))
    ]


def no_built_text(text: str, name: str) -> list[str]:
    return [f"`{token}` builds text" for token in _TOKEN.findall(body(text)) if token in {"..", "[[", "'"}]


def no_globals(text: str, name: str) -> list[str]:
    """No name but locals, parameters, includes and a few of Lua's own; `redis.` only for its calls."""
    code = body(text)
    tokens = [token for token in _TOKEN.findall(code) if not token.startswith('"')]
    known = {*GLOBALS, *includes(text)}
    for pattern in (
        r"\blocal ([\w, ]+?)(?: =|$)",
        r"\bfunction \w*\(([^)]*)\)",
        r"\bfor ([\w, ]+?) (?:=|in)",
    ):
        for names in re.findall(pattern, code, re.M):
            known |= {n.strip() for n in names.split(",")}
    known |= set(re.findall(r"\blocal function (\w+)", code))
    complaints = []
    for before, token in zip(["", *tokens], tokens, strict=False):
        if before == ":" and token in METHODS:
            continue
        if before == "." or not re.match(r"[A-Za-z_]", token) or token in _LUA:
            continue
        if token not in known:
            complaints.append(f"{token} is a global")
    complaints += [
        f":find({arguments}) looks for a pattern"
        for arguments in re.findall(r":find\(([^()]*)\)", code)
        if not arguments.endswith(", 1, true")
    ]
    complaints += [f"redis.{n}" for n in re.findall(r"\bredis\.(\w+)", code) if n not in REDIS]
    return complaints


_LUA = {
    *("and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil"),
    *("not", "or", "repeat", "return", "then", "true", "until", "while"),
}


def bounded_unpack(text: str, name: str) -> list[str]:
    """Slices of at most 1000, or a tail whose bound TAILS gives; Lua refuses 8000, after what was written."""
    complaints = []
    for arguments in re.findall(r"unpack\(((?:[^()]|\([^()]*\))*)\)", body(text)):
        table, _, rest = arguments.partition(", ")
        first = rest.partition(",")[0]
        slice_of = re.fullmatch(
            rf"{re.escape(first)}, math\.min\({re.escape(first)} \+ (\d+), #{table}\)", rest
        )
        if slice_of and int(slice_of[1]) < 1000:
            continue
        if not rest or name not in TAILS:
            complaints.append(f"unpack({arguments}) is neither a slice of 1000 nor a tail of TAILS")
    return complaints


def length(text: str, name: str) -> list[str]:
    lines = text.count("\n")
    return [] if lines <= MAX_LINES else [f"{lines} lines, at most {MAX_LINES}"]


# -- lib/ ---------------------------------------------------------------------------------


def pure_lib(text: str, name: str) -> list[str]:
    """One local function named like the file, described, that takes everything it uses as parameters."""
    complaints = []
    code = re.sub(r"--.*", "", text)
    tops = [line for line in code.splitlines() if line and not line.startswith((" ", "end"))]
    match = re.fullmatch(r"local function (\w+)\(([\w, ]*)\)", tops[0] if tops else "")
    if not match or len(tops) > 1 or match[1] != name:
        complaints.append(f"lib/{name}.lua is one `local function {name}(…)`, not {tops}")
    elif not text.startswith(f"-- {name}({match[2]}): "):
        complaints.append(f"the first line is not `-- {name}({match[2]}): …`")
    complaints += [
        f"{table} is used, not passed" for table in ("KEYS", "ARGV") if re.search(rf"\b{table}\b", code)
    ]
    if includes(text):
        complaints.append("a lib includes no other")
    return complaints


SCRIPT_RULES: list[Rule] = [
    shebang, sentence, fields, replay, roles, numbering, binding, use,
    known_commands, no_literal_key, no_built_text, no_globals, bounded_unpack, length,
]  # fmt: skip
LIB_RULES: list[Rule] = [
    pure_lib,
    known_commands,
    no_literal_key,
    no_built_text,
    no_globals,
    bounded_unpack,
    length,
]
