"""Keeps pushes in memory while Redis is away, and sends them in order when it is back."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from .clock import monotonic
from .config.settings import LONGEST_PUSH_S
from .errors import NotReplicated, PushBufferFull, RedisError, ScriptError
from .sending import Parcel, Policy, deliver, run_here
from .store.calls import Wait
from .store.sent import payloads

if TYPE_CHECKING:
    from .app import App

FLUSH_S = 3.0
"""How long `close` and the end of the process try to send what is kept."""
_SHORTEST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


class PushBuffer:
    """At most `push_buffer` jobs for one server. Thread-safe; a forked child begins with none.

    What is kept is sent by a thread that lives as long as there is something. A queue that refuses its
    jobs keeps those behind them and no others. Whatever is given up is logged with its text.
    """

    def __init__(self, app: App, pool: str | None) -> None:
        self._app = app
        self._pool = pool
        self._begin()
        _BUFFERS.add(self)

    def _begin(self) -> None:
        """Also in a child after a fork: what the parent keeps, the parent sends."""
        self._parcels: deque[Parcel] = deque()
        self._jobs = 0
        # A signal's handler that pushes may interrupt who holds it, or rings the bell: that is no Event.
        self._lock = threading.RLock()
        self._turn = threading.Lock()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._told: set[tuple[Any, ...]] = set()
        self._under_way: Parcel | None = None
        self.flows = False
        """Whether Redis takes what is kept. Who pushes then helps: alone, the thread might never catch up."""

    def __len__(self) -> int:
        return self._jobs

    def join_queue(self, parcels: Sequence[Parcel]) -> bool:
        """Keep a push if others are kept: it shall not overtake them. Raises PushBufferFull."""
        with self._lock:
            if not self._parcels:
                return False
            self._add(parcels, None)
        self._wake()
        return True

    def keep(self, parcels: Sequence[Parcel], error: RedisError) -> None:
        """Keep a push that could not be sent. Raises PushBufferFull, or the error at the process's end."""
        if _ended_in == os.getpid():
            raise error
        with self._lock:
            first, self.flows = not self._parcels, False
            self._add(parcels, error)
        if first:
            _also_at_the_end_of_a_child()
            self._app.logger.warning("pushes are kept in memory until Redis is back: %s", error)
        self._wake()

    def _add(self, parcels: Sequence[Parcel], error: RedisError | None) -> None:
        new = sum(len(payloads(parcel.call)) for parcel in parcels)
        limit = self._app.config.push_buffer or 0
        if self._jobs + new > limit:
            raise PushBufferFull(
                f"Redis is away, and {self._jobs} jobs are kept of the {limit} that push_buffer allows: "
                f"{new} more are refused"
            ) from error
        self._parcels.extend(parcels)
        self._jobs += new

    # -- sending ------------------------------------------------------------------------

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None and self._parcels:
                self._thread = threading.Thread(target=self._run, name="sidekiq.push-buffer", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = None  # the interpreter ends: what is kept is sent at the exit
        self._bell.put(None)

    def _run(self) -> None:
        me, pause = threading.current_thread(), _SHORTEST_PAUSE_S
        while True:
            # A push wakes it, but not at any rate: each attempt may be a connection.
            threading.Event().wait(_SHORTEST_PAUSE_S)
            with suppress(Empty):
                self._bell.get(timeout=pause)
                while True:
                    self._bell.get_nowait()
            try:
                self.drain()
            except Exception as error:
                self._app.handle_exception(error, {"context": "the buffer of pushes failed, it goes on"})
            with self._lock:
                if not self._parcels or self._thread is not me:
                    self._thread = None if self._thread is me else self._thread
                    return
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def drain(self, within_s: float = -1) -> None:
        """Send what is kept, the oldest first, as far as Redis takes it; not while another thread does.

        `within_s`: how long to wait for that other thread (seconds), -1: until it is done.
        """
        if not self._turn.acquire(timeout=within_s):
            return
        try:
            refusing: set[tuple[Any, ...]] = set()
            place = sent = 0
            while place < len(self._parcels):
                parcel = self._parcels[place]
                if parcel.call.keys in refusing:
                    place += 1
                    continue
                self._under_way = parcel
                try:
                    self._send(parcel)
                except ScriptError as error:
                    self.flows = False
                    refusing.add(parcel.call.keys)
                    self._tell(parcel, error)
                except RedisError:
                    self.flows = False
                    if not self._is_too_old(parcel):
                        break
                    self._give_up([parcel], "may be in Redis or not: no answer came in time")
                else:
                    self.flows = True
                    self._remove(parcel)
                    sent += len(payloads(parcel.call))
            if sent:
                self._app.logger.info("%d jobs that were kept in memory are in Redis now", sent)
        finally:
            self._under_way = None
            self._turn.release()

    def _send(self, parcel: Parcel) -> None:
        config = self._app.config
        wait = Wait(config.wait_replicas, config.wait_timeout_ms) if config.wait_replicas else None
        jids = [self._jid(raw) for raw in payloads(parcel.call)]
        try:
            run_here(
                deliver([parcel], Policy(0, wait, kept=True), jids), self._app.transport(self._pool), wait
            )
        except NotReplicated as error:
            self._app.logger.warning("%s", error)

    def _is_too_old(self, parcel: Parcel) -> bool:
        """Whether it may have been carried out so long ago that Redis does not remember it any more."""
        return parcel.uncertain and monotonic() - parcel.since > LONGEST_PUSH_S

    def _remove(self, parcel: Parcel) -> None:
        jobs = len(payloads(parcel.call))
        with self._lock:
            if parcel in self._parcels:  # `close` may have given it up meanwhile
                self._parcels.remove(parcel)
                self._jobs -= jobs
            self._told.discard(parcel.call.keys)

    def _tell(self, parcel: Parcel, error: RedisError) -> None:
        if parcel.call.keys not in self._told:
            self._told.add(parcel.call.keys)
            self._app.logger.error("jobs that are kept in memory are refused, they stay there: %s", error)

    # -- giving up ----------------------------------------------------------------------

    def close(self) -> None:
        """Send what is kept, for at most FLUSH_S seconds, and log what could not be sent."""
        until = monotonic() + FLUSH_S
        while self._parcels:
            self.drain(max(until - monotonic(), 0))
            if monotonic() >= until:
                break
            if self._parcels:
                threading.Event().wait(_SHORTEST_PAUSE_S)
        # An attempt that the thread has just begun may yet tell what became of it; and what is given up here
        # shall not be sent by it afterwards.
        mine = self._turn.acquire(timeout=_SHORTEST_PAUSE_S)
        try:
            with self._lock:
                left = list(self._parcels)
            unsure = [parcel for parcel in left if parcel.uncertain or parcel is self._under_way]
            unsent = [parcel for parcel in left if parcel not in unsure]
            for parcels, what in ((unsent, "were not sent and are lost"), (unsure, "may be in Redis or not")):
                if parcels:
                    self._give_up(parcels, what)
        finally:
            if mine:
                self._turn.release()

    def _give_up(self, parcels: Sequence[Parcel], what: str) -> None:
        log = self._app.logger
        jobs = [raw for parcel in parcels for raw in payloads(parcel.call)]
        named = ", ".join(self._jid(raw) for raw in jobs)
        log.error("%d jobs of the push buffer %s: %s", len(jobs), what, named)
        for raw in jobs:
            log.error("from the push buffer: %s", raw.decode("utf-8", "backslashreplace"))
        for parcel in parcels:
            self._remove(parcel)

    def _jid(self, raw: bytes) -> str:
        return str(self._app.codec.load(raw).get("jid"))


_BUFFERS: weakref.WeakSet[PushBuffer] = weakref.WeakSet()


_ended_in = 0
"""The process whose buffers were closed for good: what is kept there from now on, nobody would send."""


def close_all() -> None:
    """At the end of this process: send what all buffers keep, or log it."""
    global _ended_in
    _ended_in = os.getpid()
    for buffer in list(_BUFFERS):
        buffer.close()


_registered_in = 0


def _also_at_the_end_of_a_child() -> None:
    """A process of multiprocessing that was forked ends without atexit; it has a list of its own."""
    global _registered_in
    process, util = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
    if process is None or util is None or process.parent_process() is None or _registered_in == os.getpid():
        return
    util.Finalize(None, close_all, exitpriority=0)
    _registered_in = os.getpid()


def _after_fork() -> None:
    for buffer in _BUFFERS:
        buffer._begin()


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
