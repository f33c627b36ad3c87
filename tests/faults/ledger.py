"""A ledger of jobs beside Redis, and what it and the whole keyspace must agree on at every instant.

Whoever enqueues or runs a job appends a line to a file. One `write` with O_APPEND is whole or absent, and a
SIGKILL or a lost server takes none of it away.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

_READ_ALL = """#!lua flags=no-writes
local all = {}
for _, key in ipairs(redis.call("KEYS", "*")) do
  local kind = redis.call("TYPE", key).ok
  local read = {list = {"LRANGE", key, 0, -1}, zset = {"ZRANGE", key, 0, -1}, hash = {"HVALS", key},
    string = {"GET", key}}
  if read[kind] then
    all[#all + 1] = {key, kind, redis.call(unpack(read[kind]))}
  end
end
return all
"""


class Entry(NamedTuple):
    """One line. `what`: pushing (not answered yet), pushed, unpushed (refused); of a run begin, end, fail or
    cut (by a hard stop).

    `run` counts the runs of a job that Redis knows of: 0, and 1 more after each retry. `at` is monotonic.
    """

    what: str
    jid: str
    run: int
    pid: int
    at: float


class Ledger:
    """The file. Every process opens it for itself."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, what: str, jid: str, run: int = 0) -> None:
        os.write(self._fd, f"{what} {jid} {run} {os.getpid()} {time.monotonic():.6f}\n".encode())

    def close(self) -> None:
        os.close(self._fd)

    def read(self) -> list[Entry]:
        return [
            Entry(what, jid, int(run), int(pid), float(at))
            for what, jid, run, pid, at in map(str.split, self.path.read_text().splitlines())
        ]

    def count(self, what: str) -> int:
        return sum(entry.what == what for entry in self.read())


class Place(NamedTuple):
    """Where a job lies, and which of its runs is the next to be settled."""

    key: str
    run: int
    poisoned: bool


@dataclass
class Keyspace:
    """Every job in one Redis, and the counters, read in one atomic step."""

    places: dict[str, list[Place]] = field(default_factory=dict)
    unowned: list[str] = field(default_factory=list)
    processed: int = 0
    failed: int = 0

    @classmethod
    def of(cls, redis: Any) -> Keyspace:
        found = cls()
        owned: set[str] = set()
        running: set[str] = set()
        for raw_key, kind, value in redis.eval(_READ_ALL, 0):
            key = raw_key.decode()
            if kind == b"string" and key in ("stat:processed", "stat:failed"):
                setattr(found, key.partition(":")[2], int(value))
            elif key == "lua:owners":
                owned |= {name for entry in value for name in _lists(json.loads(entry))}
            elif key.startswith(("queue:", "lua:running:")) or key in ("schedule", "retry", "dead"):
                for raw in value:
                    payload = json.loads(raw)
                    poisoned = payload.get("error_class") == "PoisonPill"
                    place = Place(key, run_of(payload), poisoned)
                    found.places.setdefault(payload["jid"], []).append(place)
                if key.startswith("lua:running:"):
                    running.add(key)
        found.unowned = sorted(running - owned)
        return found

    def inside(self, prefix: str) -> int:
        """How many jobs lie in keys that begin so."""
        return sum(place.key.startswith(prefix) for places in self.places.values() for place in places)

    @property
    def waiting(self) -> int:
        """Jobs that are neither dead nor done."""
        return sum(place.key != "dead" for places in self.places.values() for place in places)


def run_of(payload: Mapping[str, Any]) -> int:
    """Which run of a job comes next, or is under way."""
    count = payload.get("retry_count")
    return 0 if count is None else count + 1


def _lists(owner: Mapping[str, Any]) -> Iterator[str]:
    return (f"lua:running:{owner['identity']}:{owner['epoch']}:{queue}" for queue in owner["queues"])


@dataclass
class Audit:
    """What became of every job. `problems` is empty if nothing was lost, doubled or counted wrongly.

    `extra` names the runs that were begun more than once, each as often as that was too often.
    """

    problems: list[str]
    lost: list[str]
    extra: Counter[tuple[str, int]]
    poisoned: list[str]
    pushed: int
    counters_equal: bool


def audit(ledger: Ledger, redis: Any) -> Audit:
    """Compare. It holds at any instant when no push is under way: a job is in one place, or in none and over.

    A job whose jid begins with "drop" is over after a failure too, since it is discarded then. A push that
    got no answer, "pushing" alone, may have been carried out or not.
    """
    space = Keyspace.of(redis)
    entries = ledger.read()
    pushed = {entry.jid for entry in entries if entry.what == "pushed"}
    refused = {entry.jid for entry in entries if entry.what == "unpushed"}
    runs = {
        what: Counter((entry.jid, entry.run) for entry in entries if entry.what == what)
        for what in ("begin", "end", "fail")
    }
    over = {jid for jid, _ in runs["end"]} | {jid for jid, _ in runs["fail"] if jid.startswith("drop")}
    lost = sorted(pushed - over - space.places.keys())
    problems = [f"{jid} is in {len(at)} places: {at}" for jid, at in space.places.items() if len(at) > 1]
    problems += [f"{jid} is nowhere and has not ended" for jid in lost]
    problems += [f"{jid} was refused and is in {space.places[jid]}" for jid in refused & space.places.keys()]
    problems += [f"{key} holds jobs and has no owner" for key in space.unowned]

    def settled(run: tuple[str, int]) -> bool:
        """Whether Redis knows that this run is over: the job is gone, or waits for a later run."""
        places = space.places.get(run[0])
        return not places or run[1] < places[0].run

    expected = {
        "processed": sum(map(settled, runs["end"].keys() | runs["fail"].keys())),
        "failed": sum(map(settled, runs["fail"])),
    }
    wrong = [
        f"{name} is {getattr(space, name)}, the ledger says {number}"
        for name, number in expected.items()
        if getattr(space, name) != number
    ]
    return Audit(
        problems=problems + wrong,
        lost=lost,
        extra=Counter({run: n - 1 for run, n in runs["begin"].items() if n > 1}),
        poisoned=sorted(jid for jid, places in space.places.items() if any(p.poisoned for p in places)),
        pushed=len(pushed),
        counters_equal=not wrong,
    )
