"""What doctor reads of live data: plain reads, a page at a time, and nothing is written. Keys: all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import RedisRefused
from .keys import Keys
from .transport import Transport

_PAGE = 500
_DAY = r"\d{4}-\d\d-\d\d"
_KNOWN = re.compile(
    "|".join(
        [
            r"queues|paused|schedule|retry|dead|processes|process_cleanup|profiles|limit-.*|cron:.*|b-.*|BID-.*",
            rf"stat:(processed|failed)(:{_DAY})?|queue:.*|it-.*|\d{{8}}-marks|deploylock-.*",
            r"j\|\d{6}\|\d+:\d+|h\|.*-\d+-\d+:\d+|.*-signals|.+:\d+:[0-9a-f]{6,}(:work|:workers)?",
            r"lua:(owners|scripts|script_counts|paused_classes|resumed_classes|test-claim|running:.*|fallen:.*|crashes:.*|held:.*|sent:.*|metrics:.*|relay.*)",
        ]
    )
)


class Examination:
    """One look at a server; `limit` is the most jobs read of one list or set."""

    def __init__(self, transport: Transport, keys: Keys, limit: int) -> None:
        self._transport = transport
        self.keys = keys
        self.limit = limit

    def _ask(self, name: str, *words: str | bytes | int) -> Any:
        return self._transport.command(name, *words)

    def info(self) -> dict[str, str]:
        """INFO, or nothing where it is denied."""
        try:
            text = self._ask("INFO").decode("utf-8", "replace")
        except RedisRefused:
            return {}
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line and line[0] != "#")

    def config(self, name: str) -> str | None:
        """A setting of the server, or None where it may not be asked for."""
        try:
            found = self._ask("CONFIG", "GET", name)
        except RedisRefused:
            return None
        return found[1].decode() if found else None

    def time(self) -> float:
        """The server's clock, epoch seconds."""
        seconds, micros = self._ask("TIME")
        return int(seconds) + int(micros) / 1e6

    def all_keys(self) -> Iterator[str]:
        """Every key; some may come twice."""
        cursor = b"0"
        while True:
            cursor, found = self._ask("SCAN", cursor, "COUNT", _PAGE)
            yield from (key.decode("utf-8", "replace") for key in found)
            if cursor == b"0":
                return

    def is_known(self, key: str) -> bool:
        """Whether a key is one of Sidekiq's or ours. Profiles and processes have no prefix, only a form."""
        bare = key.removeprefix(self.keys.prefix)
        if _KNOWN.fullmatch(bare):
            return True
        return self.kind(key) == "hash" and self._ask("HEXISTS", key, "token") == 1

    def kind(self, key: str) -> str:
        return str(self._ask("TYPE", key).decode())

    def listed(self, key: str) -> list[bytes]:
        """The newest and the oldest jobs of a list."""
        size = self._ask("LLEN", key)
        if size <= self.limit:
            return self._pages("LRANGE", key, 0, size)
        half = self.limit // 2
        return self._pages("LRANGE", key, 0, half) + self._pages("LRANGE", key, size - half, size)

    def sorted(self, key: str) -> list[bytes]:
        """The soonest jobs of a sorted set."""
        return self._pages("ZRANGE", key, 0, min(self._ask("ZCARD", key), self.limit))

    def _pages(self, command: str, key: str, first: int, end: int) -> list[bytes]:
        found: list[bytes] = []
        for start in range(first, end, _PAGE):
            found += self._ask(command, key, start, min(start + _PAGE, end) - 1)
        return found

    def size(self, key: str) -> int:
        return int(self._ask("LLEN", key))

    def holds(self, key: str, raw: bytes) -> bool:
        """Whether a place still has exactly this text."""
        kind = self.kind(key)
        if kind == "list":
            return self._ask("LPOS", key, raw) is not None
        return kind == "zset" and self._ask("ZSCORE", key, raw) is not None

    def owners(self) -> dict[str, bytes]:
        """The fields of `lua:owners`."""
        return self._hash(self.keys.owners)

    def scripts(self) -> dict[str, str]:
        """Script hash to name and version."""
        return {sha: text.decode("utf-8", "replace") for sha, text in self._hash(self.keys.scripts).items()}

    def loaded(self, hashes: Sequence[str]) -> list[str]:
        """Those of the scripts that the server has loaded since it started."""
        flags = self._ask("SCRIPT", "EXISTS", *hashes) if hashes else []
        return [sha for sha, flag in zip(hashes, flags, strict=True) if flag]

    def _hash(self, key: str) -> dict[str, bytes]:
        flat: Sequence[bytes] = self._ask("HGETALL", key)
        return {flat[n].decode("utf-8", "replace"): flat[n + 1] for n in range(0, len(flat), 2)}
