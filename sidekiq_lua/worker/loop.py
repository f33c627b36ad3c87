"""The event loop on which `async def` jobs of one capsule run, all on one thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import Context as Variables
from contextvars import copy_context
from functools import partial
from typing import Any

from ..clock import monotonic
from ..context import set_tid, task_tid
from ..payload import Payload
from .delivery import Delivery
from .processor import JobClass, Processor

_SETTLERS = 4
# Newer Pythons begin a task at once, and not in the next round of the loop.
_AT_ONCE: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


def _once(settle: list[Callable[[], None]]) -> None:
    """Whoever takes it calls it."""
    try:
        call = settle.pop()
    except IndexError:
        return
    call()


class EventLoop:
    """Runs async jobs as tasks; `slot_freed` is called on it when some have ended.

    What may block, settling a failed job and the user's handlers, runs on a few threads of its own.
    """

    def __init__(self, name: str, slot_freed: Callable[[], None]) -> None:
        self._name = name
        self._slot_freed = slot_freed
        self._inbox: deque[tuple[Processor, Delivery, Payload, JobClass]] = deque()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._settlers = ThreadPoolExecutor(_SETTLERS, thread_name_prefix=f"sidekiq.{name}/settler")
        self._settling: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._bare = Variables()
        """What runs on the loop between jobs shall see nothing that one of them has set."""
        self._scheduled = False
        self._telling = False
        self._ended = False

    def submit(self, processor: Processor, delivery: Delivery, payload: Payload, job_class: JobClass) -> None:
        """Start a job; from any thread. The loop is made for the first one."""
        # First, for it may fail: a job that is told to have failed must not be begun later.
        loop = self._loop or self._start()
        self._inbox.append((processor, delivery, payload, job_class))
        if threading.current_thread() is self._thread:
            self._begin()
        elif not self._scheduled:
            self._scheduled = True
            loop.call_soon_threadsafe(self._begin, context=self._bare)

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(
                    target=self._turn, args=(loop,), name=f"sidekiq.{self._name}/loop", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # no more threads are to be had
                    loop.close()
                    raise
                self._thread, self._loop = thread, loop
            return self._loop

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the loop until `end`, whatever a job does to it: all other jobs of the capsule are on it too.

        asyncio lets SystemExit and KeyboardInterrupt of a task that a job has made (`wait_for`, `gather`)
        leave the loop, beside giving it to who awaits the task; and a job may call `loop.stop()`.
        """
        while not self._ended:
            with suppress(SystemExit, KeyboardInterrupt):
                loop.run_forever()

    def _begin(self) -> None:
        assert self._loop is not None
        self._scheduled = False
        while self._inbox:
            job = self._inbox.popleft()
            processor, delivery = job[:2]
            if delivery.given_back:
                # By the hard stop, while a job blocked this thread: it runs elsewhere.
                processor.pass_by(delivery)
                continue
            # A context of its own: what one job sets, the next does not see.
            name = task_tid()
            task = asyncio.Task(self._run(name, *job), loop=self._loop, context=Variables(), **_AT_ONCE)
            if not task.done():
                self._tasks[name] = task

    async def _run(
        self, name: str, processor: Processor, delivery: Delivery, payload: Payload, job_class: JobClass
    ) -> None:
        set_tid(name)
        outcome: Callable[[], None] | BaseException | None
        try:
            outcome = await processor.run_async(delivery, payload, job_class, name)
        except BaseException as error:
            outcome = error
        if outcome is not None:
            assert self._loop is not None
            settle: list[Callable[[], None]] = [
                partial(copy_context().run, processor.settle, delivery, outcome)
            ]
            try:
                settled = self._settlers.submit(_once, settle)
            except RuntimeError:
                # The interpreter is ending, and lets no executor take more; or no thread can be started, and
                # those that the executor has will come to it all the same.
                _once(settle)
            else:
                self._settling.add(settled)
                settled.add_done_callback(self._settling.discard)
                await asyncio.wrap_future(settled)
        # Not by a callback, which would be one more turn of the loop for each job.
        self._tasks.pop(name, None)
        if not self._telling:
            # Later in this round: what others end in it goes with the same call.
            self._telling = True
            asyncio.get_running_loop().call_soon(self._tell, context=self._bare)

    def _tell(self) -> None:
        self._telling = False
        self._slot_freed()

    def cancel(self) -> None:
        """Cancel every running job, which sees asyncio.CancelledError."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._tasks.values()])

    def end(self, timeout_s: float) -> None:
        """Stop the loop and its threads."""
        until = monotonic() + timeout_s
        # A job that has failed runs no more, and yet is this process's until it is settled.
        wait(self._settling.copy(), timeout_s)
        self._ended = True
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(max(until - monotonic(), 0.1))
            if not self._thread.is_alive():
                self._loop.close()
        self._settlers.shutdown(wait=False, cancel_futures=True)
