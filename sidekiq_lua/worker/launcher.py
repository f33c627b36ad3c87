"""Builds, starts and stops the actors of one worker process: the visible list of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..clock import monotonic
from ..errors import RedisError, RedisUnavailable
from ..store.preflight import check_access, check_schema, check_server
from .events import Events
from .failure import ErrorReporter
from .heartbeat import Heartbeat
from .identity import info, new_identity, set_title
from .marks import Marks
from .metrics import MetricsFlusher
from .pausing import PausedClasses
from .processor import Work
from .recovery import Recovery
from .scheduler import Scheduler
from .station import Station
from .understudy import Understudy

if TYPE_CHECKING:
    from ..app import App

_LAST_WAIT_S = 3.0
_LEAVE_S = 5.0
"""For everything after the last job, while Redis answers."""
_AWAY_S = 1.0
"""The same, and the last wait for jobs, while it does not."""
_STANDIN_AWAY_S = 0.2
_PROBE_S = 0.9
_RESERVE_S = 2.5
"""So much of the time-out is kept for the end where Redis is away and only debts to it are left."""


class Launcher:
    """One life of a worker: start, quiet, stop.

    Registration comes before the first fetch and leaves after the last; the heartbeat outlives the jobs.
    """

    def __init__(self, app: App, on_signal: Callable[[str], None], *, embedded: bool = False) -> None:
        config = app.config
        self._app = app
        self._log = app.logger
        self.identity = new_identity()
        self._quiet = False
        self.started = False
        self.heartbeat_ttl = config.heartbeat_ttl
        self._stopping = threading.Event()
        self._transport = app.transport()
        errors = ErrorReporter(app)
        self.events = Events(config, errors)
        capsules = list(config.capsules.values())
        self.concurrency = sum(capsule.concurrency for capsule in capsules)
        self._queues = list(dict.fromkeys(name for capsule in capsules for name in capsule.weights))
        self._marks = Marks(self.concurrency)
        self._understudy = None if embedded else Understudy(app, self.identity, self._marks, self._log)
        self._metrics = MetricsFlusher(app, self._transport, errors) if config.metrics else None
        self._paused = PausedClasses(app, self._transport)
        self.stations = [
            Station(
                app,
                capsule,
                number,
                self.identity,
                self._transport,
                self._stopping.is_set,
                self._marks,
                self._paused,
            )
            for number, capsule in enumerate(capsules)
        ]
        self.heartbeat = Heartbeat(
            app, self._transport, errors, self.identity,
            info(config, capsules, self.identity, app.clock.now(), embedded),
            self.concurrency, [station.exchange for station in self.stations], self.work,
            on_signal, self._fire, self._doubt,
        )  # fmt: skip
        self.scheduler = Scheduler(app, self._transport, errors, lambda: self.heartbeat.process_count)
        self.recovery = Recovery(
            app, self._transport, self.stations[0].failures, self.heartbeat.may_judge, self._mine,
            forget_after_s=2 * float(config.heartbeat_ttl),
        )  # fmt: skip

    def start(self) -> None:
        """Check the server, register, beat once and begin.

        Raises UnsupportedServer, RedisUnavailable, RedisRefused, NewerSchema, and what a `startup`
        handler raises.
        """
        app = self._app
        app.config.client_middleware.check_sync()
        if any(not job_class.is_async for job_class in app.registry):
            for capsule in app.config.capsules.values():
                capsule.server_middleware.check_sync()
        for warning in check_server(self._transport, production=app.config.environment == "production"):
            self._log.warning(warning)
        ward = [app.config.quarantine_queue] if app.config.quarantine_queue else []
        check_access(self._transport, app.store, self.identity, [*self._queues, *ward])
        check_schema(self._transport, app.store)
        try:
            for station in self.stations:
                station.ownership.register()
            self.events.fire("startup")
            if self._understudy:
                self._understudy.start()
            self.heartbeat.beat()
        except BaseException:
            self._sign_off(self.stations)
            self._end_standin()
            raise
        for actor in (self.heartbeat, self.scheduler, self.recovery):
            actor.start()
        for station in self.stations:
            station.start()
        self.started = True

    @property
    def is_quiet(self) -> bool:
        return self._quiet

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def busy(self) -> int:
        """How many jobs run now."""
        return sum(len(station.exchange.active) for station in self.stations)

    def work(self) -> dict[str, Work]:
        """The jobs that run now, by thread id."""
        return {tid: work for station in self.stations for tid, work in station.work().items()}

    def quiet(self) -> None:
        """Fetch no more jobs. It cannot be undone."""
        if self._quiet:
            return
        self._quiet = True
        self.heartbeat.quiet = True
        self._log.info("Scheduler exiting...")
        self.scheduler.stop()
        for station in self.stations:
            station.quiet()
        self.events.fire("quiet")

    def stop(self) -> None:
        """Let running jobs finish until the setting `timeout` (seconds), then put them back.

        While Redis is away it ends within that time too, or two seconds later if jobs were cut off.
        """
        deadline = monotonic() + float(self._app.config.timeout)
        self._log.info("Shutting down")
        self.quiet()
        self._stopping.set()
        self.events.fire("shutdown")
        if not self._idle():
            self._log.info("Pausing to allow jobs to finish...")
        # Asked while jobs still have time, so that the answer, or none, comes by the deadline.
        self._wait_idle(deadline - _PROBE_S)
        away = self._redis_is_away()
        self._wait_idle(deadline)
        cut_off = sum(station.hard_stop(put_back=not away) for station in self.stations)
        if cut_off:
            self._wait_idle(monotonic() + (_AWAY_S if away else _LAST_WAIT_S))
        self._leave(away)
        self.events.fire("exit")
        self._log.info("Bye!")

    def _redis_is_away(self) -> bool:
        """Whether Redis answers now; if not, nothing that follows waits for it."""
        try:
            self._transport.probe(_PROBE_S)
        except RedisUnavailable as error:
            for station in self.stations:
                station.exchange.fail(error)
            return True
        return False

    def _leave(self, away: bool) -> None:
        until = monotonic() + (_AWAY_S if away else _LEAVE_S)
        actors = (self.heartbeat, self.scheduler, self.recovery)
        self.scheduler.stop()
        self.recovery.stop()
        ended = [station.end(max(until - monotonic(), 0.1), abandon=away) for station in self.stations]
        self.heartbeat.stop()
        for actor in actors:
            actor.join(max(until - monotonic(), 0.1))
        if self._metrics and (away or not self._metrics.flush()):
            self._log.warning("the last metrics of this process are lost: Redis did not take them")
        self._end_standin(_STANDIN_AWAY_S if away else _LEAVE_S)
        if away:
            self._log.warning("Redis is away: the process cannot sign off, its heartbeat will expire")
            return
        self._sign_off([station for station, complete in zip(self.stations, ended, strict=True) if complete])

    def _end_standin(self, timeout_s: float = _LEAVE_S) -> None:
        if self._understudy:
            self._understudy.end(timeout_s)
        self._marks.close()

    def _sign_off(self, stations: Sequence[Station]) -> None:
        try:
            for station in stations:
                held = self._transport.run(self._app.store.processes.leave(station.ownership.owner))
                if held:
                    self._log.warning("jobs of %d queues stay behind, they will be recovered", held)
        except RedisError as error:
            self._log.warning("the process could not sign off, its heartbeat will expire: %s", error)

    def _idle(self) -> bool:
        return all(station.idle for station in self.stations)

    def _wait_idle(self, deadline: float) -> None:
        pause = threading.Event()
        reserve_s = min(_RESERVE_S, float(self._app.config.timeout) / 2)
        while not self._idle() and monotonic() < deadline:
            down = any(station.exchange.down for station in self.stations)
            if down and not self.busy and monotonic() > deadline - reserve_s:
                return
            pause.wait(0.02)

    # -- links --------------------------------------------------------------------------

    def _fire(self, event: str) -> None:
        self.events.fire(event)
        if event == "beat":
            if self._understudy:
                self._understudy.beat()
            if self._metrics:
                self._metrics.flush()
            set_title(self._app.config.tag or "", self.busy, self.concurrency, self._quiet)
            self._paused.learn()

    def _doubt(self, exchange: object) -> None:
        for station in self.stations:
            if station.exchange is exchange:
                station.waiter.doubt()

    def _mine(self) -> set[str]:
        return {station.ownership.owner.field for station in self.stations}
