"""The trace gate: does what a script did agree with its header?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sidekiq_lua.store.contract import Contract, Parameter

from .monitor import KeyFlags, Ran

FIXED = 3
EACH = 6
"""The most commands that a script needs beside its members, and for each key and member."""

_FIGURE = re.compile(r"(?<!in )(?<![\w.,])(\d[\d,]*)\b(?! *(?:MB|KB|ms|to \d))")


def parameters(ran: Ran, contract: Contract, key: bytes) -> list[Parameter]:
    """The parameters under which a call declares this key."""
    found = [contract.key(n) for n, declared in enumerate(ran.keys, 1) if declared == key]
    return [parameter for parameter in found if parameter]


def limit(contract: Contract, keys: Sequence[bytes], argv: Sequence[bytes]) -> int:
    """How many commands BOUND allows this call.

    The figures in it, as far as the call brings arguments for them, the values of the arguments that it
    names, and the keys.
    """
    figures = sum(int(figure.replace(",", "")) for figure in _FIGURE.findall(contract.bound))
    if re.search(r"\beach\b|\bas many\b", contract.bound):
        figures += len(argv)
    named = 0
    for argument in contract.argv:
        # `bytes` bounds sizes; each member has one at least.
        if argument.name != "bytes" and re.search(rf"\b{argument.name}\b", contract.bound):
            value = argv[argument.number - 1] if argument.number <= len(argv) else b""
            named += int(value) if value.isdigit() and not argument.open_ended else 0
    return FIXED + EACH * (len(keys) + min(figures, len(argv)) + named)


def problems(ran: Ran, contract: Contract, flags: KeyFlags) -> list[str]:
    """What this call did beyond its header."""
    found = []
    for command in ran.inner:
        name = command[0].decode()
        for key, writes in flags.keys(command):
            declared = parameters(ran, contract, key)
            shown = key.decode("utf-8", "backslashreplace")
            if not declared:
                found.append(f"{name} {shown}: the key is not among the KEYS of this call")
            elif writes and all(parameter.access == "r" for parameter in declared):
                found.append(f"{name} {shown}: a write, and the header declares {declared[0].name} r")
    most = limit(contract, ran.keys, ran.argv)
    if len(ran.inner) > most:
        found.append(f"{len(ran.inner)} commands, and BOUND allows {most}: {contract.bound}")
    return [f"lua/{ran.script.name}.lua: {problem}" for problem in dict.fromkeys(found)]
