"""Writes the reference of the scripts, for lua/README.md and docs/scripts.md, from their headers and code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

import lua_rules
from script_cases import CASES

from sidekiq_lua.store.contract import Contract, Parameter
from sidekiq_lua.store.scripts import library, script_dir

from . import callers, roles, rules
from .keyspace_table import key_names, name_of

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "lua" / "README.md"
SCRIPTS = ROOT / "docs" / "scripts.md"
ACL = ROOT / "docs" / "acl.md"
BEGIN = "<!-- From here to the end: written by `tools/audit docs`; edit the headers instead. -->"

INTRODUCTION = (Path(__file__).parent / "scripts.md").read_text("utf-8")


def subjects() -> list[rules.Subject]:
    return [rules.of(name, Path(str(script_dir()))) for name in library()]


def scripts_page() -> str:
    """The text of docs/scripts.md."""
    called = callers.callers(ROOT / "sidekiq_lua", library())
    return INTRODUCTION + "".join(_section(subject, called) for subject in subjects())


def readme() -> str:
    """The text of lua/README.md: what was written by hand, and the reference."""
    by_hand = README.read_text("utf-8").partition(BEGIN)[0].rstrip()
    return f"{by_hand}\n\n{BEGIN}\n\n{_key_table()}\n{_script_table()}"


# -- one script --------------------------------------------------------------------------


def _section(subject: rules.Subject, called: Mapping[str, list[str]]) -> str:
    contract = subject.contract
    flags = ", ".join(f"`{flag}`" for flag in sorted(contract.flags)) or "none: refused when Redis is full"
    lines = [
        f"\n## {contract.name}\n",
        f"{contract.summary}\n",
        *_parameters(contract),
        f"- **Returns** {contract.returns}",
        f"- **Cost** {contract.bound}",
        f"- **Flags** {flags}",
        f"- **Run twice** {contract.replay}",
        f"- **Killed half-way** {halfway(subject)}",
        f"- **Invariant** {contract.invariant}",
        f"- **Roles** {', '.join(contract.roles)}",
        f"- **Called by** {', '.join(called.get(contract.name, [])) or 'nobody'}",
    ]
    return "\n".join(lines) + "\n"


def _parameters(contract: Contract) -> list[str]:
    names = redis_names(contract)
    rows = [
        f"| KEYS {key.position} | `{key.name}` | {key.kind} | {key.access} "
        f"| {_cell(_joined(names[key.name]))} | {_cell(key.meaning)} |"
        for key in contract.keys
    ]
    rows += [
        f"| ARGV {argument.position} | `{argument.name}` | | | | {_cell(argument.meaning)} |"
        for argument in contract.argv
    ]
    head = ["| position | name | type | access | in Redis | what |", "|---|---|---|---|---|---|"]
    return [*head, *rows, ""] if rows else []


def _joined(patterns: list[str]) -> str:
    return ", ".join(f"`{pattern}`" for pattern in patterns)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def redis_names(contract: Contract) -> dict[str, list[str]]:
    """What each parameter of KEYS is called in Redis, after the ordinary call of tests/script_cases.py."""
    found: dict[str, list[str]] = {key.name: [] for key in contract.keys}
    case = CASES.get(contract.name)
    for position, key in enumerate(case.call.keys if case else (), 1):
        parameter = contract.key(position)
        assert parameter, f"tests/script_cases.py gives {contract.name} more keys than it declares"
        pattern = name_of(
            key.decode() if isinstance(key, bytes) else str(key), parameter.name, parameter.meaning
        )
        if pattern and pattern not in found[parameter.name]:
            found[parameter.name].append(pattern)
    return found


def halfway(subject: rules.Subject) -> str:
    """What is there if one of its commands fails, and what to do after a lost reply."""
    writes = [touch for touch in subject.flow.touches if touch.writes]
    steps = [f"{touch.command} {touch.parameter}{'' if touch.raises else '*'}" for touch in writes]
    steps = [step for step, _ in groupby(steps)]
    if not steps:
        return "Nothing is written; after a lost reply ask again."
    text = f"Writes {'in this order: ' if len(steps) > 1 else ''}{', '.join(steps)}."
    late = {key: why for (script, key), why in lua_rules.LATE.items() if script == subject.script.name}
    for why, keys in _grouped(late):
        text += f" A foreign type at {' or '.join(keys)} can end it late: {why}."
    return f"{text} {_after_a_lost_reply(subject.contract.replay)}"


def _grouped(late: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    for why in dict.fromkeys(late.values()):
        yield why, [key for key in late if late[key] == why]


def _after_a_lost_reply(replay: str) -> str:
    if replay.startswith("repeats"):
        return "After a lost reply it is not sent again by itself, since that repeats."
    return "After a lost reply it may be sent again."


# -- tables for lua/README.md --------------------------------------------------------------


def _key_table() -> str:
    """Every key, and the scripts that write and read it."""
    writes: dict[str, list[str]] = {}
    reads: dict[str, list[str]] = {}
    for subject in subjects():
        for key, patterns in redis_names(subject.contract).items():
            access = next(p.access for p in subject.contract.keys if p.name == key)
            for pattern in patterns:
                into = (writes if access == "rw" else reads).setdefault(pattern, [])
                if subject.script.name not in into:
                    into.append(subject.script.name)
    lines = [
        "## Every key\n",
        "Spelled by `sidekiq_lua/store/keys.py` alone. Who touches it: after the calls of "
        "`tests/script_cases.py`; a script\nwhose key may be one of several, such as `entries`, stands at "
        "the one that is used there.\n",
        "| key | type | what | written by | only read by |",
        "|---|---|---|---|---|",
    ]
    for key in key_names():
        lines.append(
            f"| `{_cell(key.pattern)}` | {key.kind} | {_cell(key.meaning)} "
            f"| {', '.join(writes.get(key.pattern, []))} | {', '.join(reads.get(key.pattern, []))} |"
        )
    return "\n".join(lines) + "\n"


def _script_table() -> str:
    lines = [
        "## Every script\n",
        "`[r]` behind a key: it is only read; the others are written. `…`: one or more. Their arguments, "
        "replies and callers:\n[docs/scripts.md](../docs/scripts.md).\n",
        "| script | what it does | keys | cost | run twice | roles |",
        "|---|---|---|---|---|---|",
    ]
    for subject in subjects():
        c = subject.contract
        keys = ", ".join(_short(key) for key in c.keys)
        lines.append(
            f"| [{c.name}]({c.name}.lua) | {_cell(c.summary)} | {keys} | {_cell(c.bound)} "
            f"| {_cell(c.replay)} | {', '.join(c.roles)} |"
        )
    return "\n".join(lines) + "\n"


def _short(key: Parameter) -> str:
    return f"`{key.name}`{'…' if key.open_ended else ''}{' [r]' if key.access == 'r' else ''}"


def stale() -> list[rules.Finding]:
    """Which of the written files differ from what would be written now."""
    found = []
    for path, text in ((README, readme()), (SCRIPTS, scripts_page()), (ACL, roles.page())):
        if not path.exists() or path.read_text("utf-8") != text:
            name = path.relative_to(ROOT).as_posix()
            found.append(rules.Finding(name, "docs", "differs from the headers: run `tools/audit docs`"))
    return found


def write() -> list[Path]:
    for path, text in ((README, readme()), (SCRIPTS, scripts_page()), (ACL, roles.page())):
        path.write_text(text, "utf-8")
    return [README, SCRIPTS, ACL]


def unknown_keys() -> list[rules.Finding]:
    """Keys of the cases that `store/keys.py` does not spell, or spells without saying what they are."""
    found = [
        rules.Finding(
            "sidekiq_lua/store/keys.py", "key_names", f"{key.pattern} needs a type and a description"
        )
        for key in key_names()
        if not re.fullmatch(r"(string|list|set|zset|hash)( .*)?", key.kind) or not key.meaning
    ]
    for name, case in CASES.items():
        for key in map(str, case.call.keys):
            if not name_of(key):
                found.append(
                    rules.Finding(
                        f"lua/{name}.lua", "key_names", f"{key} is not one of store/keys.py's names"
                    )
                )
    return found
