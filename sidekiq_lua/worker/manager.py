"""The threads of one capsule."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable

from ..errors import Shutdown
from .delivery import Delivery
from .exchange import Exchange


class Seat:
    """Where one idle thread waits until it is woken."""

    def __init__(self) -> None:
        self.is_new = True
        self.brisk = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self) -> None:
        self._lock.acquire()

    def wake(self) -> None:
        self._lock.release()


class Manager:
    """Threads that take jobs from the exchange, made on demand up to the capsule's concurrency.

    The thread that finds nothing ready makes the trip to Redis itself, so that a job passes from the
    socket to `perform` without a hand-over. Coming from a trip it wakes one other thread if there is more
    to do, and that one another, and so on.
    """

    def __init__(
        self, name: str, exchange: Exchange, process: Callable[[Delivery], None], log: logging.Logger
    ) -> None:
        self.name = name
        self._exchange = exchange
        self._process = process
        self._log = log
        self._told = False
        self._idle: list[Seat] = []
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._last: Seat | None = None

    def wake(self) -> bool:
        """Let one more thread look for work; False if every thread is busy."""
        try:
            seat = self._idle.pop()
        except IndexError:
            return self._spawn()
        seat.wake()
        return True

    def _spawn(self) -> bool:
        with self._lock:
            if self._ended or len(self._threads) >= self._exchange.concurrency:
                return False
            thread = threading.Thread(target=self._run, name=f"sidekiq.{self.name}/processor", daemon=True)
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            # Of the system's, as a container's pids.max: those that are there do the work.
            with self._lock:
                self._threads.discard(thread)
            if not self._told:
                self._told = True
                self._log.error(
                    "%s: no thread beside %d of %d can be started, jobs run in those: %s",
                    self.name, len(self._threads), self._exchange.concurrency, error,
                )  # fmt: skip
            return False
        return True

    def _run(self) -> None:
        seat = Seat()
        try:
            while not self._ended:
                try:
                    delivery = self._next(seat)
                    if delivery is not None:
                        self._process(delivery)
                except Shutdown:
                    # Raised into this thread late, when its job had just ended.
                    continue
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _next(self, seat: Seat) -> Delivery | None:
        exchange, fresh = self._exchange, seat.is_new
        seat.is_new = False
        while not self._ended:
            if exchange.pace.brisk and self._last is not seat and not fresh and self._leave(seat):
                fresh = True
                continue
            if len(exchange.ready) <= exchange.low:
                exchange.set_out()
            delivery = exchange.begin()
            if delivery is None:
                fresh = True
                if not exchange.trip() and exchange.next_up is None:
                    self._rest(seat)
                continue
            self._last = seat
            # Only who brought jobs, or was woken for one, wakes another: a wake-up costs more than a job.
            brisk = exchange.pace.brisk
            if (fresh or seat.brisk) and (brisk or not (exchange.wants_a_thread and self.wake())):
                exchange.be_watched()
            seat.brisk = brisk
            return delivery
        return None

    def _leave(self, seat: Seat) -> bool:
        """Rest because another thread has begun a job since this one did, and two are slower than one.

        The waiter wakes one again should the other not come back soon.
        """
        self._idle.append(seat)
        if not self._exchange.watched or not self._exchange.ready or self._ended:
            try:
                self._idle.remove(seat)
            except ValueError:
                seat.wait()
            return False
        seat.wait()
        return True

    def _rest(self, seat: Seat) -> None:
        """Wait to be woken. Who adds work looks for an idle seat after that, so look again once seated."""
        self._idle.append(seat)
        if self._exchange.wants_a_thread or self._ended:
            try:
                self._idle.remove(seat)
            except ValueError:
                seat.wait()  # somebody is waking this seat: take the wake-up, or the next rest ends at once
            return
        seat.wait()

    # -- the end ------------------------------------------------------------------------

    @staticmethod
    def interrupt(thread_ids: list[int]) -> None:
        """Raise Shutdown in threads. Best effort: a thread in C code sees it when it returns to Python."""
        for ident in thread_ids:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Shutdown))

    def end(self, timeout_s: float) -> bool:
        """Let the threads end; whether all did within the time."""
        self._ended = True
        while self._idle:
            self._idle.pop().wake()
        with self._lock:
            threads = list(self._threads)
        share = timeout_s / max(len(threads), 1)
        for thread in threads:
            thread.join(share)
        return not self._threads
