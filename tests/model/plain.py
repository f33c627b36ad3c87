"""The keyspace as a plain Python model: every arrow of lua/README.md, without a server.

A list begins with its newest job, as Redis has it. Each method is named like the call of the store that
it stands for and answers what that call answers.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from keyspace import DAY

from sidekiq_lua.store.entries import Buried, Entry, Promotion
from sidekiq_lua.store.owners import Orphan, Owner
from sidekiq_lua.store.processes import Beat
from sidekiq_lua.store.running import Burial, Fetched, Settled

Held = tuple[str, str]
"""An owner's field and a queue: one running list."""
Done = Sequence[tuple[str, bytes]]

_NUMBER = re.compile(rb'"jid":"0*(\d+)"')


def number(raw: bytes) -> int:
    """Which job a payload is."""
    found = _NUMBER.search(raw)
    assert found is not None
    return int(found[1])


class Plain:
    """Where every job is, and what was counted."""

    def __init__(self) -> None:
        self.queues: set[str] = set()
        self.paused: set[str] = set()
        self.owners: dict[str, str] = {}
        self.processes: set[str] = set()
        self.alive: set[str] = set()
        self.waiting: dict[str, list[bytes]] = defaultdict(list)
        self.held: dict[Held, list[bytes]] = defaultdict(list)
        self.sets: dict[str, dict[bytes, float]] = {"retry": {}, "schedule": {}, "dead": {}}
        self.crashes: dict[str, int] = {}
        self.processed = 0
        self.failed = 0
        self.added: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()

    def end(self, raws: Iterable[bytes]) -> None:
        self.ended.update(map(number, raws))

    def keyspace(self) -> dict[str, object]:
        """The whole database, as `machine.look` reads it."""
        found: dict[str, object] = {
            "queues": self.queues,
            "paused": self.paused,
            "processes": self.processes,
            "lua:owners": self.owners,
            **{f"queue:{name}": jobs for name, jobs in self.waiting.items()},
            **{f"lua:running:{owner}:{name}": jobs for (owner, name), jobs in self.held.items()},
            **{
                name: sorted(((raw, score) for raw, score in entries.items()), key=lambda e: (e[1], e[0]))
                for name, entries in self.sets.items()
            },
        }
        found = {key: value for key, value in found.items() if value}
        found |= {f"lua:crashes:{key}": str(count) for key, count in self.crashes.items()}
        found |= {identity: {"info": "{}"} for identity in self.alive}
        for name, count in (("processed", self.processed), ("failed", self.failed)):
            if count:
                found |= {f"stat:{name}": str(count), f"stat:{name}:{DAY}": str(count)}
        return found

    # -- in ---------------------------------------------------------------------------------

    def push(self, name: str, raws: Sequence[bytes]) -> int:
        self.added.update(map(number, raws))
        self.queues.add(name)
        self.waiting[name][:0] = reversed(raws)
        return len(self.waiting[name])

    def schedule(self, entries: Sequence[tuple[float, bytes]]) -> int:
        before = len(self.sets["schedule"])
        for due, raw in entries:
            self.added[number(raw)] += 1
            self._put("schedule", raw, due)
        return len(self.sets["schedule"]) - before

    def _put(self, name: str, raw: bytes, score: float) -> bool:
        """Into a sorted set, where equal texts are one entry; whether it is a new one."""
        is_new = raw not in self.sets[name]
        if not is_new:
            self.end([raw])
        self.sets[name][raw] = score
        return is_new

    # -- running ------------------------------------------------------------------------------

    def fetch(self, owner: str, names: Sequence[str], n: int) -> Fetched:
        return self.ack_and_fetch(owner, names, n, [])

    def ack_and_fetch(self, owner: str, names: Sequence[str], n: int, done: Done) -> Fetched:
        if owner not in self.owners:
            return Fetched(reaped=True)
        gone = self.ack(owner, done).gone
        jobs = []
        for name in names:
            while name not in self.paused and self.waiting[name] and len(jobs) < n:
                jobs.append((name, self.move(owner, name)))
        return Fetched(jobs, gone, "", frozenset(self.paused & {*names}))

    def move(self, owner: str, name: str) -> bytes:
        """What BLMOVE does too, for an owner that may be unknown meanwhile."""
        raw = self.waiting[name].pop()
        self.held[owner, name].insert(0, raw)
        return raw

    def ack(self, owner: str, done: Done) -> Fetched:
        gone = [place for place, (name, raw) in enumerate(done) if not self._settle(owner, name, raw)]
        ended = [raw for place, (_, raw) in enumerate(done) if place not in gone]
        self.end(ended)
        self.processed += len(ended)
        return Fetched([], gone)

    def _settle(self, owner: str, name: str, raw: bytes) -> bool:
        """Take the oldest of equal jobs out of a running list."""
        jobs = self.held[owner, name]
        if raw not in jobs:
            return False
        del jobs[len(jobs) - 1 - jobs[::-1].index(raw)]
        return True

    def _failed(self) -> None:
        self.processed += 1
        self.failed += 1

    def retry(self, owner: str, name: str, raw: bytes, payload: bytes, due: float) -> Settled:
        if not self._settle(owner, name, raw):
            return Settled(moved=False)
        self._put("retry", payload, due)
        self._failed()
        return Settled(moved=True)

    def bury(self, owner: str, name: str, raw: bytes, payload: bytes, burial: Burial) -> Settled:
        if not self._settle(owner, name, raw):
            return Settled(moved=False, added=False)
        added = self._die(payload, burial)
        self._failed()
        return Settled(moved=True, added=added)

    def _die(self, payload: bytes, burial: Burial) -> bool:
        added = self._put("dead", payload, burial.now)
        self._trim(burial)
        return added

    def _trim(self, burial: Burial) -> None:
        dead = self.sets["dead"]
        oldest = sorted(dead, key=lambda raw: (dead[raw], raw))
        gone = [raw for raw in oldest if dead[raw] <= burial.cutoff]
        kept = oldest[len(gone) :]
        gone += kept[: max(len(kept) - burial.limit + 1, 0)]
        for raw in gone:
            del dead[raw]
        self.end(gone)

    def drop(self, owner: str, name: str, raw: bytes) -> Settled:
        if not self._settle(owner, name, raw):
            return Settled(moved=False)
        self.end([raw])
        self._failed()
        return Settled(moved=True)

    def _back(self, owner: str, name: str, raw: bytes) -> bool:
        if raw not in self.held[owner, name]:
            return False
        self.held[owner, name].remove(raw)
        self.waiting[name].append(raw)
        return True

    def requeue(self, owner: str, name: str, raws: Sequence[bytes]) -> list[int]:
        self.queues.add(name)
        return [place for place in reversed(range(len(raws))) if not self._back(owner, name, raws[place])]

    def admit(self, owner: str, name: str, raw: bytes) -> str:
        if owner not in self.owners:
            return "REAPED"
        if raw not in self.held[owner, name]:
            return "GONE"
        if name not in self.paused:
            return "KEPT"
        self.queues.add(name)
        self._back(owner, name, raw)
        return "BACK"

    # -- owners -------------------------------------------------------------------------------

    def register(self, owner: Owner) -> int:
        is_new = owner.field not in self.owners
        self.owners[owner.field] = owner.text()
        return int(is_new)

    def beat(self, identity: str, owners: Sequence[Owner]) -> Beat:
        known = identity in self.alive
        self.alive.add(identity)
        self.processes.add(identity)
        registered = all(owner.field in self.owners for owner in owners)
        held = {(owner, name): len(self.held[owner.field, name]) for owner in owners for name in owner.queues}
        return Beat(known, registered, "", len(self.processes), held, False)

    def leave(self, owner: Owner) -> int:
        self.processes.discard(owner.identity)
        holding = sum(bool(self.held[owner.field, name]) for name in owner.queues)
        if not holding:
            self.owners.pop(owner.field, None)
        return holding

    def forget(self, owner: Owner) -> bool:
        if owner.identity in self.alive or any(self.held[owner.field, name] for name in owner.queues):
            return False
        found = [self.owners.pop(field, None) for field in (owner.field, owner.reaped)]
        return any(found)

    def recover(
        self, owner: Owner, name: str, orphans: Sequence[Orphan], limit: int, burial: Burial
    ) -> list[int] | None:
        if owner.identity in self.alive:
            return None
        self.queues.add(name)
        if owner.field in self.owners:
            self.owners[owner.reaped] = self.owners.pop(owner.field)
        moved = [self._recover(owner.field, name, o, limit, burial) for o in reversed(orphans)][::-1]
        if 2 in moved:
            self._trim(burial)
        return moved

    def _recover(self, owner: str, name: str, orphan: Orphan, limit: int, burial: Burial) -> int:
        jobs = self.held[owner, name]
        if orphan.raw not in jobs:
            return 0
        if not orphan.blamed:
            self._back(owner, name, orphan.raw)
            return 1
        count = self.crashes.get(orphan.crash_key, 0) + 1
        if 0 < limit <= count:
            jobs.remove(orphan.raw)
            self.crashes.pop(orphan.crash_key, None)
            self._put("dead", orphan.burial, burial.now)
            return 2
        self._back(owner, name, orphan.raw)
        self.crashes[orphan.crash_key] = count
        return 1

    # -- sorted sets ----------------------------------------------------------------------------

    def promote(self, name: str, promotions: Sequence[Promotion], now: float) -> list[int]:
        return [self._promote(self.sets[name], promotion, now) for promotion in promotions]

    def _promote(self, entries: dict[bytes, float], promotion: Promotion, now: float) -> int:
        if not entries.get(promotion.entry, float("inf")) <= now:
            return 0
        del entries[promotion.entry]
        if promotion.queue:
            self.queues.add(promotion.queue)
            self.waiting[promotion.queue].insert(0, promotion.payload)
        else:
            self.end([promotion.entry])
        return 1

    def enqueue_entry(self, name: str, entry: Entry, queue: str, payload: bytes, crash_key: str) -> bool:
        if not self._take(name, entry):
            return False
        self.queues.add(queue)
        self.waiting[queue].insert(0, payload)
        if name == "dead":
            self.crashes.pop(crash_key, None)
        return True

    def _take(self, name: str, entry: Entry) -> bool:
        if self.sets[name].get(entry.raw) != entry.score:
            return False
        del self.sets[name][entry.raw]
        return True

    def bury_entry(self, name: str, entry: Entry, payload: bytes, burial: Burial) -> Buried:
        if not self._take(name, entry):
            return Buried(moved=False, added=False)
        return Buried(moved=True, added=self._die(payload, burial))

    def delete_entry(self, name: str, entry: Entry) -> bool:
        taken = self._take(name, entry)
        self.end([entry.raw] if taken else [])
        return taken

    def reschedule_entry(self, name: str, entry: Entry, due: float) -> bool:
        if self.sets[name].get(entry.raw) != entry.score:
            return False
        self.sets[name][entry.raw] = due
        return True

    # -- what people do to whole queues and sets --------------------------------------------------

    def pause(self, name: str) -> bool:
        was_on = name not in self.paused
        self.paused.add(name)
        return was_on

    def unpause(self, name: str) -> bool:
        was_paused = name in self.paused
        self.paused.discard(name)
        return was_paused

    def delete_job(self, name: str, raw: bytes) -> bool:
        if raw not in self.waiting[name]:
            return False
        self.waiting[name].remove(raw)
        self.end([raw])
        return True

    def clear_queue(self, name: str) -> int:
        jobs = self.waiting.pop(name, [])
        self.queues.discard(name)
        self.end(jobs)
        return len(jobs)

    def clear_set(self, name: str) -> int:
        entries = self.sets[name]
        self.end(entries)
        count = len(entries)
        entries.clear()
        return count
