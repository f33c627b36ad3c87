"""What a capsule takes from Redis and gives back: fetch, acknowledge, settle, requeue, reconcile."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from ..clock import Clock, monotonic
from ..errors import LostReply, RedisError, RedisUnavailable
from ..store import Running, Transport
from ..store.calls import Call
from ..store.owners import Owner
from ..store.running import FETCH_BYTES, Fetched, Settled
from .delivery import Delivery
from .order import QueueOrder
from .ownership import Ownership

ACKS_A_CALL = 200
AHEAD = 100
"""The most jobs taken beyond the free slots."""
AHEAD_S = 0.010
"""How long jobs beyond the free slots may wait, judged by recent run times."""
_HISTORY = 100
_REQUEUE_A_CALL = 100


class Exchange:
    """The jobs of one capsule between Redis and its threads.

    `ready` are fetched and not started, `active` are running (oldest first), `_done` wait to be
    acknowledged. One thread at a time makes a trip to Redis, which acknowledges and fetches in one call;
    what others finish meanwhile rides on the next one. A failed trip marks the exchange as down: the
    waiter then reconciles.
    """

    def __init__(
        self, ownership: Ownership, transport: Transport, order: QueueOrder, concurrency: int, clock: Clock,
        log: logging.Logger, on_outage: Callable[[RedisError], None],
    ) -> None:  # fmt: skip
        self.ownership = ownership
        self.order = order
        self.concurrency = concurrency
        self.ready: deque[Delivery] = deque()
        self.active: dict[Delivery, None] = {}
        self.quiet = False
        self.down = False
        self.fenced = 0
        self.paused: frozenset[str] = frozenset()
        self.last_answer = monotonic()
        self.hungry: Callable[[], None] = lambda: None
        self.alarm: Callable[[], None] = lambda: None
        self._transport = transport
        self._clock = clock
        self._log = log
        self._on_outage = on_outage
        self._done: deque[Delivery] = deque()
        self._unsettled: deque[tuple[Delivery, Call[Settled], Callable[[Settled], None]]] = deque()
        self._trip = threading.Lock()
        self._run_times = [0.0] * _HISTORY
        self._runs = 0
        self._plenty = False
        self._missed = False
        self._problem = ""

    # -- taking -------------------------------------------------------------------------

    def room(self) -> int:
        """How many jobs to fetch now: the free slots, and what they can finish within 10 ms."""
        free = self.concurrency - len(self.active) - len(self.ready)
        if self.quiet or self.down or free <= 0:
            return 0
        if self._runs < _HISTORY:
            return free
        mean = sum(self._run_times) / _HISTORY
        return free + min(AHEAD, int(free * AHEAD_S / max(mean, 1e-6)))

    def ran(self, seconds: float) -> None:
        """Remember how long a job ran."""
        self._run_times[self._runs % _HISTORY] = seconds
        self._runs += 1

    @property
    def runs(self) -> int:
        """How many jobs have run."""
        return self._runs

    @property
    def has_news(self) -> bool:
        """Whether finished jobs wait to be acknowledged."""
        return bool(self._done)

    @property
    def wants_a_thread(self) -> bool:
        """Whether an idle thread would find something to do: a job to start, or a trip to make."""
        if self.ready:
            return True
        if self.down or self._trip.locked():
            return False
        return bool(self._done) or ((self._plenty or self._missed) and self.room() > 0)

    def trip(self) -> bool:
        """Acknowledge and fetch, unless another thread is at it; whether there may be more to do at once."""
        if self.down:
            return False
        if not self._trip.acquire(blocking=False):
            # Who is on a trip may have had no room to fetch for, and has to look again: here is a free slot.
            self._missed = True
            return False
        try:
            return self._travel()
        except RedisError as error:
            self.fail(error)
            return False
        finally:
            self._trip.release()

    def _travel(self) -> bool:
        self._missed = False
        room = self.room()
        done = _cut(self._done, ACKS_A_CALL)
        if not done and not room:
            return False
        running = self.ownership.running
        try:
            if any(d.running is not running for d in done):
                # Acknowledged against the lists of an earlier epoch, on their own.
                self._ack_old([d for d in done if d.running is not running])
                done = [d for d in done if d.running is running]
            fetched = self._transport.run(self._call(done, room)) if done or room else Fetched()
        except RedisError as error:
            for delivery in reversed(done):
                delivery.resent = delivery.resent or isinstance(error, LostReply)
                self._done.appendleft(delivery)
            raise
        if fetched.reaped:
            self._done.extendleft(reversed(done))
            self._renew()
            return True
        self.last_answer = monotonic()
        if room:
            self.paused = fetched.paused
        self._settled(done, fetched)
        new = [Delivery(queue, raw, running) for queue, raw in fetched.jobs]
        self._take_on(new)
        if room:
            self._plenty = len(new) >= room
            if not self._plenty:
                self.hungry()
        return bool(new or self._done)

    def _call(self, done: Sequence[Delivery], room: int) -> Call[Fetched]:
        running = self.ownership.running
        pairs = [(d.queue, d.raw) for d in done]
        if not room:
            return running.ack(pairs, self._clock.day())
        if not done:
            return running.fetch(self.order.next(), room)
        return running.ack_and_fetch(self.order.next(), room, pairs, self._clock.day())

    def _ack_old(self, done: Sequence[Delivery]) -> None:
        for running in {d.running for d in done}:
            mine = [d for d in done if d.running is running]
            self._settled(
                mine, self._transport.run(running.ack([(d.queue, d.raw) for d in mine], self._clock.day()))
            )

    def _settled(self, done: Sequence[Delivery], fetched: Fetched) -> None:
        for position in fetched.gone:
            self._gone(done[position])
        self.ownership.held.difference_update(done)
        if fetched.problem:
            self._report(fetched.problem)

    def arrive(self, queue: str, raw: bytes, running: Running) -> bool:
        """A blocking move delivered a job to a running list: keep it, or give it back. Raises RedisError."""
        owner = self.ownership.owner
        delivery = Delivery(queue, raw, running)
        held = self.ownership.held
        held.add(delivery)
        try:
            # No renewal in between: it registers the old epoch again, and a job of this process that was
            # recovered meanwhile would be in the old list beside the bytes that its first run settles.
            with self._trip:
                if running is not self.ownership.running:
                    state = "OLD"
                elif self.room() <= 0:
                    state = "FULL"
                else:
                    state = self._transport.run(running.admit(queue, raw))
            if state in ("OLD", "FULL", "REAPED"):
                self.give_back([delivery])
            if state == "REAPED":
                self.renew(owner)
        except RedisError:
            # Reconciling finds it in the running list and takes it up again.
            held.discard(delivery)
            raise
        if state == "BACK":
            self.paused |= {queue}
        if state != "KEPT":
            held.discard(delivery)
            return False
        self.last_answer = monotonic()
        self.ready.append(delivery)
        return True

    def renew(self, gone: Owner) -> None:
        """The registration of `gone` has vanished: go on under a new epoch. Raises RedisError."""
        with self._trip:
            if self.ownership.owner is gone:
                self._renew()
        # Threads that wanted to make a trip meanwhile rest now.
        self.hungry()
        self.alarm()

    def _renew(self) -> None:
        self._log.warning(
            "this process was taken for dead: it registers again; its jobs may run elsewhere too"
        )
        self.ownership.renew()
        # Those that did not start here yet shall run where they were recovered to, and only there.
        self.give_back(self.take_ready())

    # -- giving -------------------------------------------------------------------------

    def done(self, delivery: Delivery) -> None:
        """A job succeeded; the next trip acknowledges it."""
        self.active.pop(delivery, None)
        if not delivery.given_back:
            self._done.append(delivery)

    def let_go(self, delivery: Delivery, *, gone: bool = False) -> None:
        """A job that did not run is not this process's any more; `gone`: somebody else has settled it."""
        self.active.pop(delivery, None)
        self.ownership.held.discard(delivery)
        if gone:
            self._gone(delivery)

    def settle(self, delivery: Delivery, call: Call[Settled], after: Callable[[Settled], None]) -> None:
        """A job failed: retry, bury or drop it, now or, if Redis is away, later; then `after`."""
        self.active.pop(delivery, None)
        if delivery.given_back:
            return
        if self.down:
            self._unsettled.append((delivery, call, after))
            return
        try:
            self._settle(delivery, call, after)
        except RedisUnavailable as error:
            self._unsettled.append((delivery, call, after))
            self.fail(error)
        except RedisError as error:
            self._unsettled.append((delivery, call, after))
            self._report(str(error))
            self.alarm()

    @property
    def owes(self) -> bool:
        """Whether jobs that failed could not be settled yet."""
        return bool(self._unsettled)

    def settle_owed(self) -> None:
        """Settle what could not be settled before. Raises RedisUnavailable."""
        for _ in range(len(self._unsettled)):
            delivery, call, after = self._unsettled.popleft()
            try:
                self._settle(delivery, call, after)
            except RedisError as error:
                self._unsettled.append((delivery, call, after))
                if isinstance(error, RedisUnavailable):
                    raise
                self._report(str(error))

    def _settle(self, delivery: Delivery, call: Call[Settled], after: Callable[[Settled], None]) -> None:
        try:
            settled = self._transport.run(call)
        except LostReply:
            delivery.resent = True
            raise
        self.ownership.held.discard(delivery)
        if not settled.moved and not delivery.resent:
            self._gone(delivery)
            return
        if settled.problem:
            self._report(settled.problem)
        if not settled.added:
            self._log.warning("the dead set held the same text already: %r", delivery.raw)
        after(settled)

    def give_back(self, deliveries: Sequence[Delivery]) -> int:
        """Put jobs back in their queues; answers how many went.

        Raises RedisError; which of them went is found out by reconciling then.
        """
        try:
            return self._give_back(deliveries)
        except RedisError:
            self.ownership.held.difference_update(deliveries)
            raise

    def _give_back(self, deliveries: Sequence[Delivery]) -> int:
        went = 0
        for running, queue in dict.fromkeys((d.running, d.queue) for d in deliveries):
            # The newest first: what comes later goes in front of it.
            mine = deque(d for d in reversed(deliveries) if d.running is running and d.queue == queue)
            while mine:
                part = _cut(mine, _REQUEUE_A_CALL)[::-1]
                gone = self._transport.run(running.requeue(queue, [d.raw for d in part]))
                went += len(part) - len(gone)
                for delivery in part:
                    delivery.given_back = True
                self.ownership.held.difference_update(part)
        return went

    def take_ready(self) -> list[Delivery]:
        """All jobs that were fetched and not started."""
        taken = []
        while self.ready:
            try:
                taken.append(self.ready.popleft())
            except IndexError:
                break
        return taken

    # -- trouble ------------------------------------------------------------------------

    def _gone(self, delivery: Delivery) -> None:
        if not delivery.resent:
            self.fenced += 1
            self._log.warning(
                "a job of %s was settled elsewhere while it ran here (this process was taken for dead): "
                "its result here does not count: %r", delivery.queue, delivery.raw[:200],
            )  # fmt: skip

    def fail(self, error: RedisError) -> None:
        """Redis does not answer as it should: stop until the waiter has brought it back."""
        if not self.down:
            self.down = True
            self._on_outage(error)
        self.alarm()

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            self._log.error("Redis: %s", problem)
            self._problem = problem

    def reconcile(self) -> int:
        """Read the running lists and take up what this process does not know; answers how many.

        No blocking move may be under way. Raises RedisError, and stays down, while Redis does not work.
        """
        with self._trip:
            found = 0
            for running in self.ownership.lives:
                for queue in self.order.queues:
                    found += self._take_up(running, queue)
            self.down = False
            try:
                self._travel()
            except RedisError:
                self.down = True
                raise
        self.settle_owed()
        return found

    def _take_up(self, running: Running, queue: str) -> int:
        before = self.ownership.held.copy()
        raws: list[bytes] = []
        while page := self._transport.run(running.held(queue, len(raws))):
            raws += page
        new = self.ownership.unknown(before, running, queue, raws)
        self._take_on(new)
        return len(new)

    def _take_on(self, new: list[Delivery]) -> None:
        """Start these jobs, or give them back if this process has become quiet meanwhile."""
        self.ownership.held.update(new)
        if self.quiet:
            self.give_back(new)
        else:
            self.ready.extend(new)


def _cut(waiting: deque[Delivery], most: int) -> list[Delivery]:
    """Take what one call carries: so many at most, and no more once they have FETCH_BYTES."""
    taken: list[Delivery] = []
    size = 0
    while waiting and len(taken) < most and size < FETCH_BYTES:
        taken.append(waiting.popleft())
        size += len(taken[-1].raw)
    return taken
