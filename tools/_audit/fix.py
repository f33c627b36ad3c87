"""Writes what the code does with each key, `r` or `rw`, into the headers of scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_TYPE = "(?:string|list|set|zset|hash|stream)"
_KEY = re.compile(rf"(-- (?:KEYS|    )  \d+(?:\.\.)? +(\w+) +)({_TYPE}(?:/{_TYPE})*)( +)((?:rw|r) +)?(\S.*)")


def with_access(text: str, access: Mapping[str, str]) -> str:
    """The same script with a word of access behind the type of each key; columns stay aligned."""
    lines = text.splitlines()
    first = next((n for n, line in enumerate(lines) if line.startswith("-- KEYS")), None)
    if first is None:
        return text
    last = next(n for n in range(first + 1, len(lines)) if not lines[n].startswith("--     "))
    found = {n: match for n in range(first, last) if (match := _KEY.fullmatch(lines[n]))}
    width = max((len(match[3]) for match in found.values()), default=0)
    for n in range(first, last):
        if match := found.get(n):
            word = access.get(match[2], (match[5] or "r").strip())
            lines[n] = f"{match[1]}{match[3]:{width}}  {word:2}  {match[6]}"
    return "\n".join(lines) + "\n"


def write(path: Path, access: Mapping[str, str]) -> bool:
    """Mend one file; answers whether it changed."""
    before = path.read_text("utf-8")
    after = with_access(before, access)
    if after != before:
        path.write_text(after, "utf-8")
    return after != before
