"""Every Redis key as `store/keys.py` spells and describes it, and which one a parameter stands for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from sidekiq_lua.store import Keys


class KeyName(NamedTuple):
    """`name` is what keys.py calls it; `pattern` has the words that vary in capitals: queue:NAME."""

    name: str
    pattern: str
    kind: str
    meaning: str

    def fits(self, key: str) -> bool:
        parts = re.split(r"([A-Z]+)", self.pattern)
        return bool(re.fullmatch("".join(".+" if part.isupper() else re.escape(part) for part in parts), key))


_LINE = re.compile(r'self\.(\w+) = f"\{prefix\}([^"]+)"(?:  # (\w+),? ?(.*))?')


@cache
def key_names() -> tuple[KeyName, ...]:
    """In the order of the file; what is more special comes before what is less so."""
    found = [
        KeyName(name, pattern, kind, meaning.strip().removeprefix("of "))
        for name, pattern, kind, meaning in _LINE.findall(inspect.getsource(Keys.__init__))
    ]
    for name, method in inspect.getmembers(Keys, inspect.isfunction):
        if name.startswith("_"):
            continue
        described = " ".join((inspect.getdoc(method) or "").partition("\n\n")[0].split())
        kind, _, meaning = re.sub(r",? `[^` ]*[:|-][^` ]*`", "", described).partition(": ")
        found.append(KeyName(name, _pattern(method, described), kind.lower(), meaning.rstrip(".")))
    return tuple(sorted(found, key=lambda key: (not key.pattern[0].islower(), key.pattern)))


def _pattern(method: Callable[..., str], described: str) -> str:
    """The pattern that the docstring gives, as for keys with times in them; else what the method makes."""
    if found := re.search(r"`([^` ]*[A-Z]{1,}[^` ]*[:|-][^` ]*)`", described):
        return found[1]
    words = [word.upper() for word in inspect.signature(method).parameters if word != "self"]
    return method(Keys(), *words)


def name_of(key: str, parameter: str = "", meaning: str = "") -> str:
    """The pattern of a key; of several that fit, the one that says most, or sounds like the parameter."""
    said = _stems(meaning)

    def rank(name: KeyName) -> tuple[int, bool, int]:
        letters = len(re.sub("[A-Z]", "", name.pattern))
        return letters, name.name == parameter, len(said & _stems(f"{name.name} {name.meaning}"))

    fitting = [name for name in key_names() if name.fits(key)]
    return max(fitting, key=rank).pattern if fitting else ""


def _stems(text: str) -> set[str]:
    return {word[:6] for word in re.findall(r"[a-z]{5,}", text.lower())}
