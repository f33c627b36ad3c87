"""Calls on profiles of jobs. Keys: `profiles`, TOKEN-JID."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .calls import Call
from .keys import Keys
from .queues import PAGE
from .scripts import library

TTL_S = 86_400
SIZE_LIMIT = 1_000_000
"""The most bytes of `data`."""
_FIELDS = ("token", "jid", "type", "started_at", "elapsed", "size", "sid")


class ProfileInfo(NamedTuple):
    """A stored profile without its data. `started_at` and `ends_at` are epoch seconds, `elapsed` seconds,
    `size` bytes; `sid` is its name at profiler.firefox.com, once somebody has sent it there."""

    name: str
    ends_at: float
    token: str
    jid: str
    type: str
    started_at: float
    elapsed: float
    size: int
    sid: str


class Profiles:
    """How jobs spent their time."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        scripts = library()
        self._store = scripts["store_profile"].call
        self._list = scripts["profiles"].call
        self._read = scripts["read_profile"].call

    def store(self, name: str, fields: Mapping[str, str | bytes | int | float], now: float) -> Call[int]:
        """Keep a profile of at most SIZE_LIMIT bytes for TTL_S seconds from epoch seconds `now`."""
        return self._store(
            profiles=self._keys.profiles,
            profile=self._keys.profile(name),
            name=name,
            now=repr(now),
            ending=repr(now + TTL_S),
            ttl=TTL_S,
            fields=[part for field in fields.items() for part in field],
        )

    def page(self, now: float, offset: int = 0) -> Call[list[tuple[str, float]]]:
        """Names and ends of at most PAGE profiles, the newest first."""

        def read(reply: list[Any]) -> list[tuple[str, float]]:
            names = (name.decode("utf-8", "surrogateescape") for name in reply[::2])
            return list(zip(names, map(float, reply[1::2]), strict=True))

        return self._list(profiles=self._keys.profiles, now=repr(now), offset=offset, n=PAGE, read=read)

    def infos(self, entries: Sequence[tuple[str, float]]) -> Call[list[ProfileInfo]]:
        """What is known of at most PAGE profiles; those that are gone are left out."""

        def read(reply: list[Any]) -> list[ProfileInfo]:
            return [
                _info(name, ends_at, values)
                for (name, ends_at), values in zip(entries, reply, strict=True)
                if values[1] is not None
            ]

        return self._read(
            hashes=[self._keys.profile(name) for name, _ in entries], fields=list(_FIELDS), read=read
        )

    def data(self, name: str) -> Call[bytes | None]:
        """The gzipped JSON of one profile."""
        return self._read(hashes=[self._keys.profile(name)], fields=["data"], read=lambda reply: reply[0][0])


def _info(name: str, ends_at: float, values: list[bytes | None]) -> ProfileInfo:
    token, jid, type_, started_at, elapsed, size, sid = (
        (value or b"").decode("utf-8", "replace") for value in values
    )
    return ProfileInfo(
        name, ends_at, token, jid, type_, float(started_at or 0), float(elapsed or 0), int(size or 0), sid
    )
