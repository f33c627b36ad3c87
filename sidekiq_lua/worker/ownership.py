"""Under which name a capsule of this process holds jobs, and which jobs those are."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from ..store import Running, Store, Transport
from ..store.owners import Owner
from .delivery import Delivery
from .trip import cut

_REQUEUE_A_CALL = 100


class Ownership:
    """One registered owner. A process that was declared dead goes on under a new epoch.

    Old threads settle against the old epoch's lists, so identical bytes in a new list are safe from them.
    """

    def __init__(
        self, store: Store, transport: Transport, identity: str, capsule: int, queues: Sequence[str],
        concurrency: int,
    ) -> None:  # fmt: skip
        self._store = store
        self._transport = transport
        self._capsule = capsule
        self._number = 0
        self._queues = tuple(queues)
        self._concurrency = concurrency
        self.identity = identity
        self.held: set[Delivery] = set()
        self.lives: list[Running] = []
        """The running lists of every epoch, the present one last."""
        self._take_name()

    def _take_name(self) -> None:
        epoch = f"{self._capsule}.{self._number}"
        self.owner = Owner(self.identity, epoch, self._queues, self._concurrency)
        self.running: Running = self._store.running(self.identity, epoch)
        self.lives.append(self.running)

    def register(self) -> None:
        """Enter `lua:owners`, before anything can enter a running list. Raises RedisError."""
        self._transport.run(self._store.owners.register(self.owner))

    def renew(self) -> None:
        """Take a new epoch and register it; and the old one, whose lists may still hold jobs that run here.

        Raises RedisError, and may then be called again.
        """
        self.register()
        self._number += 1
        self._take_name()
        self.register()

    def counts(self) -> dict[str, int]:
        """How many jobs of each queue this owner believes to hold in its present lists."""
        running = self.running
        return Counter(d.queue for d in self.held.copy() if d.running is running)

    def unknown(self, running: Running, queue: str) -> list[Delivery]:
        """New deliveries for jobs in a running list that `held` does not explain. Raises RedisError."""
        before = self.held.copy()
        found: list[bytes] = []
        while page := self._transport.run(running.held(queue, len(found))):
            found += page
        explained = Counter(d.raw for d in before if d.running is running and d.queue == queue)
        new = []
        for raw in found:
            if explained[raw] > 0:
                explained[raw] -= 1
            else:
                new.append(Delivery(queue, raw, running))
        return new

    def give_back(self, deliveries: Sequence[Delivery]) -> int:
        """Put jobs back in their queues; answers how many went. Raises RedisError."""
        went = 0
        for running, queue in dict.fromkeys((d.running, d.queue) for d in deliveries):
            # The newest first: what comes later goes in front of it.
            mine = deque(d for d in reversed(deliveries) if d.running is running and d.queue == queue)
            while mine:
                part = cut(mine, _REQUEUE_A_CALL)[::-1]
                gone = self._transport.run(running.requeue(queue, [d.raw for d in part]))
                went += len(part) - len(gone)
                self._transport.counts.fenced["requeue"] += len(gone)
                for delivery in part:
                    delivery.given_back = True
                self.held.difference_update(part)
        return went
