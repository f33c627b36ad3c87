"""What a capsule takes from Redis and gives back: fetch, acknowledge, settle, requeue, reconcile."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from ..clock import Clock, boottime, monotonic
from ..errors import LostReply, RedisError, RedisUnavailable
from ..store import Transport
from ..store.calls import Call
from ..store.owners import Owner
from ..store.running import Fetched, Settled
from .delivery import Delivery
from .lease import Lease
from .order import QueueOrder
from .ownership import Ownership
from .pace import Pace
from .settling import Settling
from .trip import Trip, cut, request

ACKS_A_CALL = 200


class Exchange:
    """The jobs of one capsule between Redis and its threads.

    `ready` are fetched and not started, `active` are running (oldest first), `_done` wait to be
    acknowledged. One trip to Redis at a time acknowledges and fetches in one call; what ends meanwhile
    rides on the next one. While short jobs abound, a trip is sent when half of what the last one brought
    is left, and its answer read when nothing is. A failed trip marks the exchange as down: the waiter
    then reconciles.
    """

    def __init__(
        self, ownership: Ownership, transport: Transport, order: QueueOrder, concurrency: int, clock: Clock,
        log: logging.Logger, on_outage: Callable[[RedisError], None],
    ) -> None:  # fmt: skip
        self.ownership = ownership
        self.lease = Lease()
        self.order = order
        self.concurrency = concurrency
        self.ready: deque[Delivery] = deque()
        self.active: dict[Delivery, None] = {}
        self.quiet = False
        self.down = False
        self.paused: frozenset[str] = frozenset()
        self.low = -1
        """When so few are ready, the next trip is sent."""
        self.watched = False
        """Whether the waiter looks every few milliseconds after what is ready or under way."""
        self.last_answer = monotonic()
        self.hungry: Callable[[], None] = lambda: None
        self.alarm: Callable[[], None] = lambda: None
        self._transport = transport
        self._clock = clock
        self._log = log
        self._on_outage = on_outage
        self._done: deque[Delivery] = deque()
        self.settling = Settling(ownership, transport, log)
        self.lock = threading.Lock()
        """Held by who is on a trip, admits a job or renews the registration. Others rest meanwhile, so who
        has held it looks whether a thread or a trip is wanted.
        """
        self._slots = threading.Lock()
        """Held by who takes from `ready` or claims a slot."""
        self._trip: Trip | None = None
        self._coming = 0  # so many jobs are asked for on it
        self.pace = Pace()
        self._plenty = False
        self._missed = False

    # -- taking -------------------------------------------------------------------------

    def room(self) -> int:
        """How many jobs to fetch now: the free slots, and what they can begin within 10 ms."""
        slots = self.concurrency - len(self.active)
        if self.quiet or self.down or slots <= 0:
            return 0
        return max(slots + self.pace.ahead(slots) - len(self.ready) - self._coming, 0)

    @property
    def runs(self) -> int:
        """How many jobs have run."""
        return self.pace.runs

    @property
    def has_news(self) -> bool:
        """Whether finished jobs wait to be acknowledged, or the answer to a trip to be read."""
        return bool(self._done) or self._trip is not None

    @property
    def next_up(self) -> Delivery | None:
        """The job that has been ready for longest, if it may begin and a slot is free for it."""
        try:
            first = self.ready[0]
        except IndexError:
            return None
        return None if len(self.active) >= self.concurrency or self.lease.over else first

    def begin(self, only: Delivery | None = None) -> Delivery | None:
        """Make the job that is next up, or `only` it, an active one; None if it is not to be had."""
        ready, active = self.ready, self.active
        with self._slots:
            if not ready or len(active) >= self.concurrency or self.lease.over:
                return None
            if only is not None and ready[0] is not only:
                return None
            delivery = ready.popleft()
            active[delivery] = None
            return delivery

    @property
    def wants_a_thread(self) -> bool:
        """Whether an idle thread would find something to do: a job to start, or a trip to make or end."""
        return self.next_up is not None or self.wants_a_trip

    @property
    def wants_a_trip(self) -> bool:
        """Whether there is something to acknowledge, an answer to read or a slot to fetch for, and nobody
        who is at it.
        """
        if self.down or not self.lock.acquire(blocking=False):
            return False
        # Not `locked()`, which says no as long as who has waited for the lock, and has it, waits for the GIL:
        # threads would look in vain, at full speed, and keep it from him.
        self.lock.release()
        return self.has_news or ((self._plenty or self._missed) and self.room() > 0)

    def trip(self) -> bool:
        """Acknowledge and fetch, unless another thread is at it; whether there may be more to do at once."""
        if self.down:
            return False
        if not self.lock.acquire(blocking=False):
            # Who is on a trip may have had no room to fetch for, and has to look again: here is a free slot.
            self._missed = True
            return False
        try:
            return self._travel()
        except RedisError as error:
            self.fail(error)
            return False
        finally:
            self.lock.release()

    def set_out(self) -> None:
        """Send the next trip, so that the server works on it while what is ready runs here."""
        self.low = -1
        if self.down or self._trip or not self.lock.acquire(blocking=False):
            return
        try:
            if self._trip is None:
                self._trip = self._depart()
        except RedisError as error:
            self.fail(error)
        finally:
            self.lock.release()
        self.be_watched()

    def _travel(self) -> bool:
        trip = self._trip or self._depart()
        return self._arrive(trip) if trip else bool(self._done)

    def _depart(self) -> Trip | None:
        """Send what there is to tell and to ask; None if there is nothing."""
        self._missed = False
        room = self.room()
        # Should a slot become free before the thread rests, nobody else would look for a job.
        self._missed = self._missed or not room
        done = cut(self._done, ACKS_A_CALL)
        running = self.ownership.running
        try:
            if any(d.running is not running for d in done):
                # Acknowledged against the lists of an earlier epoch, on their own.
                self._ack_old([d for d in done if d.running is not running])
                done = [d for d in done if d.running is running]
            if not done and not room:
                return None
            queues = self.order.next(d.queue for d in done) if room else ()
            since = boottime()
            self._coming = room
            sent = self._transport.send(request(running, queues, room, done, self._clock.day()))
            return Trip(sent, done, room, running, queues, since)
        except BaseException as error:  # also a Shutdown, whose job has ended just before
            self._coming = 0
            self._keep(done, error)
            raise

    def _arrive(self, trip: Trip) -> bool:
        """Read the answer and act on it; whether there may be more to do at once."""
        self._trip = None
        try:
            fetched = trip.sent.read()
        except BaseException as error:
            self._keep(trip.done, error)
            raise
        finally:
            self._coming = 0
        if fetched.reaped:
            self._done.extendleft(reversed(trip.done))
            self._renew()
            return True
        self.last_answer = monotonic()
        if trip.room:
            self.paused = self.paused.difference(trip.queues) | fetched.paused
            self.lease.seen(trip.since)
        self._settled(trip.done, fetched, "ack_and_fetch" if trip.room else "ack")
        new = [Delivery(queue, raw, trip.running) for queue, raw in fetched.jobs]
        self._take_on(new)
        if trip.room:
            filled = len(new) >= trip.room
            self._plenty = self.order.looked(trip.queues, (d.queue for d in new), filled=filled)
            self.low = len(self.ready) // 2 if self._plenty and trip.room > self.concurrency else -1
            if not self._plenty:
                self.hungry()
        self.be_watched()
        return bool(new or self._done or self._plenty)

    def _keep(self, done: Sequence[Delivery], error: BaseException) -> None:
        """These are to be acknowledged again: no answer came."""
        is_sent = isinstance(error, LostReply) or not isinstance(error, RedisError)
        for delivery in reversed(done):
            delivery.resent = delivery.resent or is_sent
            self._done.appendleft(delivery)

    def be_watched(self) -> None:
        """All threads may come to sit in long jobs, with others ready or on their way, or a trip wanted."""
        if not self.watched and (self._trip or len(self.ready) > 1 or self.wants_a_trip):
            self.alarm()

    def _ack_old(self, done: Sequence[Delivery]) -> None:
        for running in {d.running for d in done}:
            mine = [d for d in done if d.running is running]
            fetched = self._transport.run(request(running, (), 0, mine, self._clock.day()))
            self._settled(mine, fetched, "ack")

    def _settled(self, done: Sequence[Delivery], fetched: Fetched, script: str) -> None:
        for position in fetched.gone:
            self.settling.gone(done[position], script)
        self.ownership.held.difference_update(done)
        if fetched.problem:
            self.settling.report(fetched.problem)

    def take_up(self, delivery: Delivery, since: float) -> bool:
        """A blocking move's job was admitted, under the lock; asked for at `since` (of `boottime`).

        False if this process has become quiet meanwhile: it has to be given back.
        """
        self.last_answer = monotonic()
        self.lease.seen(since)
        with self._slots:
            if self.quiet:
                return False
            # Not past those that were fetched before it: the free slot is theirs.
            free = len(self.active) < self.concurrency and not self.lease.over
            delivery.on_loop = delivery.on_loop and not self.ready and free
            if delivery.on_loop:
                self.active[delivery] = None
            else:
                self.ready.append(delivery)
            return True

    def trust(self, since: float, ttl_s: float) -> None:
        """A beat was answered: this process holds its jobs for so long from `since` (of `boottime`)."""
        was_over = self.lease.over
        self.lease.renew(since, ttl_s)
        if was_over:
            self.hungry()
            self.alarm()

    def renew(self, gone: Owner) -> None:
        """The registration of `gone` has vanished: go on under a new epoch. Raises RedisError."""
        with self.lock:
            try:
                # What it brings is not started yet, and goes back.
                self.end_trip()
            except RedisError as error:
                self.fail(error)
                raise
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
            self.settling.gone(delivery, "hold")

    def settle(self, delivery: Delivery, call: Call[Settled], after: Callable[[Settled], None]) -> None:
        """A job failed: retry, bury or drop it, now or, if Redis is away, later; then `after`."""
        self.active.pop(delivery, None)
        if delivery.given_back:
            return
        if self.down:
            self.settling.owed.append((delivery, call, after))
            return
        try:
            self.settling.settle(delivery, call, after)
        except RedisUnavailable as error:
            self.fail(error)
        except RedisError as error:
            self.settling.report(str(error))
            self.alarm()

    def give_back(self, deliveries: Sequence[Delivery]) -> int:
        """Put jobs back in their queues; answers how many went.

        Raises RedisError; which of them went is found out by reconciling then.
        """
        try:
            return self.ownership.give_back(deliveries)
        except RedisError:
            self.ownership.held.difference_update(deliveries)
            raise

    def take_ready(self) -> list[Delivery]:
        """All jobs that were fetched and not started."""
        with self._slots:
            return [self.ready.popleft() for _ in range(len(self.ready))]

    # -- trouble ------------------------------------------------------------------------

    def fail(self, error: RedisError) -> None:
        """Redis does not answer as it should: stop until the waiter has brought it back."""
        if not self.down:
            self.down = True
            self._on_outage(error)
        self.alarm()

    def reconcile(self) -> int:
        """Read the running lists and take up what this process does not know; answers how many.

        No blocking move may be under way. Raises RedisError, and stays down, while Redis does not work.
        """
        with self.lock:
            self.end_trip()
            # What moves a job back to its queue must not come when that runs here.
            self._transport.end_abandoned()
            found = 0
            for running in self.ownership.lives:
                for queue in self.order.queues:
                    new = self.ownership.unknown(running, queue)
                    self._take_on(new)
                    found += len(new)
            self.down = False
            try:
                self._travel()
            except RedisError:
                self.down = True
                raise
        self.settling.settle_owed()
        return found

    def end_trip(self) -> None:
        """No trip is under way after this; for who holds the lock. While Redis is away none is waited for."""
        trip = self._trip
        if trip is None:
            return
        if not self.down:
            self._arrive(trip)
            return
        self._trip, self._coming = None, 0
        self._keep(trip.done, trip.sent.abandon())

    def _take_on(self, new: list[Delivery]) -> None:
        """Start these jobs, or give them back if this process has become quiet meanwhile."""
        self.ownership.held.update(new)
        with self._slots:
            # Who becomes quiet takes what is ready, under this lock, afterwards.
            if not self.quiet:
                self.ready.extend(new)
                return
        self.give_back(new)
