"""A worker inside a process that has other work, such as a web server: what `configure_embed` answers."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from concurrent.futures import thread as executors
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import AlreadyRunning, WrongProcess
from ..version import SIDEKIQ_VERSION, __version__
from .runner import Runner

if TYPE_CHECKING:
    from ..app import App


class Embedded:
    """A worker that leaves its process alone: no signal handlers, no exit, no title, no logging set up.

    `with worker:` runs it for a block. All methods may be called from any thread; they block, so beside an
    event loop call them as `await asyncio.to_thread(worker.run)`.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._pid = 0
        self._told = False
        self._others: list[Runner] = []
        """Of the processes this one was forked from: what belongs to them must not be closed here."""
        _ALL.add(self)

    def run(self) -> None:
        """Start, in this process; the settings are frozen from here on. After `stop` it may run again.

        Raises AlreadyRunning, and what `Sidekiq.run` raises; then nothing runs, and it may be tried again.
        """
        with self._lock:
            if self._runner is not None and self._pid != os.getpid():
                self._others.append(self._runner)
                self._runner = None
            if self._runner is not None:
                raise AlreadyRunning(
                    f"the embedded worker {self._runner.identity} runs already, or is stopping: "
                    "call run() once, and again only after stop() has returned"
                )
            self._runner = self._started()
            self._pid, self._told = os.getpid(), False
            # For a process that ends without stop(): what runs is finished, or goes back to its queue.
            atexit.register(self._at_exit)

    def _started(self) -> Runner:
        app = self._app
        app.config.freeze()
        app.grow_pools()
        log = app.logger
        log.info(
            "sidekiq-lua %s, as Sidekiq %s, embedded in pid %d", __version__, SIDEKIQ_VERSION, os.getpid()
        )
        app.transport()
        log.info("Redis: %s", app.server_reason)
        if not len(app.registry):
            log.warning("no job class of this instance is defined yet: import the modules that define them")
        runner = Runner(app, embedded=True)
        runner.start()
        return runner

    @property
    def runner(self) -> Runner | None:
        """The worker that runs in this process: `identity`, `busy`, `unwell()`, …; None if none does."""
        return self._runner if self._pid == os.getpid() else None

    def quiet(self) -> None:
        """Fetch no more jobs; running ones go on. Nothing happens where none runs. Raises WrongProcess."""
        runner = self._here("quiet")
        if runner is not None:
            runner.quiet()

    def stop(self) -> None:
        """Finish running jobs within the setting `timeout` (seconds), put the others back, and end.

        Where none runs, nothing happens; a second call waits for the first. Raises WrongProcess.
        """
        runner = self._here("stop")
        if runner is None:
            return
        runner.stop()
        with self._lock:
            if self._runner is runner:
                self._runner = None
                atexit.unregister(self._at_exit)

    def __enter__(self) -> Embedded:
        self.run()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _here(self, what: str) -> Runner | None:
        runner = self._runner
        if runner is not None and self._pid != os.getpid():
            raise WrongProcess(
                f"{what}(): the embedded worker {runner.identity} runs in pid {self._pid}, from which this "
                f"process, pid {os.getpid()}, was forked: call run() in each process, after the fork"
            )
        return runner

    def _at_exit(self) -> None:
        if self.runner is not None:
            self.stop()

    def _before_executors_end(self) -> None:
        """An error of this one must not keep Python from ending its threads."""
        try:
            self._at_exit()
        except Exception:
            self._app.logger.exception("the embedded worker did not stop as it should")

    # -- forks --------------------------------------------------------------------------

    def _has_forked(self) -> None:
        """In the parent. That cannot be refused, but it is rarely meant: a worker's threads do not fork."""
        if self.runner is not None and not self._told:
            self._told = True
            self._app.logger.warning(
                "pid %d forks while its embedded worker runs: the worker goes on here and not in the new "
                "process; a server that forks, as gunicorn --preload, has to call run() after the fork",
                os.getpid(),
            )

    def _was_forked(self) -> None:
        """In the child, where another thread of the parent may seem to hold the lock."""
        self._lock = threading.Lock()


_ALL: weakref.WeakSet[Embedded] = weakref.WeakSet()


def _after_fork_in_parent() -> None:
    for embedded in list(_ALL):
        embedded._has_forked()


def _after_fork_in_child() -> None:
    for embedded in list(_ALL):
        embedded._was_forked()


def _main_thread_ends() -> None:
    """Python ends its executors before it calls what `atexit` has, and waits for their threads as long as
    they run: what jobs do by `asyncio.to_thread` failed then, and new jobs were fetched to fail as well.

    Where an ordinary thread of the application goes on, so does its worker, until that one ends too.
    """
    pools = getattr(executors, "_threads_queues", ())
    others = (thread for thread in threading.enumerate() if thread is not threading.current_thread())
    if all(thread.daemon or thread in pools for thread in others):
        for embedded in list(_ALL):
            embedded._before_executors_end()


# The last one that was registered is called first, and that of the executors was when they were imported.
_register = getattr(threading, "_register_atexit", atexit.register)
_register(_main_thread_ends)

# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
