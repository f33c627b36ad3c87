"""Waits for jobs without polling: one BLMOVE for each queue, each on its own connection."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, NamedTuple

from ..clock import monotonic
from ..errors import RedisError, RedisNotReady, RedisRefused
from ..store import Endpoint, Transport
from ..store.blocking import BlockingMove
from .admission import Admission
from .delivery import Delivery
from .exchange import Exchange
from .returning import give_back_ready

PAUSE_S = 1.0
"""How long to wait before Redis is asked again after it failed."""
PROBE_S = 0.9
"""How long it is given to answer then: who has come back shall not wait for the normal time-out."""
STALE_S = 0.020
"""Fetched jobs that no thread has taken for so long go back to the queue."""
REARM_S = 0.5
"""How often to look for a free slot that nobody fetches for."""
ABOUND_S = 0.005
"""A job that comes so soon after an answer will not be the last."""
PAUSED_LOOK_S = 2.0
"""How often to look whether a paused queue goes on."""


class Hands(NamedTuple):
    """Who runs jobs: `wake` a thread (False: all are busy); parse a job; `begin` one on the event loop."""

    wake: Callable[[], bool]
    foresee: Callable[[Delivery], None]
    begin: Callable[[Delivery], None]


class Waiter:
    """One thread per capsule that waits, and that looks after what the job threads cannot.

    It arms a blocking move for every queue once a fetch found them empty, hands over what arrives,
    makes trips when all threads are busy, gives back jobs that nobody can start, and brings the
    exchange back after an outage.
    """

    def __init__(
        self, exchange: Exchange, endpoint: Endpoint, transport: Transport, timeout_s: float,
        hands: Hands, log: logging.Logger, on_return: Callable[[float], None], name: str,
        report: Callable[[BaseException, Mapping[str, Any]], None],
    ) -> None:  # fmt: skip
        self._exchange = exchange
        self._transport = transport
        self._hands = hands
        self._wake = hands.wake
        self._admission = Admission(exchange, transport)
        self._log = log
        self._on_return = on_return
        self._report = report
        self._moves = [BlockingMove(endpoint, queue, timeout_s) for queue in exchange.order.queues]
        self._selector: selectors.BaseSelector
        self._ear: socket.socket
        self._bell: socket.socket
        self._rung = True  # until it starts, nobody listens
        self._arm = False
        self._ended = False
        self._abandon = False
        self._is_quiet = False
        self._next_look = 0.0
        self._next_try = 0.0
        self._down_since = 0.0
        self._progress = (0, 0.0)
        self._oldest: object = None
        self._oldest_since = 0.0
        self._reconcile = False
        self._refused: set[str] = set()
        self._heard: dict[BlockingMove, int] = {}
        """The sockets that the selector knows; a closed one's number may be another's soon."""
        self._overdue_at = inf
        """Until then no blocking move is overdue."""
        self._thread = threading.Thread(target=self._run, name=f"sidekiq.{name}/fetcher", daemon=True)
        exchange.hungry = self.hungry
        exchange.alarm = self.ring

    def start(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ, None)
        self._rung = False
        self._thread.start()

    def hungry(self) -> None:
        """A fetch found the queues empty: wait for jobs, unless every queue is waited for already."""
        self._arm = True
        if not all(move.armed for move in self._moves):
            self.ring()

    def doubt(self) -> None:
        """The running lists may hold jobs that this process does not know: read them."""
        self._reconcile = True
        self.ring()

    def ring(self) -> None:
        """Wake the thread."""
        if not self._rung:
            self._rung = True
            try:
                self._bell.send(b"x")
            except OSError:
                return  # the pipe is full of wake-ups, or closed, since the thread has ended

    @property
    def runs(self) -> bool:
        """Whether its thread has begun and has not ended."""
        return self._thread.is_alive()

    def not_waiting(self) -> str:
        """Why this process does not wait for jobs, or "": every queue that is not paused has a blocking
        move, and the server says so too, where this user may ask it. From any thread.
        """
        moves = [move for move in self._moves if move.queue not in self._exchange.paused]
        idle = next((move.queue for move in moves if not move.armed), None)
        if idle is not None:
            return f"queue {idle} is not waited for"
        try:
            found = self._transport.command("CLIENT", "LIST", "ID", *(move.client_id for move in moves))
        except RedisRefused:
            return ""
        except RedisError as error:
            return f"Redis does not answer: {error}"
        waiting = found.count(b" cmd=blmove ") if moves else 0
        return "" if waiting >= len(moves) else "the server does not know that it waits"

    def end(self, timeout_s: float, *, abandon: bool = False) -> bool:
        """Stop waiting: read every pending reply and put its job back. False if a reply could not be had.

        `abandon`: Redis is away, so none can; what it still brings stays in the running lists.
        """
        self._abandon = abandon
        self._ended = True
        self.ring()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        return not abandon and not any(move.armed for move in self._moves)

    # -- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended:
            try:
                self._step()
            except RedisError as error:
                self._hang_up()
                self._exchange.fail(error)
                self._next_try = monotonic() + PAUSE_S
            except Exception as error:
                # Whatever is wrong, a worker that no longer fetches is worse.
                self._report(error, {"context": "the fetcher failed, it goes on in a second"})
                self._hang_up()
                self._exchange.down = True
                self._next_try = monotonic() + PAUSE_S
        try:
            self._disarm()
        finally:
            # Here and not where it is waited for: that may have given up by now.
            self._selector.close()
            self._ear.close()
            self._bell.close()

    def _step(self) -> None:
        exchange = self._exchange
        heard = self._selector.select(self._patience())
        for key, _ in heard:
            if key.data is None:
                self._ear.recv(1024)
                # After the read: who rings between the two has changed what the rest of this step looks at.
                self._rung = False
            else:
                self._hear(key.data)
        if self._ended:
            return
        if exchange.down or self._reconcile:
            self._come_back()
            return
        if exchange.quiet and not self._is_quiet:
            self._is_quiet = True
            self._disarm()  # each would take one more job, and put it back
        self._look()
        self._give_back_stale()
        if (heard or self._stands_still()) and exchange.wants_a_trip and not self._wake():
            self._make_trip()
        if self._arm or not (heard or exchange.ready or exchange.has_news):
            self._arm = False
            self._park()

    def _stands_still(self) -> bool:
        """Whether no job has ended and no answer come since the last look."""
        exchange = self._exchange
        progress = exchange.runs, exchange.last_answer
        if progress != self._progress:
            self._progress = progress
            return False
        exchange.pace.brisk = False
        return True

    def _patience(self) -> float | None:
        exchange = self._exchange
        # First, so that what becomes ready after the look rings.
        exchange.watched = False
        if (exchange.ready or exchange.has_news) and not exchange.down:
            exchange.watched = True
            return STALE_S
        until = self._overdue_at
        if exchange.down:
            until = min(until, self._next_try)
        elif exchange.settling.owed or exchange.paused:
            until = min(until, self._next_look)
        elif not exchange.quiet and not all(move.armed for move in self._moves):
            # All slots are taken, or a wake-up has gone astray: then nobody else would ever look again.
            until = min(until, monotonic() + REARM_S)
        return None if until == inf else max(until - monotonic(), 0.0)

    def _park(self, beside: int = 0) -> None:
        """Arm a blocking move for every queue that has none, if there is room for a job beside so many.

        A job pushed since the fetch that found the queue empty is in the queue, and the move takes it.
        """
        if self._exchange.room() <= beside:
            return
        for move in self._moves:
            if not move.armed and move.queue not in self._exchange.paused:
                if move.arm(self._exchange.ownership.running):
                    self._unhear(move)
                    self._heard[move] = move.fileno()
                    self._selector.register(move.fileno(), selectors.EVENT_READ, move)
                self._overdue_at = min(self._overdue_at, move.deadline)

    def _hear(self, move: BlockingMove) -> None:
        if not move.armed:
            self._drop(move)  # nothing was asked: the server has closed it
            return
        try:
            job = move.read()
        except RedisRefused as error:
            # A full Redis refuses BLMOVE, but not the fetch script.
            if isinstance(error, RedisNotReady):
                self._drop(move)  # another server may answer there by now
            if move.queue not in self._refused:
                self._refused.add(move.queue)
                self._log.warning("%s; it is fetched by polling meanwhile", error)
            self._exchange.paused |= {move.queue}
            return
        self._refused.discard(move.queue)
        # Where one job came from there may be more, and the next thread's trip may be far away.
        now = monotonic()
        abound = now - self._exchange.last_answer < ABOUND_S
        self._exchange.last_answer = now
        self._arm = True
        if job is None:
            return
        delivery = Delivery(move.queue, job, move.running)
        if not self._admission.admit(delivery, lambda: self._look_ahead(delivery)):
            return
        if delivery.on_loop:
            self._hands.begin(delivery)
        if abound or not delivery.on_loop:
            self._wake()  # also to fetch many at once, which a blocking move does not

    def _look_ahead(self, delivery: Delivery) -> None:
        """While the server is asked about a job: what would keep it waiting afterwards."""
        self._hands.foresee(delivery)
        self._park(beside=1)

    def _look(self) -> None:
        """Now and then: are paused queues back, can what is owed be settled?"""
        exchange = self._exchange
        now = monotonic()
        if now >= self._overdue_at:
            self._find_overdue(now)
        if not (exchange.settling.owed or exchange.paused) or now < self._next_look:
            return
        self._next_look = now + (PAUSE_S if exchange.settling.owed else PAUSED_LOOK_S)
        exchange.settling.settle_owed()
        if not exchange.quiet and not self._wake():
            self._make_trip()

    def _find_overdue(self, now: float) -> None:
        deadlines = [move.deadline for move in self._moves if move.armed]
        self._overdue_at = min(deadlines, default=inf)
        if now >= self._overdue_at:
            raise next(move for move in self._moves if move.armed and now >= move.deadline).gave_up()

    def _make_trip(self) -> None:
        """Threads that end a job meanwhile find the trip taken and rest: look for what they left, a job
        to acknowledge or a free slot.
        """
        exchange = self._exchange
        exchange.trip()
        while exchange.wants_a_thread and not self._wake() and exchange.wants_a_trip:
            exchange.trip()

    def _give_back_stale(self) -> None:
        ready = self._exchange.ready
        first = ready[0] if ready else None
        now = monotonic()
        if first is None or first is not self._oldest:
            self._oldest, self._oldest_since = first, now
        elif now - self._oldest_since > STALE_S and not (self._exchange.next_up and self._wake()):
            # Every slot is taken by a long job: another process may be free.
            give_back_ready(self._exchange)

    # -- outages ------------------------------------------------------------------------

    def _come_back(self) -> None:
        """Read the running lists, which answers a cut connection's question: did that fetch happen?"""
        now = monotonic()
        if self._exchange.down:
            self._down_since = self._down_since or now
            if now < self._next_try:
                return
        self._hang_up()
        self._next_try = now + PAUSE_S
        try:
            if self._exchange.down:
                self._transport.probe(PROBE_S)
            self._exchange.reconcile()
        except RedisError:
            self._exchange.down = True
            return
        self._reconcile = False
        if self._down_since:
            self._on_return(monotonic() - self._down_since)
            self._down_since = 0.0
        self._arm = True
        self.ring()
        self._wake()

    def _hang_up(self) -> None:
        """Drop the blocking connections; a job that a lost reply held is found by reconciling."""
        for move in self._moves:
            self._drop(move)
        self._overdue_at = inf

    def _drop(self, move: BlockingMove) -> None:
        self._unhear(move)
        move.close()

    def _unhear(self, move: BlockingMove) -> None:
        if move in self._heard:
            self._selector.unregister(self._heard.pop(move))

    def _disarm(self) -> None:
        """End every blocking move, and put back what arrives meanwhile."""
        if self._abandon:
            self._hang_up()
        for move in self._moves:
            try:
                if move.armed:
                    self._transport.command("CLIENT", "UNBLOCK", move.client_id)
                    job = move.read()
                    if job is not None:
                        self._admission.admit(Delivery(move.queue, job, move.running))
                self._drop(move)
            except RedisError as error:
                self._log.warning("waiting for queue %s could not be ended: %s", move.queue, error)
