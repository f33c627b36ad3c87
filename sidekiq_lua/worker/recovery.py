"""Finds processes that died, and returns their jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..clock import monotonic
from ..errors import RedisRefused, UnparsablePayload, UnserializableArguments
from ..holding import release
from ..payload import Payload, crash_key
from ..store import Transport
from ..store.owners import Orphan, Owner
from .actor import Actor
from .failure import FailureHandler

if TYPE_CHECKING:
    from ..app import App


_PRUNE_S = 60.0
_NAMED = 10


class PoisonPill(Exception):
    """What the death handlers are told of a job whose process died every time it ran."""


class Recovery(Actor):
    """Every `recovery_interval` seconds, looks at every owner of running lists.

    The heartbeat key decides: when it is gone, any living process may return the jobs, and the script
    checks the key again. A process whose own beats have failed lately, whose own key is gone, or for which
    the server's clock has jumped ahead, judges nobody but those that were seen to die: everybody's heartbeat
    may be gone. A job that was running in `crash_limit` processes that died within `crash_window` seconds is
    a poison pill: it goes to `quarantine_queue` or, where that is not set or is where it came from, to the
    dead set.
    """

    name = "recovery"

    def __init__(
        self, app: App, transport: Transport, failures: FailureHandler, may_judge: Callable[[], bool],
        mine: Callable[[], set[str]], classes: Callable[[], bool], forget_after_s: float, identity: str = "",
        steady: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        super().__init__(failures)
        self._app = app
        self._transport = transport
        self._failures = failures
        self._may_judge = may_judge
        self._steady = steady
        self._mine = mine
        self._classes = classes
        self._forget_after_s = forget_after_s
        self._identity = identity
        self._lives = True
        """Whether this process's heartbeat was there when those of others were looked for."""
        self._gone_since: dict[str, float] = {}
        self._next_prune = 0.0
        self._prune_from = "0"
        self.recovered = 0

    def step(self) -> float:
        if not self._may_judge():
            self._gone_since.clear()
        self.sweep()
        self._prune()
        self._release()
        return float(self._app.config.recovery_interval)

    def sweep(self) -> int:
        """Look at every owner once; answers how many jobs were returned. Raises RedisError.

        What Redis refuses, for a key of a wrong type say, stays where it is and holds up no other jobs.
        """
        returned = 0
        seen = set()
        for owner in self._others():
            fallen = self._transport.run(self._app.store.owners.fallen(owner.identity))
            if fallen is None and not (self._lives and self._may_judge() and self._steady()):
                continue
            seen.add(owner.field)
            since = self._gone_since.setdefault(owner.field, monotonic())
            for queue in owner.queues:
                try:
                    returned += self._recover(owner, queue, fallen)
                except RedisRefused as error:
                    what = f"jobs of queue {queue}, whose process {owner.identity} died, cannot be returned"
                    self._failures.report(error, {"context": what})
            # A blocking move of the dead may still bring a job, so it is forgotten only later.
            if monotonic() - since > self._forget_after_s:
                self._transport.run(self._app.store.owners.forget(owner))
        for field in self._gone_since.keys() - seen:
            del self._gone_since[field]
        self.recovered += returned
        return returned

    def _others(self) -> Iterator[Owner]:
        """The owners without a heartbeat, and the earlier epochs of this process."""
        store, mine = self._app.store.owners, self._mine()
        me = [self._identity] if self._identity else []
        cursor = "0"
        while True:
            cursor, owners = self._transport.run(store.page(cursor))
            others = [owner for owner in owners if owner.field not in mine]
            if others:
                # With the own one, which the next beat may miss too late: a clock of the server that is set
                # forward, or an eviction, ends all at once.
                alive = self._transport.run(store.alive([*(owner.identity for owner in others), *me]))
                self._lives = all(alive[len(others) :])
                yield from (owner for owner, lives in zip(others, alive, strict=False) if not lives)
            if cursor == "0":
                return

    def _recover(self, owner: Owner, queue: str, fallen: set[str] | None) -> int:
        """Return what an owner held from one queue: the newest page first, so that the oldest runs first."""
        store, config = self._app.store.owners, self._app.config
        ward = config.quarantine_queue or ""
        ward = "" if ward == queue else ward
        returned = 0
        while True:
            length, raws = self._transport.run(store.held(owner, queue))
            if not raws:
                return returned
            orphans = self._orphans(owner, queue, ward, raws, length - len(raws), fallen)
            states = self._transport.run(
                store.recover(
                    owner,
                    queue,
                    orphans,
                    config.crash_limit,
                    int(config.crash_window),
                    self._failures.burial(),
                    ward,
                )
            )
            if states is None:
                return returned
            for orphan, state in zip(orphans, states, strict=True):
                if state >= 2:
                    self._poison(orphan, ward)
            moved = sum(state > 0 for state in states)
            if moved:
                self._app.logger.warning(
                    "returned %d jobs of queue %s, whose process %s died",
                    states.count(1),
                    queue,
                    owner.identity,
                )
            returned += moved

    def _orphans(
        self, owner: Owner, queue: str, ward: str, raws: list[bytes], older: int, fallen: set[str] | None
    ) -> list[Orphan]:
        """Blamed is what was running when the process was seen to die: `fallen`.

        Where nobody saw it, for its machine died with it, these are the oldest, as many as it had slots:
        jobs start in the order they were fetched.
        """
        payloads = [self._payload(raw) for raw in raws]
        keys = [crash_key(payload, raw) for payload, raw in zip(payloads, raws, strict=True)]
        blamed = [
            place < owner.concurrency if fallen is None else key in fallen
            for place, key in enumerate(keys, older)
        ]
        beside = [key for key, is_blamed in zip(keys, blamed, strict=True) if is_blamed]
        return [
            Orphan(raw, key, is_blamed, self._as_pill(owner, payload, key, beside, queue, ward) or raw)
            if is_blamed
            else Orphan(raw, key, is_blamed, b"")
            for raw, key, payload, is_blamed in zip(raws, keys, payloads, blamed, strict=True)
        ]

    def _payload(self, raw: bytes) -> Payload | None:
        try:
            return self._app.codec.load(raw)
        except UnparsablePayload:
            return None

    def _as_pill(
        self, owner: Owner, payload: Payload | None, key: str, beside: list[str], queue: str, ward: str
    ) -> bytes | None:
        """The text of a job as a poison pill; None: it is no job or cannot be written, and keeps its own."""
        if payload is None:
            return None
        others = [other for other in beside if other != key]
        named = ", ".join(others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
        stamp = self._app.stamp.now()
        payload["error_class"] = PoisonPill.__name__
        payload["error_message"] = (
            f"{self._app.config.crash_limit} processes died while this job ran, the last was {owner.identity}"
            + (f"; beside it ran {named}" if others else "")
        )
        payload.setdefault("failed_at", stamp)
        payload["retried_at"] = stamp
        if ward:
            # A job's queue is where it is; where it came from is told beside that.
            payload.update(queue=ward, quarantined_from=queue, enqueued_at=stamp)
        try:
            return self._app.codec.dump(payload)
        except UnserializableArguments:
            return None

    def _poison(self, orphan: Orphan, ward: str) -> None:
        where = f"queue {ward}" if ward else "the dead set"
        self._app.logger.error("job %s is a poison pill: it went to %s", orphan.crash_key, where)
        payload = self._payload(orphan.burial)
        if payload is not None:
            self._failures.died(payload, PoisonPill(payload.get("error_message")))

    def _release(self) -> None:
        """Return held jobs of classes that go on, where the one who resumed them could not end it."""
        if not self._classes():
            return
        for name in self._transport.run(self._app.store.holding.classes())[1]:
            released = release(self._transport, self._app.store, name)
            if released:
                self._app.logger.info("returned %d held jobs of %s to their queues", released, name)

    def _prune(self) -> None:
        """Once a minute, take processes without a heartbeat off Sidekiq's list, a page each time."""
        if monotonic() < self._next_prune:
            return
        self._next_prune = monotonic() + _PRUNE_S
        store = self._app.store.processes
        cursor, identities = self._transport.run(store.identities(self._prune_from))
        alone = len(identities) == 1 and cursor == self._prune_from == "0"
        if alone or not identities or self._transport.run(store.prune(identities)) >= 0:
            # Where another process has done it within the last minute, this page's turn is still to come.
            self._prune_from = cursor
