"""The contract that a script's header states, as data: for the audit, the reference, and who may do what.

The loader (`scripts.py`) reads only what a call needs; this reads the whole header, and is strict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from .scripts import Script, library

Access = Literal["r", "rw"]
Table = Literal["KEYS", "ARGV"]

FIELDS = ("RETURNS", "BOUND", "REPLAY", "ROLES", "INVARIANT")
_PARAMETER = re.compile(r"-- (KEYS|ARGV|    )  (\d+)(\.\.)? +(\w+) +(\S.*)")
_TYPE = "(?:string|list|set|zset|hash|stream)"
_KEY = re.compile(rf"({_TYPE}(?:/{_TYPE})*) +(rw|r) +(\S.*)")
_FIELD = re.compile(r"-- ([A-Z]+) +(\S.*)")
_MORE = re.compile(r"-- {6,}(\S.*)")


@dataclass(frozen=True)
class Parameter:
    """One position of KEYS or ARGV, or all from there on.

    `kind` and `access` are those of a key; where `n..` has keys of two types, `kind` is "hash/string".
    """

    table: Table
    number: int
    name: str
    open_ended: bool
    meaning: str
    kind: str = ""
    access: Access = "r"

    @property
    def position(self) -> str:
        return f"{self.number}.." if self.open_ended else str(self.number)


@dataclass(frozen=True)
class Contract:
    """A header. Texts are on one line each; `summary` is its first sentence or question."""

    name: str
    flags: frozenset[str]
    summary: str
    keys: tuple[Parameter, ...]
    argv: tuple[Parameter, ...]
    returns: str
    bound: str
    replay: str
    roles: tuple[str, ...]
    invariant: str

    @property
    def signature(self) -> str:
        """The call in Python: its names in the order of the header."""
        stars = [f"{p.name}=[…]" if p.open_ended else f"{p.name}=…" for p in (*self.keys, *self.argv)]
        return f"{self.name}({', '.join(stars)})"

    def key(self, position: int) -> Parameter | None:
        """The parameter at a position of KEYS, from 1 on; None beyond those that are declared."""
        if position <= len(self.keys):
            return self.keys[position - 1]
        return self.keys[-1] if self.keys and self.keys[-1].open_ended else None


def contract(script: Script) -> Contract:
    """The header of one script. Raises ValueError that names the file, the line and the form."""
    return parse(script.name, script.text)


def parse(name: str, text: str) -> Contract:
    """The same of a text."""
    lines = text.splitlines()
    summary: list[str] = []
    fields: dict[str, str] = {}
    parameters: list[Parameter] = []
    table: Table | None = None
    open_field = ""
    for number, line in enumerate(lines[1:], 2):
        if not line.startswith("--"):
            break
        if line == "--":
            open_field = ""
        elif (found := _PARAMETER.fullmatch(line)) and (found[1].strip() or table):
            table = "KEYS" if found[1] == "KEYS" else "ARGV" if found[1] == "ARGV" else table
            assert table
            parameters.append(_parameter(f"lua/{name}.lua:{number}", table, found))
            open_field = ""
        elif found := _FIELD.fullmatch(line):
            table, open_field = None, found[1]
            fields[open_field] = found[2]
        elif open_field and (found := _MORE.fullmatch(line)):
            fields[open_field] += " " + found[1]
        elif table and (found := _MORE.fullmatch(line)):
            parameters[-1] = _longer(parameters[-1], found[1])
        elif not parameters and not fields:
            summary.append(line.removeprefix("--").strip())
        else:
            raise ValueError(f"lua/{name}.lua:{number}: this line belongs to no field of the header: {line}")
    if missing := [field for field in FIELDS if field not in fields]:
        raise ValueError(f"lua/{name}.lua: the header has no {', '.join(missing)}")
    flags = lines[0].partition("flags=")[2] if lines else ""
    return Contract(
        name=name,
        flags=frozenset(filter(None, flags.split(","))),
        summary=" ".join(summary),
        keys=tuple(p for p in parameters if p.table == "KEYS"),
        argv=tuple(p for p in parameters if p.table == "ARGV"),
        returns=fields["RETURNS"],
        bound=fields["BOUND"],
        replay=fields["REPLAY"],
        roles=tuple(fields["ROLES"].split(", ")),
        invariant=fields["INVARIANT"],
    )


def _parameter(where: str, table: Table, found: re.Match[str]) -> Parameter:
    number, open_ended, name, rest = int(found[2]), bool(found[3]), found[4], found[5]
    if table == "ARGV":
        return Parameter(table, number, name, open_ended, rest)
    key = _KEY.fullmatch(rest)
    if not key:
        raise ValueError(
            f"{where}: the key {name} needs its type, then r (only read) or rw, then what it is; "
            "`tools/audit fix` writes r and rw for you"
        )
    return Parameter(table, number, name, open_ended, key[3], key[1], "rw" if key[2] == "rw" else "r")


def _longer(parameter: Parameter, more: str) -> Parameter:
    return Parameter(**{**vars(parameter), "meaning": f"{parameter.meaning} {more}"})


@cache
def contracts() -> Mapping[str, Contract]:
    """The contracts of all scripts by name."""
    return {name: contract(script) for name, script in library().items()}
