"""Reads the ledger of a chaos run as it grows."""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from faults.ledger import run_of

Run = tuple[str, int]


class Watch:
    """What the ledger says so far; `look` reads on. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._lock = threading.Lock()
        self._rest = b""
        self.ended = 0
        self.begun: dict[int, Counter[Run]] = defaultdict(Counter)
        """The runs that each process has begun, by its process id."""

    def look(self) -> int:
        """How many runs have ended."""
        with self._lock:
            *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
            for line in lines:
                what, jid, run, pid, _ = line.decode().split()
                if what == "begin":
                    self.begun[int(pid)][jid, int(run)] += 1
                elif what in ("end", "fail"):
                    self.ended += 1
            return self.ended

    def unacknowledged(self, redis: Any, pid: int) -> Counter[Run]:
        """What a process has begun that is still in its running lists."""
        self.look()
        held: Counter[Run] = Counter()
        for field, entry in redis.hgetall("lua:owners").items():
            if f":{pid}:".encode() in field:
                owner = json.loads(entry)
                for queue in owner["queues"]:
                    name = f"lua:running:{owner['identity']}:{owner['epoch']}:{queue}"
                    for raw in redis.lrange(name, 0, -1):
                        payload = json.loads(raw)
                        held[payload["jid"], run_of(payload)] += 1
        return held & self.begun[pid]

    def close(self) -> None:
        self._file.close()
