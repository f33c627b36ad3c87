"""Reads lua/*.lua. A script's header is its signature: it names KEYS and ARGV in order.

:func:`library` reads all scripts once; :meth:`Script.call` takes the values by those names, so a wrong
or missing name is a TypeError before Redis is asked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from .calls import Call, keep

_INCLUDE = re.compile(r"-- include (lib/\w+\.lua)")
_PARAMETER = re.compile(r"-- (KEYS|ARGV|    )  (\d+)(\.\.)? +(\w+) ")
_FIELD = re.compile(r"-- (RETURNS|BOUND|REPLAY|ROLES|INVARIANT) +(\S.*)")
_FLAGS = re.compile(r"#!lua(?: flags=([\w,-]+))?")
_FAILED_LINE = re.compile(r"user_script:(\d+)")


@dataclass(frozen=True)
class Parameters:
    """The names under KEYS or ARGV; the last one takes a list if `open_ended`."""

    names: tuple[str, ...] = ()
    open_ended: bool = False


@dataclass(frozen=True)
class Script:
    """One script as Redis is sent it, with its includes in place."""

    name: str
    text: str
    sha: str
    flags: frozenset[str]
    keys: Parameters
    argv: Parameters
    header: Mapping[str, str]
    origins: tuple[str, ...] = field(repr=False)
    """`file:line` of each line of the text."""
    call: Callable[..., Call[Any]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "call", _signature(self))

    @property
    def reads_only(self) -> bool:
        return "no-writes" in self.flags

    def where(self, error: str) -> str:
        """`file:line` of an error that Redis reports for this script."""
        line = _FAILED_LINE.search(error)
        return self.origins[int(line[1]) - 1] if line else f"{self.name}.lua"


def script_dir() -> Traversable:
    """lua/ lies inside the package in a wheel and beside it in a checkout."""
    packaged = files("sidekiq_lua") / "lua"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "lua"


@cache
def library() -> Mapping[str, Script]:
    """All scripts by name, read once for the process."""
    names = sorted(p.name.removesuffix(".lua") for p in script_dir().iterdir() if p.name.endswith(".lua"))
    return {name: read(name) for name in names}


def read(name: str, root: Traversable | None = None) -> Script:
    """Read one script; a header that breaks the form is a ValueError that names the file."""
    root = root or script_dir()
    lines: list[str] = []
    origins: list[str] = []
    header: dict[str, str] = {}
    parameters: dict[str, list[tuple[int, str, bool]]] = {"KEYS": [], "ARGV": []}
    table = ""
    for number, line in enumerate((root / f"{name}.lua").read_text("utf-8").splitlines(), 1):
        if include := _INCLUDE.fullmatch(line):
            body = (root / include[1]).read_text("utf-8").splitlines()
            lines += body
            origins += (f"{include[1]}:{n}" for n in range(1, len(body) + 1))
            continue
        if parameter := _PARAMETER.match(line):
            table = parameter[1].strip() or table
            parameters[table].append((int(parameter[2]), parameter[4], bool(parameter[3])))
        elif entry := _FIELD.match(line):
            header[entry[1]] = entry[2]
        lines.append(line)
        origins.append(f"{name}.lua:{number}")
    flags = _FLAGS.fullmatch(lines[0])
    if not flags:
        raise ValueError(f"{name}.lua: line 1 is not #!lua [flags=…]")
    text = "\n".join(lines) + "\n"
    return Script(
        name=name,
        text=text,
        sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(),
        flags=frozenset((flags[1] or "").split(",")) - {""},
        keys=_parameters(name, parameters["KEYS"]),
        argv=_parameters(name, parameters["ARGV"]),
        header=header,
        origins=tuple(origins),
    )


def _parameters(script: str, found: list[tuple[int, str, bool]]) -> Parameters:
    for position, (number, name, open_ended) in enumerate(found, 1):
        if number != position or (open_ended and position != len(found)):
            raise ValueError(f"{script}.lua: parameter {name} is out of order")
    return Parameters(tuple(name for _, name, _ in found), bool(found) and found[-1][2])


def _signature(script: Script) -> Callable[..., Call[Any]]:
    """A function with the script's parameters as keyword arguments, so that a call by name costs nothing."""
    names = [*script.keys.names, *script.argv.names]
    keys = _tuple(script.keys)
    argv = _tuple(script.argv)
    source = (
        f"def {script.name}({'*, ' if names else ''}{''.join(f'{n}, ' for n in names)}read=keep):\n"
        f"    return Call(script, {keys}, {argv}, read)\n"
    )
    scope: dict[str, Any] = {"Call": Call, "script": script, "keep": keep}
    exec(source, scope)  # the names come from lua/, which the contract test checks
    made: Callable[..., Call[Any]] = scope[script.name]
    return made


def _tuple(parameters: Parameters) -> str:
    *fixed, last = parameters.names or ("",)
    if not last:
        return "()"
    return f"({''.join(f'{n}, ' for n in fixed)}{'*' if parameters.open_ended else ''}{last},)"
