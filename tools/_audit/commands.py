"""What a command does to which of its words: the part of Redis's own tables that scripts use.

tests/audit/test_commands.py compares it with COMMAND GETKEYSANDFLAGS of a real server.
"""

from __future__ import annotations

from collections.abc import Sequence

import lua_rules as rules

ANY = "any"
"""The type of commands that work on keys of every type, and so never raise WRONGTYPE."""

_ANY = {
    "COPY",
    "DEL",
    "EXISTS",
    "EXPIRE",
    "PERSIST",
    "PEXPIRE",
    "PTTL",
    "RENAME",
    "SET",
    "TTL",
    "TYPE",
    "UNLINK",
}
_ALL = {"DEL", "EXISTS", "MGET", "SINTER", "SUNION", "TOUCH", "UNLINK"}
_TWO = {"COPY", "LMOVE", "RENAME", "RPOPLPUSH", "SMOVE"}
_FIRST_LETTER = {"L": "list", "S": "set", "Z": "zset", "H": "hash"}
_LISTS = {"RPOP", "RPUSH", "RPUSHX", "RPOPLPUSH"}
_STRINGS = {"SETBIT", "SETEX", "SETNX", "SETRANGE", "STRLEN"}
NO_KEY = {"PUBLISH"}


def kind(command: str) -> str:
    """The type of key that a command is for."""
    if command in _ANY:
        return ANY
    if command in _LISTS:
        return "list"
    return "string" if command in _STRINGS else _FIRST_LETTER.get(command[0], "string")


def keys(command: str, words: Sequence[object]) -> list[int]:
    """Which of the words behind the command's name are keys."""
    if command in NO_KEY:
        return []
    if command in _ALL:
        return list(range(len(words)))
    return [0, 1][: len(words)] if command in _TWO else [0]


def writes(command: str, key: int = 0) -> bool:
    """Whether a command may change this one of its keys."""
    return command not in rules.READS and not (command == "COPY" and key == 0)
