"""Reads what Redis itself tells: lines of MONITOR, entries of SLOWLOG, and whose script a hash is.

Keys: `lua:scripts`, `lua:script_counts`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from redis import exceptions as theirs

from ..clock import monotonic
from ..version import __version__
from . import Store
from .failures import CONNECTION, denied, lost
from .script_counts import Counted, read
from .scripts import library
from .transport import Transport

_LINE = re.compile(rb'^\+?([\d.]+) \[(\d+) (\S+)\] "([^"]+)"(.*?)\r?\n?$', re.S)
_WORD = re.compile(rb' "((?:[^"\\]|\\.)*)"', re.S)
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.S)
_PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}
_JID = re.compile(rb'"jid" ?: ?"([^"\\]{1,64})"')
_CALLS = {b"EVALSHA", b"EVALSHA_RO", b"EVAL", b"EVAL_RO"}
_LOOK_S = 0.5


class Named(NamedTuple):
    """A script by name, and the version of the package that it is from."""

    name: str
    version: str


class Line(NamedTuple):
    """One line of MONITOR. `sender`: an address, or "lua" for the running script; `at`: epoch seconds."""

    at: float
    db: int
    sender: str
    words: list[bytes]


class Called(NamedTuple):
    """A call of a script in words that a person knows; `script` is None for any other command."""

    command: str
    script: Named | None
    sha: str
    keys: list[bytes]
    rest: list[bytes]
    jids: list[str]


class Slow(NamedTuple):
    """An entry of SLOWLOG. `at`: epoch seconds."""

    number: int
    at: int
    micros: int
    called: Called
    client: str


def line(text: bytes) -> Line:
    """Raises ValueError for what is no line of MONITOR."""
    found = _LINE.match(text)
    if not found:
        raise ValueError(f"MONITOR said {text[:200]!r}")
    words = [found[4].upper(), *map(_unescape, _WORD.findall(found[5]))]
    return Line(float(found[1]), int(found[2]), found[3].decode(), words)


def _unescape(word: bytes) -> bytes:
    def one(found: re.Match[bytes]) -> bytes:
        what = found[1]
        return bytes([int(what[1:], 16)]) if len(what) == 3 else _PLAIN.get(what, what)

    return _ESCAPE.sub(one, word) if b"\\" in word else word


def called(words: Sequence[bytes], scripts: Mapping[str, Named]) -> Called:
    """What a command was; for a script its name, and the jids of the payloads among the arguments."""
    command = words[0].upper()
    if command == b"SCRIPT" and (sha := loads(words)):
        return Called("SCRIPT LOAD", scripts.get(sha), sha, [], [], [])
    jids = list(
        dict.fromkeys(found[1].decode("utf-8", "replace") for found in map(_JID.search, words) if found)
    )
    if command not in _CALLS or len(words) < 3 or not words[2].isdigit():
        return Called(command.decode("utf-8", "replace"), None, "", [], list(words[1:]), jids)
    sha = words[1].decode("utf-8", "replace").lower() if command.startswith(b"EVALSHA") else sha_of(words[1])
    end = 3 + int(words[2])
    return Called(command.decode(), scripts.get(sha), sha, list(words[3:end]), list(words[end:]), jids)


def sha_of(text: bytes) -> str:
    """The hash by which Redis knows a script."""
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()


def loads(words: Sequence[bytes]) -> str:
    """The hash of the script that a command makes known to the server, or ""."""
    if len(words) == 3 and words[0].upper() == b"SCRIPT" and words[1].upper() == b"LOAD":
        return sha_of(words[2])
    return sha_of(words[1]) if words[0].upper() in (b"EVAL", b"EVAL_RO") and len(words) > 1 else ""


def slow(entry: Sequence[Any], scripts: Mapping[str, Named]) -> Slow:
    """One entry of SLOWLOG GET."""
    number, at, micros, words = entry[:4]
    client = entry[4].decode("utf-8", "replace") if len(entry) > 4 else ""
    return Slow(number, at, micros, called(words, scripts), client)


def statistics(info: str) -> dict[str, int]:
    """Of `INFO commandstats` and `errorstats`: calls of scripts, how many failed, how many met NOSCRIPT."""
    found = {"calls": 0, "failures": 0, "reloads": 0}
    for text in info.splitlines():
        name, _, values = text.partition(":")
        figures = dict(part.split("=", 1) for part in values.split(",") if "=" in part)
        if name.partition("_")[0] == "cmdstat" and name.removeprefix("cmdstat_").upper().encode() in _CALLS:
            found["calls"] += int(figures.get("calls", 0))
            found["failures"] += int(figures.get("failed_calls", 0)) + int(figures.get("rejected_calls", 0))
        elif name == "errorstat_NOSCRIPT":
            found["reloads"] = int(figures.get("count", 0))
    # A call that met NOSCRIPT has not run, and counts as failed too.
    for name in ("calls", "failures"):
        found[name] = max(found[name] - found["reloads"], 0)
    return found


def names(transport: Transport, store: Store) -> dict[str, Named]:
    """Every script by its hash: ours, and those that workers wrote down. Raises RedisError."""
    ours = {script.sha: Named(script.name, __version__) for script in library().values()}
    reply = transport.command("HGETALL", store.keys.scripts)
    flat = [part.decode("utf-8", "replace") for part in reply]
    theirs_too = dict(zip(flat[::2], flat[1::2], strict=True))
    theirs_too.pop("schema", None)
    found = {sha: Named(text.partition(" ")[0], text.partition(" ")[2]) for sha, text in theirs_too.items()}
    return {**ours, **found}


def counts(transport: Transport, store: Store) -> Counted:
    """What the workers have counted. Raises RedisError."""
    return read(transport.command("HGETALL", store.keys.script_counts))


def listen(transport: Transport, seconds: float | None = None) -> Iterator[Line | None]:
    """MONITOR on its own connection, for so many seconds or for ever; None now and then while all is still.

    Raises RedisUnavailable, LostReply or RedisRefused.
    """
    connection = transport.endpoint.connect()
    until = None if seconds is None else monotonic() + seconds
    try:
        transport.open(connection)
        connection.send_command("MONITOR")
        connection.read_response()
        yield None
        while until is None or monotonic() < until:
            wait = _LOOK_S if until is None else min(_LOOK_S, max(until - monotonic(), 0.001))
            try:
                text = connection.read_response(
                    disable_decoding=True, timeout=wait, disconnect_on_error=False
                )
            except theirs.TimeoutError:
                yield None
                continue
            yield line(text)
    except CONNECTION as error:
        raise lost(transport.endpoint, error, "MONITOR") from error
    except theirs.ResponseError as error:
        raise denied(error, "MONITOR") from error
    finally:
        connection.disconnect()
