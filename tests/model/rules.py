"""Random interleavings of every arrow by several processes, some of them dead without knowing it.

A process may settle a job that was recovered long ago, send a call again whose reply was lost, or act on
an entry that it read before others moved it. After every step the whole keyspace must be what the plain
model has, and every job in one place.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from keyspace import DAY, STORE, job
from model.machine import QUEUES, Base, Ticket
from model.plain import number

from sidekiq_lua.store.entries import Promotion

some = st.integers(0, 7)
some_of_them = st.lists(some, min_size=1, max_size=4)
queue = st.sampled_from(QUEUES)
delay = st.integers(-2, 4)
lost = st.sampled_from([False, False, True])
"""Whether the reply is lost: the process keeps its tickets and settles them once more, sooner or later."""
foreign = st.sampled_from([False, False, False, True])
"""Whether the destination has a wrong type for the time of the call, which then must change nothing."""


class Machine(Base):
    """The rules."""

    @initialize()
    def a_day_in_the_life(self) -> None:
        """So that every place holds something: two work, one is dead, its job was blamed and then buried."""
        for process in self.processes:
            self.register(process.owner)
            self.beat(process)
        self.push("a", [0, 0, 0, 1, 0])
        self.push("b", [0, 0])
        self.sent_again(0)
        self.schedule([(-1, 0), (2, 0)])
        self.fetch(2, QUEUES, 2, False, None)
        self.falls_silent(2)
        self.recover(2, 1, "a", False, 3, 0, False)
        self.fetch(0, QUEUES, 4, False, None)
        self.settle("bury", 0, 0, 0, 0, False, False)
        self.settle("retry", 0, 2, 1, 0, False, False)
        self.fetch(1, QUEUES[1:], 4, False, None)

    # -- in ---------------------------------------------------------------------------------------

    @rule(name=queue, again=st.lists(st.integers(0, 2), min_size=1, max_size=4))
    def push(self, name: str, again: list[int]) -> None:
        raws = [self.new(n) for n in again]
        self.send(STORE.queues.push(name, raws), lambda: self.plain.push(name, raws))

    @rule(entries=st.lists(st.tuples(delay, st.integers(0, 2)), min_size=1, max_size=3))
    def schedule(self, entries: list[tuple[int, int]]) -> None:
        made = [(self.now + wait, self.new(again)) for wait, again in entries]
        self.send(STORE.queues.schedule(made), lambda: self.plain.schedule(made))

    @rule(seconds=st.integers(1, 9))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    # -- running ------------------------------------------------------------------------------------

    @rule(
        who=some, names=st.sampled_from([("a", "b"), ("b", "a"), ("b",)]), n=st.integers(1, 4), lost=lost,
        done=st.none() | some_of_them,
    )  # fmt: skip
    def fetch(self, who: int, names: tuple[str, ...], n: int, lost: bool, done: list[int] | None) -> None:
        """With and without acknowledging; jobs of a lost reply are in the running list all the same."""
        process = self.process(who)
        owner = process.owner
        running = STORE.running(owner.identity, owner.epoch)
        tickets = [t for t in process.some(done or []) if t.owner is owner and t.queue in names]
        pairs = [(t.queue, t.raw) for t in tickets]
        if done is None:
            fetched = self.send(running.fetch(names, n), lambda: self.plain.fetch(owner.field, names, n))
        else:
            fetched = self.send(
                running.ack_and_fetch(names, n, pairs, DAY),
                lambda: self.plain.ack_and_fetch(owner.field, names, n, pairs),
            )
        if fetched.reaped:
            self.renew(process)
        else:
            process.settled(tickets, lost=lost)
        if not lost:
            process.tickets += [Ticket(owner, name, raw) for name, raw in fetched.jobs]

    @rule(who=some, name=queue, epoch=some)
    def blocking_move(self, who: int, name: str, epoch: int) -> None:
        """A move that was sent by this or an earlier life; `admit` follows, or something else first."""
        owner, keys = self.life(who, epoch), STORE.keys
        if self.plain.waiting[name]:
            source, target = keys.queue(name), keys.running(owner.identity, owner.epoch, name)
            raw = self.client.lmove(source, target, "RIGHT", "LEFT")
            assert raw == self.plain.move(owner.field, name)
            self.process(who).tickets.append(Ticket(owner, name, raw))

    @rule(who=some)
    def reconcile(self, who: int) -> None:
        """Take up what is in the running lists, as after a lost reply."""
        process = self.process(who)
        known = Counter(process.tickets)
        for owner in process.lives:
            for name in QUEUES:
                held = self.run(STORE.running(owner.identity, owner.epoch).held(name))
                assert held == self.plain.held[owner.field, name][::-1]
                found = Counter(Ticket(owner, name, raw) for raw in held)
                process.tickets += (found - known).elements()

    def holding(self) -> bool:
        return any(process.tickets for process in self.processes)

    @precondition(holding)
    @rule(who=some, numbers=some_of_them, lost=lost)
    def ack(self, who: int, numbers: list[int], lost: bool) -> None:
        process = self.holder(who)
        tickets = process.some(numbers)
        done = [(t.queue, t.raw) for t in tickets]
        field = tickets[0].owner.field
        self.send(tickets[0].running.ack(done, DAY), lambda: self.plain.ack(field, done))
        process.settled(tickets, lost=lost)

    @precondition(holding)
    @rule(who=some, number_=some)
    def admit(self, who: int, number_: int) -> None:
        process = self.holder(who)
        (ticket,) = process.some([number_])
        owner, name, raw = ticket
        state = self.send(ticket.running.admit(name, raw), lambda: self.plain.admit(owner.field, name, raw))
        process.settled([ticket], lost=state in ("KEPT", "REAPED"))

    @precondition(holding)
    @rule(
        how=st.sampled_from(["retry", "bury", "drop"]), who=some, n=some, wait=delay, tries=st.integers(0, 2),
        lost=lost, foreign=foreign,
    )  # fmt: skip
    def settle(self, how: str, who: int, n: int, wait: int, tries: int, lost: bool, foreign: bool) -> None:
        process = self.holder(who)
        (ticket,) = process.some([n])
        owner, name, raw = ticket.owner.field, ticket.queue, ticket.raw
        due, burial, text = self.now + wait, self.burial(), job(number(raw), f',"retry_count":{tries}')
        call: Any
        match how:
            case "retry":
                call = ticket.running.retry(name, raw, text, due, DAY)
                expected = lambda: self.plain.retry(owner, name, raw, text, due)  # noqa: E731
            case "bury":
                call = ticket.running.bury(name, raw, text, burial, DAY)
                expected = lambda: self.plain.bury(owner, name, raw, text, burial)  # noqa: E731
            case _:
                call = ticket.running.drop(name, raw, DAY)
                expected = lambda: self.plain.drop(owner, name, raw)  # noqa: E731
        if foreign and how != "drop":
            self.send_into("dead" if how == "bury" else "retry", call)
        else:
            self.send(call, expected)
            process.settled([ticket], lost=lost)

    @precondition(holding)
    @rule(who=some, numbers=some_of_them, lost=lost, foreign=foreign)
    def requeue(self, who: int, numbers: list[int], lost: bool, foreign: bool) -> None:
        process = self.holder(who)
        tickets = process.some(numbers)
        owner, name, _ = tickets[0]
        tickets = [ticket for ticket in tickets if ticket.queue == name]
        raws = [ticket.raw for ticket in tickets]
        call = tickets[0].running.requeue(name, raws)
        if foreign:
            self.send_into(STORE.keys.queue(name), call)
        else:
            self.send(call, lambda: self.plain.requeue(owner.field, name, raws))
            process.settled(tickets, lost=lost)

    # -- life and death -----------------------------------------------------------------------------

    @rule(who=some)
    def lives(self, who: int) -> None:
        self.beat(self.process(who))

    @rule(who=some)
    def falls_silent(self, who: int) -> None:
        """The heartbeat expires: the process is dead, or a zombie."""
        identity = self.process(who).identity
        self.client.delete(STORE.keys.process(identity))
        self.plain.alive.discard(identity)

    @rule(how=st.sampled_from(["leave", "forget", "renew"]), who=some, epoch=some)
    def registration(self, how: str, who: int, epoch: int) -> None:
        owner = self.life(who, epoch)
        match how:
            case "leave":
                self.send(STORE.processes.leave(owner), lambda: self.plain.leave(owner))
            case "forget":
                self.send(STORE.owners.forget(owner), lambda: self.plain.forget(owner))
            case _:
                self.renew(self.process(who))

    def someone_is_silent(self) -> bool:
        return len(self.plain.alive) < len(self.processes)

    @precondition(someone_is_silent)
    @rule(
        who=some, epoch=some, name=queue, stale=foreign, blamed=st.integers(0, 15),
        limit=st.sampled_from([0, 1, 2, 2]), foreign=foreign,
    )  # fmt: skip
    def recover(
        self, who: int, epoch: int, name: str, stale: bool, blamed: int, limit: int, foreign: bool
    ) -> None:
        """By any process, on what it read just now or on what it read before another one recovered."""
        silent = [
            (owner, held)
            for process in self.processes
            for owner in process.lives
            for held in QUEUES
            if process.identity not in self.plain.alive and self.plain.held[owner.field, held]
        ]
        # Mostly where there is something to recover, at times from anybody.
        owner, name = silent[who % len(silent)] if silent and epoch else (self.life(who, epoch), name)
        burial, place = self.burial(), (owner.field, name)
        if not stale or place not in self.orphans:
            _, self.orphans[place] = self.run(STORE.owners.held(owner, name))
        orphans = self.blame(self.orphans[place][:4], blamed)
        call = STORE.owners.recover(owner, name, orphans, limit, 10_000, burial)
        if foreign:
            self.send_into("dead" if blamed % 2 else STORE.keys.queue(name), call)
        else:
            self.send(call, lambda: self.plain.recover(owner, name, orphans, limit, burial))

    @precondition(someone_is_silent)
    @rule(blamed=st.integers(0, 15), limit=st.integers(0, 2))
    def sweep(self, blamed: int, limit: int) -> None:
        """Recover all that one silent process held, and forget it; it may be a zombie for all we know."""
        burial = self.burial()
        silent = [process for process in self.processes if process.identity not in self.plain.alive]
        for owner in silent[blamed % len(silent)].lives:
            for name in QUEUES:
                _, held = self.run(STORE.owners.held(owner, name))
                orphans = self.blame(held, blamed)
                self.send(
                    STORE.owners.recover(owner, name, orphans, limit, 10_000, burial),
                    lambda o=owner, n=name, h=orphans: self.plain.recover(o, n, h, limit, burial),
                )
            self.send(STORE.owners.forget(owner), lambda o=owner: self.plain.forget(o))

    # -- sorted sets --------------------------------------------------------------------------------

    def waiting_entries(self) -> bool:
        return any(self.plain.sets.values())

    @precondition(waiting_entries)
    @rule(n=some, fresh=st.booleans(), numbers=some_of_them, to=st.sampled_from([*QUEUES, *QUEUES, ""]))
    def promote(self, n: int, fresh: bool, numbers: list[int], to: str) -> None:
        name = self.choose(n, ["retry", "schedule"], fresh=fresh)
        now = self.now
        entries = dict.fromkeys(entry.raw for entry in self.read_before(name, numbers))
        promotions = [Promotion(raw, to, job(number(raw), ',"enqueued_at":1')) for raw in entries]
        call = STORE.entries.promote(name, promotions, now)
        self.send(call, lambda: self.plain.promote(name, promotions, now))

    @precondition(waiting_entries)
    @rule(
        how=st.sampled_from(["enqueue", "enqueue", "bury", "delete", "reschedule"]), n=some,
        fresh=st.booleans(), numbers=some_of_them, to=queue, wait=delay, foreign=foreign,
    )  # fmt: skip
    def entry_move(
        self, how: str, n: int, fresh: bool, numbers: list[int], to: str, wait: int, foreign: bool
    ) -> None:
        name = self.choose(n, ["dead", "retry", "schedule"], fresh=fresh)
        plain, due, burial = self.plain, self.now + wait, self.burial()
        for entry in self.read_before(name, numbers):
            crash_key, text = str(number(entry.raw)), job(number(entry.raw), ',"enqueued_at":2')
            match how:
                case "enqueue" if foreign:
                    self.send_into(
                        STORE.keys.queue(to), STORE.entries.enqueue(name, entry, to, text, crash_key)
                    )
                case "enqueue":
                    self.send(
                        STORE.entries.enqueue(name, entry, to, text, crash_key),
                        lambda e=entry, t=text, c=crash_key: plain.enqueue_entry(name, e, to, t, c),
                    )
                case "bury" if foreign and name != "dead":
                    self.send_into("dead", STORE.entries.bury(name, entry, text, burial))
                case "bury" if name != "dead":
                    self.send(
                        STORE.entries.bury(name, entry, text, burial),
                        lambda e=entry, t=text: plain.bury_entry(name, e, t, burial),
                    )
                case "reschedule":
                    self.send(
                        STORE.entries.reschedule(name, entry, due),
                        lambda e=entry: plain.reschedule_entry(name, e, due),
                    )
                case "delete":
                    self.send(STORE.entries.delete(name, entry), lambda e=entry: plain.delete_entry(name, e))

    # -- queues and whole sets --------------------------------------------------------------------------

    @rule(name=queue, how=st.sampled_from(["pause", "unpause", "unpause"]))
    def pause(self, name: str, how: str) -> None:
        if how == "pause":
            self.send(STORE.queues.pause(name), lambda: self.plain.pause(name))
        else:
            self.send(STORE.queues.unpause(name), lambda: self.plain.unpause(name))

    @rule(name=queue, n=some)
    def delete_job(self, name: str, n: int) -> None:
        jobs = self.plain.waiting[name]
        raw = jobs[n % len(jobs)] if jobs else job(9999)
        self.send(STORE.queues.delete(name, raw), lambda: self.plain.delete_job(name, raw))

    @rule(name=queue, sure=st.booleans())
    def clear_queue(self, name: str, sure: bool) -> None:
        if sure:
            self.send(STORE.queues.clear(name), lambda: self.plain.clear_queue(name))

    @rule(n=some, sure=st.integers(0, 3))
    def clear_set(self, n: int, sure: int) -> None:
        if sure == 3:
            name = self.choose(n, ["dead", "retry", "schedule"], fresh=False)
            self.send(STORE.entries.clear(name), lambda: self.plain.clear_set(name))

    # -- the network ----------------------------------------------------------------------------------

    @rule(n=st.integers(0, 9))
    def sent_again(self, n: int) -> None:
        """A call arrives a second time, at once or later."""
        call, expected = self.sent[-1 - n % len(self.sent)]
        self.send(call, expected)
