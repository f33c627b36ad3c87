"""A started worker, as `app.run()` gives it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .dump import dump_threads
from .launcher import Launcher
from .vitals import Vitals

if TYPE_CHECKING:
    from ..app import App
    from .health import HealthServer


class Runner:
    """A worker in this process. `stop` may be called from any thread, also more than once."""

    def __init__(self, app: App, *, embedded: bool = False) -> None:
        self._app = app
        self._embedded = embedded
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.stop_requested = threading.Event()
        """Set when a `TERM` came through Redis."""
        self._launcher = Launcher(app, self._signal, embedded=embedded)
        self._health: HealthServer | None = None
        self._vitals = Vitals(lambda: self._launcher)

    @property
    def identity(self) -> str:
        """HOST:PID:NONCE, the process's name in Redis."""
        return self._launcher.identity

    @property
    def busy(self) -> int:
        """How many jobs run now."""
        return self._launcher.busy

    @property
    def runs(self) -> int:
        """How many jobs have run since the start."""
        return sum(station.exchange.runs for station in self._launcher.stations)

    @property
    def concurrency(self) -> int:
        """How many jobs can run at a time."""
        return self._launcher.concurrency

    def start(self) -> None:
        """Begin. Raises ConfigurationError for `health`, UnsupportedServer, RedisUnavailable, RedisRefused or
        NewerSchema.
        """
        try:
            self._open_health()
        except BaseException:
            self._launcher.cancel()
            raise
        try:
            self._launcher.start()
        except BaseException:
            self._close_health()
            raise

    def quiet(self) -> None:
        """Fetch no more jobs; running ones go on. It cannot be undone."""
        self._launcher.quiet()

    def stop(self) -> None:
        """Finish running jobs within the setting `timeout` (seconds), put the others back, and end."""
        with self._lock:
            if not self._stopped.is_set():
                try:
                    self._launcher.stop()
                finally:
                    self._close_health()
                self._stopped.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the worker has stopped; whether it has."""
        return self._stopped.wait(timeout_s)

    def restart(self) -> None:
        """Stop, and start again under a new identity, with the same settings."""
        self.stop()
        with self._lock:
            self._launcher = Launcher(self._app, self._signal, embedded=self._embedded)
            self.stop_requested.clear()
            self._stopped.clear()
            self.start()

    # -- probes -------------------------------------------------------------------------

    @property
    def health_url(self) -> str | None:
        """Where the setting `health` answers: `/livez`, `/readyz` and what the application has added."""
        return self._health.url if self._health else None

    def _open_health(self) -> None:
        address = self._app.config.health
        if not address:
            return
        from .health import HealthServer

        routes = self._app.health_routes
        routes.update({"/livez": self._vitals.live, "/readyz": self._vitals.ready})
        self._health = HealthServer(address, routes, self._app.logger, self._app.handle_exception)
        self._health.start()
        self._app.logger.info("Health: %s%s", self._health.url, " ".join(sorted(routes)))

    def _close_health(self) -> None:
        if self._health:
            self._health.stop()
            self._health = None

    def dump_threads(self) -> None:
        """Log every thread's backtrace."""
        dump_threads(self._app.logger)

    def renew_standins(self) -> None:
        """The standard error has become another file, which the process beside this one shall have too."""
        for branch in self._launcher.branches:
            branch.renew_standin()

    def unwell(self) -> list[str]:
        """Why a restart would help, if it would: its threads do not go round any more."""
        return self._vitals.problems()

    def unready(self) -> list[str]:
        """Why it takes no jobs now, if it takes none."""
        return self._vitals.obstacles()

    def _signal(self, name: str) -> None:
        """A signal that came through Redis, in the heartbeat's thread."""
        if self._embedded:
            return
        self._app.logger.info("Got %s through Redis", name)
        if name == "TSTP":
            self.quiet()
        elif name == "TERM":
            self.stop_requested.set()
            # The heartbeat, whose thread this is, has to go on until the jobs are done.
            threading.Thread(target=self.stop, name="sidekiq.stop").start()
        elif name == "TTIN":
            self.dump_threads()
        else:
            self._app.logger.warning("an unknown signal was sent to this process: %r", name)
