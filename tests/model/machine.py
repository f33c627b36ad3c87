"""What the random runs are made of: processes as they see themselves, and calls checked against the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import redis as redis_py
from hypothesis.stateful import RuleBasedStateMachine, invariant
from keyspace import NOW, STORE, job
from model.look import LOOK, read
from model.plain import Plain, number

from sidekiq_lua.errors import ScriptError
from sidekiq_lua.store import Running, Transport
from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.entries import Entry
from sidekiq_lua.store.owners import Orphan, Owner
from sidekiq_lua.store.running import Burial
from sidekiq_lua.store.scripts import Script

QUEUES = ("a", "b")
KEEP = 4
AGE_S = 9


class Ticket(NamedTuple):
    """What a process believes to hold, and under which of its names."""

    owner: Owner
    queue: str
    raw: bytes

    @property
    def running(self) -> Running:
        return STORE.running(self.owner.identity, self.owner.epoch)


class Process:
    """One process as it sees itself: alive, dead, or dead without knowing it."""

    def __init__(self, name: int) -> None:
        self.identity = f"host:{name}:aaaa"
        self.lives = [self._life(0)]
        self.tickets: list[Ticket] = []

    def _life(self, epoch: int) -> Owner:
        return Owner(self.identity, f"0.{epoch}", QUEUES, 2)

    @property
    def owner(self) -> Owner:
        return self.lives[-1]

    def renew(self) -> None:
        self.lives.append(self._life(len(self.lives)))

    def some(self, numbers: list[int]) -> list[Ticket]:
        """Distinct tickets of one of its lives."""
        found = list(dict.fromkeys(n % len(self.tickets) for n in numbers)) if self.tickets else []
        chosen = [self.tickets[n] for n in found]
        return [ticket for ticket in chosen if ticket.owner is chosen[0].owner]

    def settled(self, tickets: list[Ticket], *, lost: bool) -> None:
        """It knows that these are over, unless the reply was lost."""
        if not lost:
            for ticket in tickets:
                self.tickets.remove(ticket)


class Base(RuleBasedStateMachine):
    """Subclasses set `client`, `transport` and, for planted bugs, `planted`."""

    client: redis_py.Redis
    transport: Transport
    planted: Mapping[str, Script] = {}
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.plain = Plain()
        self.now = NOW
        self.jobs = 0
        self.processes = [Process(name) for name in range(3)]
        self.entries: list[tuple[str, Entry]] = []
        self.orphans: dict[tuple[str, str], list[bytes]] = {}
        self.sent: list[tuple[Call[Any], Callable[[], Any]]] = []

    # -- sending ------------------------------------------------------------------------------

    def run(self, call: Call[Any]) -> Any:
        script = self.planted.get(call.script.name, call.script)
        return self.transport.run(Call(script, call.keys, call.argv, call.read))

    def send(self, call: Call[Any], expected: Callable[[], Any]) -> Any:
        """Run a call; the answer must be the model's."""
        answer = self.run(call)
        assert answer == expected(), call
        self.sent = [*self.sent[-9:], (call, expected)]
        return answer

    def send_into(self, key: str, call: Call[Any]) -> None:
        """Run a call while its destination has a wrong type: nothing may change."""
        there = self.client.exists(key)
        if there:
            self.client.rename(key, "aside")
        self.client.set(key, "foreign")
        # A call of a job that is gone does not come as far as the destination.
        with suppress(ScriptError):
            self.run(call)
        assert self.client.getdel(key) == b"foreign"
        if there:
            self.client.rename("aside", key)

    # -- parts of rules ---------------------------------------------------------------------------

    def burial(self) -> Burial:
        return Burial(self.now, self.now - AGE_S, KEEP)

    def new(self, again: int) -> bytes:
        """A new job, or bytes that were pushed before."""
        if again and self.jobs:
            return job(1 + again % self.jobs)
        self.jobs += 1
        return job(self.jobs)

    def process(self, n: int) -> Process:
        return self.processes[n % len(self.processes)]

    def holder(self, n: int) -> Process:
        """A process that believes to hold jobs."""
        holders = [process for process in self.processes if process.tickets]
        return holders[n % len(holders)]

    def life(self, who: int, epoch: int) -> Owner:
        """The present owner of a process, or an earlier one."""
        lives = self.process(who).lives
        return lives[-1 - epoch % len(lives)]

    def register(self, owner: Owner) -> None:
        self.send(STORE.owners.register(owner), lambda: self.plain.register(owner))

    def beat(self, process: Process) -> None:
        lives = [*process.lives]
        call = STORE.processes.beat(process.identity, lives, 10_000, {"info": "{}"}, {})
        self.send(call, lambda: self.plain.beat(process.identity, lives))

    def renew(self, process: Process) -> None:
        """Go on under a new epoch, and register the old one again."""
        before = process.owner
        process.renew()
        self.register(before)
        self.register(process.owner)

    def look(self, name: str) -> None:
        """Read entries, to act on them now or when others have moved them."""
        found = self.client.zrange(name, 0, -1, withscores=True)
        self.entries = [*self.entries, *((name, Entry(raw, score)) for raw, score in found)][-20:]

    def blame(self, raws: list[bytes], blamed: int) -> list[Orphan]:
        """Jobs of a dead owner; the bits of `blamed` say which ones were running when it died."""
        return [
            Orphan(raw, str(number(raw)), bool(blamed >> n & 1), job(number(raw), ',"error_class":"Pill"'))
            for n, raw in enumerate(raws)
        ]

    def choose(self, n: int, names: list[str], *, fresh: bool) -> Any:
        """A set that has entries, if one has; `fresh`: read it now."""
        some = [name for name in names if self.plain.sets[name]] or names
        name = some[n % len(some)]
        if fresh:
            self.look(name)
        return name

    def read_before(self, name: str, numbers: list[int]) -> list[Entry]:
        """Some of the entries of a set that were read, whether they are still so or not."""
        read = [entry for place, entry in self.entries if place == name]
        return [read[-1 - n] for n in dict.fromkeys(n % len(read) for n in numbers)] if read else []

    # -- after every step -------------------------------------------------------------------------

    @invariant()
    def every_job_is_in_one_place(self) -> None:
        type(self).steps += 1
        found = read(self.client.eval(LOOK, 0))
        assert found == self.plain.keyspace()
        places = Counter(
            number(item[0] if isinstance(item, tuple) else item)
            for value in found.values()
            if isinstance(value, list)
            for item in value
        )
        plain = self.plain
        assert places + plain.ended == plain.added
        assert all(places[n] <= 1 for n, times in plain.added.items() if times == 1)
