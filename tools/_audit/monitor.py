"""Reads MONITOR: which script ran which commands, and which of their words are keys, as the server says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from sidekiq_lua.store import heard
from sidekiq_lua.store.scripts import Script

_VARIES = {b"BITFIELD", b"SET", b"SORT", b"GETEX"}
"""Commands whose options decide whether they write."""
_WRITES = {b"RM", b"OW", b"insert", b"update", b"delete"}

Command = list[bytes]


@dataclass
class Ran:
    """One call of a script, and the commands inside it."""

    script: Script
    keys: list[bytes]
    argv: list[bytes]
    inner: list[Command] = field(default_factory=list)


def words(line: bytes) -> tuple[str, Command]:
    """Who sent it ("lua": the script that is running), and the words. Raises ValueError for another line."""
    found = heard.line(line)
    return found.sender, found.words


def calls(lines: Iterable[bytes], scripts: Mapping[str, Script]) -> Iterator[Ran]:
    """The calls of known scripts, by hash; what unknown ones do inside is passed over."""
    running: Ran | None = None
    for line in lines:
        sender, _, rest = line.partition(b"] ")
        if sender.endswith(b" lua"):
            if running:
                running.inner.append(words(line)[1])
            continue
        if running:
            yield running
        running = None
        if not rest[:8].upper().startswith(b'"EVALSHA'):
            continue  # most lines: to read their words would take as long as all the rest
        command = words(line)[1]
        if command[0] in {b"EVALSHA", b"EVALSHA_RO"} and len(command) > 2:
            script = scripts.get(command[1].decode().lower())
            if script:
                n = int(command[2])
                running = Ran(script, command[3 : 3 + n], command[3 + n :])
    if running:
        yield running


class KeyFlags:
    """COMMAND GETKEYSANDFLAGS of a server, asked once for each command and number of words."""

    def __init__(self, client: redis.Redis) -> None:
        self._connection = client.connection_pool.get_connection()
        self._known: dict[tuple[bytes, int], list[tuple[int, bool]]] = {}

    def keys(self, command: Command) -> list[tuple[bytes, bool]]:
        """The keys of a command, each with whether it may be written."""
        name = command[0]
        if name in _VARIES:
            return [(key, writes) for key, writes in self._ask(command)]
        shape = (name, len(command))
        if shape not in self._known:
            spots = [name, *(b"word-%d" % n for n in range(1, len(command)))]
            self._known[shape] = [(spots.index(key), writes) for key, writes in self._ask(spots)]
        return [(command[position], writes) for position, writes in self._known[shape]]

    def _ask(self, command: Command) -> list[tuple[bytes, bool]]:
        # By the connection: redis-py's callback for replies of COMMAND fails on this one.
        self._connection.send_command("COMMAND", "GETKEYSANDFLAGS", *command)
        try:
            reply: list[Any] = self._connection.read_response()
        except redis.ResponseError as error:
            if "no key arguments" in str(error):
                return []
            raise
        return [(key, bool(_WRITES & set(flags))) for key, flags in reply]
