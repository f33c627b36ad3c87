"""The main thread of a worker's process: acts on signals and orders until the worker has stopped."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ..clock import monotonic
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..instance import Sidekiq
    from ..worker.runner import Runner
    from .signals import Signals

_SAME_SIGNAL_S = 0.1
"""`timeout` and others signal a process and then its group, so one signal comes twice, close together."""
_LAST_THREADS_S = 3.0
_EXECUTORS = {
    "concurrent.futures.thread": "_threads_queues",
    "concurrent.futures.process": "_threads_wakeups",
}
"""The modules whose threads Python waits for at its end, daemons too, and where each has them."""
_LOOK_S = 0.05


class Attendant:
    """`reopen` opens the log file again. Signals come by `signals`, a supervisor's orders by `tell`."""

    def __init__(
        self, log: logging.Logger, runner: Runner, signals: Signals, reopen: Callable[[], None]
    ) -> None:
        self._log = log
        self._runner = runner
        self._signals = signals
        self._reopen = reopen
        self._orders: SimpleQueue[str] = SimpleQueue()
        self._spare: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._failures: list[BaseException] = []
        self._stopping_since: float | None = None
        self._actions: dict[str, Callable[[], None]] = {
            "TSTP": runner.quiet,
            "TTIN": runner.dump_threads,
            "USR1": self._reopen_log,
            "USR2": self._cannot_roll,
            "quiet": runner.quiet,
            "dump": runner.dump_threads,
            "reopen": self._reopen_log,
            "retire": self._retire,
        }

    def tell(self, order: str) -> None:
        """Give an order, from any thread: quiet, dump, reopen, stop, force, or retire (quiet, then stop once
        no job runs, however long that takes)."""
        self._orders.put(order)
        self._signals.wake()

    def run(self) -> None:
        """Return when the worker has stopped. Raises what stopping raised."""
        _in_thread("watch", self._watch)
        _in_thread("spare", self._stand_by)
        while not self._runner.wait(0):
            for name in [*self._signals.read(), *self._told()]:
                self._act(name)
            if self._failures:
                raise self._failures[0]

    def _told(self) -> list[str]:
        told = []
        while True:
            try:
                told.append(self._orders.get_nowait())
            except Empty:
                return told

    def _act(self, name: str) -> None:
        if name == "force":
            self._leave_at_once(name)
        if name in ("INT", "TERM"):
            if self._stopping_since is None or self._by_order:
                self._by_order = False
            elif monotonic() - self._stopping_since < _SAME_SIGNAL_S:
                return
            else:
                self._leave_at_once(name)
        if name in ("INT", "TERM", "stop"):
            self._begin_to_stop(name)
            return
        if name.isupper():
            self._log.info("Got %s", name)
        action = self._actions.get(name)
        if action is not None:
            self._begin(name.lower(), action)

    def _begin(self, name: str, action: Callable[[], None]) -> None:
        """Beside this thread: a handler of the application that hangs must not keep the next signal from
        being heard. Where no thread can be started (a container's pids.max), in the one kept for that.
        """
        try:
            _in_thread(name, action)
        except RuntimeError as error:
            self._log.error("A thread for %s cannot be started, the spare one acts: %s", name, error)
            self._spare.put(action)

    def _stand_by(self) -> None:
        while True:
            action = self._spare.get()
            try:
                action()
            except Exception:
                self._log.exception("What a signal has asked for failed")

    _by_order = False
    """Whether it stops by a supervisor's order, with which the same signal may come to the whole group."""

    def _begin_to_stop(self, name: str) -> None:
        if name != "stop":
            self._log.info("Got %s", name)
        if self._stopping_since is not None:
            return
        self._stopping_since = monotonic()
        self._by_order = name == "stop"
        self._begin("stop", self._stop)

    # -- actions ------------------------------------------------------------------------

    def _stop(self) -> None:
        try:
            self._runner.stop()
        except BaseException as error:
            self._failures.append(error)
            self._signals.wake()

    def _watch(self) -> None:
        self._runner.wait()
        self._signals.wake()

    def _retire(self) -> None:
        self._runner.quiet()
        while self._runner.busy and self._stopping_since is None and not self._runner.wait(_LOOK_S):
            continue
        self.tell("stop")

    def _reopen_log(self) -> None:
        reopen_log(self._log, self._reopen)
        self._runner.renew_standins()

    def _cannot_roll(self) -> None:
        self._log.warning("USR2 restarts the processes of a supervisor one by one; this worker has none")

    def _leave_at_once(self, name: str) -> None:
        self._log.warning(
            "Got %s while stopping: forced exit, %d running jobs are left for another worker to recover",
            name if name.isupper() else "a second signal", self._runner.busy,
        )  # fmt: skip
        exit_now(1)


def reopen_log(log: logging.Logger, reopen: Callable[[], None]) -> None:
    """Open the log file again, or say why it cannot be: work is worth more than its log."""
    try:
        reopen()
    except ConfigurationError as error:
        log.error("The log goes on where it was: %s", error)


def log_booted(app: Sidekiq, runner: Runner) -> None:
    """Say what this worker does."""
    config = app.config
    app.logger.info(
        "Booted %s in %s; concurrency: %d, queues: %s (%s), job classes: %d",
        runner.identity, config.environment, config.concurrency, " ".join(config.queues), config.mode,
        len(app.registry),
    )  # fmt: skip
    for capsule in list(config.capsules.values())[1:]:
        where = f", Redis: {app.endpoint(capsule.pool)}" if capsule.pool else ""
        app.logger.info(
            "Capsule %s; concurrency: %d, queues: %s (%s)%s",
            capsule.name, capsule.concurrency, " ".join(capsule.queues), capsule.mode, where,
        )  # fmt: skip


def _in_thread(name: str, action: Any) -> None:
    threading.Thread(target=action, name=f"sidekiq.{name}", daemon=True).start()


def end_threads(log: logging.Logger) -> None:
    """Wait a little for threads that jobs have left behind; they cannot keep the process alive."""
    until = monotonic() + _LAST_THREADS_S
    _end_executors()
    for thread in _left():
        thread.join(max(until - monotonic(), 0))
    left = _left()
    if left:
        log.warning(
            "These threads do not end, and are cut off: %s", ", ".join(thread.name for thread in left)
        )
        for thread in left:
            # A pool's processes would wait for work for ever; and their calls are run elsewhere by now.
            for process in list((getattr(thread, "processes", None) or {}).values()):
                process.terminate()
        exit_now(0)


def _end_executors() -> None:
    """As Python does at its end, where it then waits for their threads as long as they run."""
    for name in _EXECUTORS:
        with suppress(RuntimeError):  # no thread can be started: they are cut off
            _in_thread("executors", getattr(sys.modules.get(name), "_python_exit", _left))


def _left() -> list[threading.Thread]:
    main = threading.main_thread()
    pools = [getattr(sys.modules.get(name), where, {}) for name, where in _EXECUTORS.items()]
    return [
        thread
        for thread in threading.enumerate()
        if thread is not main and (not thread.daemon or any(thread in pool for pool in pools))
    ]


def flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # nobody reads it, or a job has closed it
            continue


def exit_now(code: int) -> None:
    flush_streams()
    os._exit(code)
