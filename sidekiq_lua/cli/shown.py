"""Commands of Redis in words: what `slowlog` and `trace` print of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .report import printable

if TYPE_CHECKING:
    from ..store.heard import Called

WIDTH = 60
"""Characters of one word that are shown."""


def word(value: bytes) -> str:
    """One word of a command, cut, without control characters."""
    text = printable(value.decode("utf-8", "replace"))
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}…"


def sentence(called: Called) -> str:
    """`push queues queue:default  jid 1234`; another command with its words."""
    jids = f"  jid {', '.join(map(printable, called.jids))}" if called.jids else ""
    if called.script or called.sha:
        name = called.script.name if called.script else f"script {called.sha}"
        verb = [called.command] if called.command == "SCRIPT LOAD" else []
        return " ".join([*verb, name, *map(word, called.keys)]) + jids
    return " ".join([called.command, *map(word, called.rest)]) + jids


def plain(called: Called) -> dict[str, Any]:
    """The same for JSON."""
    script = called.script
    return {
        "command": called.command,
        "script": script.name if script else None,
        "version": script.version if script else None,
        "hash": called.sha or None,
        "keys": [key.decode("utf-8", "replace") for key in called.keys],
        "arguments": [value.decode("utf-8", "replace") for value in called.rest],
        "jids": called.jids,
    }
