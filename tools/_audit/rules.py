"""The static gate: what every file of lua/ keeps, as findings with a place and a rule's name.

Rules that read a file's text are in tests/lua_rules.py. Those here read its syntax tree, or more files than
one. tests/audit/bad/ has a script for each that it must refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import lua_rules as text_rules
from tree_sitter import Node

from sidekiq_lua.store.contract import Contract, parse
from sidekiq_lua.store.scripts import Script, read

from . import commands
from .flow import Flow
from .tree import arguments, every, line, literal, parts, redis_call, text
from .tree import parse as parse_lua


class Finding(NamedTuple):
    where: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: [{self.rule}] {self.message}"


class Subject(NamedTuple):
    """One script with all that was read of it."""

    script: Script
    contract: Contract
    tree: Node
    flow: Flow

    def at(self, number: int) -> str:
        return f"lua/{self.script.origins[number - 1]}"


TEXT_RULES = [*text_rules.SCRIPT_RULES, text_rules.flags]
"""Of tests/lua_rules.py; tests/lua/test_contract.py shows each what it must refuse."""


def examine(root: Path) -> list[Finding]:
    """All findings on one folder of scripts."""
    found: list[Finding] = []
    included: set[str] = set()
    for path in sorted(root.glob("*.lua")):
        found += script(path.stem, root)
        included |= set(text_rules.includes(path.read_text("utf-8")))
    for path in sorted((root / "lib").glob("*.lua")):
        found += lib(path)
        if path.stem not in included:
            found.append(Finding(f"lua/lib/{path.name}", "unused_lib", "no script includes it"))
    return found


def script(name: str, root: Path) -> list[Finding]:
    """The findings on one script and on what its includes do in it."""
    source = (root / f"{name}.lua").read_text("utf-8")
    where = f"lua/{name}.lua"
    found = [
        Finding(where, rule.__name__, complaint)
        for rule in text_rules.SCRIPT_RULES
        for complaint in rule(source, name)
    ]
    found += plain_form(source, where)
    try:
        subject = of(name, root)
    except (ValueError, FileNotFoundError) as error:
        return found or [Finding(where, "header", str(error))]
    found += [Finding(where, "flags", c) for c in text_rules.flags(subject.script.text, name)]
    return [*found, *(finding for rule in TREE_RULES for finding in rule(subject))]


def of(name: str, root: Path) -> Subject:
    """Read one script. Raises ValueError for a header that cannot be read."""
    loaded = read(name, root)
    contract = parse(name, loaded.text)
    tree = parse_lua(loaded.text)
    return Subject(loaded, contract, tree, Flow(contract, tree))


def lib(path: Path) -> list[Finding]:
    source = path.read_text("utf-8")
    where = f"lua/lib/{path.name}"
    found = [
        Finding(where, rule.__name__, complaint)
        for rule in text_rules.LIB_RULES
        for complaint in rule(source, path.stem)
    ]
    return found + plain_form(source, where)


# -- rules of the syntax tree ------------------------------------------------------------


_READS_TEXT = (":byte", ":find", ":sub")
"""To compare and to search; keys are followed by another rule, and come from KEYS alone."""


def plain_form(source: str, where: str) -> list[Finding]:
    """Only Lua that the other rules read right: no way round `redis.call("COMMAND", key, …)`."""
    tree = parse_lua(source)
    found: list[Finding] = []

    def refuse(node: Node, message: str) -> None:
        found.append(Finding(f"{where}:{line(node)}", "plain_form", message))

    for node in every(tree):
        if node.type == "ERROR" or node.is_missing:
            refuse(node, f"this is no Lua: {text(node)[:40]!r}")
        elif node.type == "identifier" and text(node) == "redis" and not _is_plain_use(node):
            refuse(node, "`redis` is only for redis.call(…) and its like, written out in place")
        elif redis_call(node):
            if not text(node.child_by_field_name("arguments")).startswith("("):
                refuse(node, "redis.call without parentheses")
            elif not arguments(node) or literal(arguments(node)[0]) is None:
                refuse(node, 'the command is not written out as redis.call("COMMAND", …)')
        elif node.type == "method_index_expression" and not text(node).endswith(_READS_TEXT):
            refuse(node, f"{text(node)}: a script makes no text")
        elif node.type in {"goto_statement", "label_statement"}:
            refuse(node, "a jump cannot be followed")
        elif node.type == "comment" and text(node).startswith("--["):
            refuse(node, "a comment of more lines is written with -- in each")
    return found


def _is_plain_use(node: Node) -> bool:
    """`redis.NAME(…)`: the name is called where it stands."""
    index = node.parent
    if index is None or index.type != "dot_index_expression" or index.child_by_field_name("table") != node:
        return False
    call = index.parent
    return call is not None and call.type == "function_call" and call.child_by_field_name("name") == index


def keys(subject: Subject) -> Iterator[Finding]:
    """Every key of every command comes from KEYS, at a position that the header declares."""
    return _complaints(subject, "keys")


def no_late_failure(subject: Subject) -> Iterator[Finding]:
    """After the first write nothing can fail, but for what LATE names: Redis does not roll back."""
    for complaint in subject.flow.complaints:
        if complaint.rule == "late" and (subject.script.name, complaint.key) not in text_rules.LATE:
            yield Finding(subject.at(complaint.line), "no_late_failure", complaint.message)


def _complaints(subject: Subject, rule: str) -> Iterator[Finding]:
    for complaint in subject.flow.complaints:
        if complaint.rule in {rule, "form"}:
            yield Finding(subject.at(complaint.line), rule, complaint.message)


def access(subject: Subject) -> Iterator[Finding]:
    """A key is declared r if it is only read and rw if it is written, and some command touches it."""
    does = accesses(subject)
    for key in subject.contract.keys:
        where = f"lua/{subject.script.name}.lua"
        if key.name not in does:
            yield Finding(
                where, "access", f"no command touches the key {key.name}: take it out of the header"
            )
        elif does[key.name] != key.access:
            doing = "writes" if does[key.name] == "rw" else "only reads"
            yield Finding(
                where,
                "access",
                f"{key.name} is declared {key.access}, but the script {doing} it: "
                f"declare {does[key.name]} (`tools/audit fix`)",
            )


def accesses(subject: Subject) -> dict[str, str]:
    """What the code does with each parameter of KEYS: r or rw."""
    found: dict[str, str] = {}
    for touch in subject.flow.touches:
        if touch.writes or touch.parameter not in found:
            found[touch.parameter] = "rw" if touch.writes else "r"
    return found


def key_types(subject: Subject) -> Iterator[Finding]:
    """A command is for keys of the type that the header declares."""
    for touch in subject.flow.touches:
        key = next(k for k in subject.contract.keys if k.name == touch.parameter)
        if touch.kind not in {commands.ANY, *key.kind.split("/")}:
            yield Finding(
                subject.at(touch.line),
                "key_types",
                f"{touch.command} is for a {touch.kind}, and {key.name} is declared a {key.kind}",
            )


def returns(subject: Subject) -> Iterator[Finding]:
    """Words such as "OK" that the code returns are those of RETURNS."""
    stated = set(re.findall(r'"([A-Z_]+)"', subject.contract.returns))
    literals = {literal(node) for node in every(subject.tree) if node.type == "string"}
    where = f"lua/{subject.script.name}.lua"
    for word in sorted(stated - literals):
        yield Finding(where, "returns", f'RETURNS names "{word}", which the code never returns')
    for statement in (node for node in every(subject.tree) if node.type == "return_statement"):
        for node in _results(statement):
            word = literal(node)
            if word and re.fullmatch("[A-Z_]+", word) and word not in stated:
                message = f'"{word}" is returned, and RETURNS does not name it'
                yield Finding(subject.at(line(node)), "returns", message)


def _results(node: Node) -> Iterator[Node]:
    for part in parts(node):
        if part.type == "string":
            yield part
        elif part.type != "function_call":
            yield from _results(part)


Rule = Callable[[Subject], Iterator[Finding]]
TREE_RULES: list[Rule] = [keys, no_late_failure, access, key_types, returns]
OWN_NAMES = ["header", "plain_form", "unused_lib", *(rule.__name__ for rule in TREE_RULES)]
