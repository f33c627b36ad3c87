"""Everything of one worker that belongs to one Redis server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..clock import monotonic
from ..config import Capsule
from ..errors import RedisError, RedisNotReady, RedisUnavailable
from ..store.preflight import check_access, check_schema, check_server
from ..urls import mask
from .actor import Actor
from .counting import CountsFlusher
from .failure import ErrorReporter
from .heartbeat import Heartbeat
from .identity import info
from .marks import Marks
from .metrics import MetricsFlusher
from .pausing import PausedClasses
from .processor import Work
from .recovery import Recovery
from .scheduler import Scheduler
from .station import Station
from .understudy import Understudy, is_python

if TYPE_CHECKING:
    from ..app import App

_LAST_WAIT_S = 3.0
_LEAVE_S = 5.0
"""For everything after the last job, while Redis answers."""
_AWAY_S = 1.0
"""The same, and the last wait for jobs, while it does not."""
_STANDIN_AWAY_S = 0.2
_PROBE_S = 0.9
_RETRY_S = 1.0
_RESERVE_S = 2.5
"""So much of the time-out is kept for the end where Redis is away and only debts to it are left."""


class Branch:
    """The capsules of one server with their heartbeat, scheduler, recovery, metrics and stand-in.

    Registration comes before the first fetch and leaves after the last; the heartbeat outlives the jobs.
    `app` is the instance, or its shard on this server. Branches share nothing but the process: what
    happens to one server does not stop the jobs of another.
    """

    def __init__(
        self, app: App, capsules: Mapping[int, Capsule], identity: str, stopping: Callable[[], bool],
        on_signal: Callable[[str], None], fire: Callable[[str], None], *, embedded: bool,
    ) -> None:  # fmt: skip
        config = app.config
        self._app = app
        self._log = app.logger
        self._fire = fire
        self._transport = app.transport()
        self._transport.watch_abandoned()
        self.identity = identity
        self.name = mask(app.pool) if app.pool else ""
        """How messages call its server; "" for the one of the setting `redis`."""
        self.entered = self.started = False
        self._quiet = self._away = self._closed = False
        self._latecomer: Latecomer | None = None
        self._lock = threading.Lock()
        errors = self._errors = ErrorReporter(app)
        self.concurrency = sum(capsule.concurrency for capsule in capsules.values())
        self._queues = list(dict.fromkeys(name for capsule in capsules.values() for name in capsule.weights))
        self._marks = Marks(self.concurrency)
        # Within uWSGI and the like there may be no Python to start it with.
        has_understudy = not embedded or is_python()
        self._understudy = Understudy(app, identity, self._marks, self._log) if has_understudy else None
        self._metrics = MetricsFlusher(app, self._transport, errors) if config.metrics else None
        self._counts = CountsFlusher(app, self._transport, errors)
        self._paused = PausedClasses(app, self._transport)
        self.stations = [
            Station(app, capsule, number, identity, self._transport, stopping, self._marks, self._paused)
            for number, capsule in capsules.items()
        ]
        self.heartbeat = Heartbeat(
            app, self._transport, errors, identity,
            info(config, list(capsules.values()), identity, app.clock.now(), embedded),
            self.concurrency, [station.exchange for station in self.stations], self.work,
            on_signal, self._on_event, self._doubt,
        )  # fmt: skip
        self.scheduler = Scheduler(app, self._transport, errors, lambda: self.heartbeat.process_count)
        self.recovery = Recovery(
            app, self._transport, self.stations[0].failures, self.heartbeat.may_judge, self._mine,
            lambda: self.heartbeat.classes, forget_after_s=2 * float(config.heartbeat_ttl),
            identity=identity, steady=self.heartbeat.steady,
        )  # fmt: skip
        if self.name:
            for actor in self._actors:
                actor.name = f"{actor.name} of {self.name}"

    @property
    def _actors(self) -> Sequence[Actor]:
        return self.heartbeat, self.scheduler, self.recovery

    # -- its life -----------------------------------------------------------------------

    def enter(self) -> None:
        """Check the server and register.

        Raises UnsupportedServer, RedisUnavailable, RedisRefused, NewerSchema.
        """
        app = self._app
        for warning in check_server(self._transport, production=app.config.environment == "production"):
            self._log.warning(warning)
        ward = [app.config.quarantine_queue] if app.config.quarantine_queue else []
        check_access(self._transport, app.store, self.identity, [*self._queues, *ward])
        check_schema(self._transport, app.store)
        try:
            for station in self.stations:
                station.ownership.register()
        except BaseException:
            self._sign_off(self.stations)
            raise
        self.entered = True

    def show(self) -> None:
        """Appear on the list of processes. Raises RedisError."""
        try:
            if self._understudy:
                self._understudy.start()
            self.heartbeat.beat()
        except BaseException:
            if self._understudy:
                self._understudy.end()
            raise

    def start(self) -> bool:
        """Begin; False if it was told to be quiet before."""
        with self._lock:
            if self._quiet:
                return False
            if self._latecomer:
                self._log.info("%s is there, its capsules begin", self.name or "Redis")
            for actor in self._actors:
                actor.start()
            for station in self.stations:
                station.start()
            self.started = True
        return True

    def start_later(self, error: RedisError) -> None:
        """Its server is away or not ready, and another one is not: begin when it is back."""
        self._log.error("%s, its capsules begin when it is back: %s", self.name or "Redis", error)
        self._latecomer = Latecomer(self, self._errors)
        self._latecomer.start()

    def cancel(self) -> None:
        """Take back what came before `start`."""
        if self.entered:
            self.entered = False
            self._sign_off(self.stations)
        self._end_standin()

    def quiet(self) -> None:
        """Fetch no more jobs."""
        with self._lock:
            self._quiet = self.heartbeat.quiet = True
        if self._latecomer:
            self._latecomer.stop()
        if self.started:
            self.scheduler.stop()
            for station in self.stations:
                station.quiet()

    def end(self, deadline: float) -> None:
        """Let running jobs finish until then (monotonic seconds), put the others back, and sign off."""
        if self._latecomer:
            self._latecomer.join(_LEAVE_S)
        if not self.started:
            self.cancel()
            return
        # Asked while jobs still have time, so that the answer, or none, comes by the deadline.
        self._wait_idle(deadline - _PROBE_S)
        self._away = self._is_away()
        self._wait_idle(deadline, for_debts=not self._away)
        cut_off = sum(station.hard_stop(put_back=not self._away) for station in self.stations)
        if cut_off:
            self._wait_idle(monotonic() + (_AWAY_S if self._away else _LAST_WAIT_S))
        self._leave()

    def _leave(self) -> None:
        away = self._away
        until = monotonic() + (_AWAY_S if away else _LEAVE_S)
        self.scheduler.stop()
        self.recovery.stop()
        ended = [station.end(max(until - monotonic(), 0.1), abandon=away) for station in self.stations]
        self.heartbeat.stop()
        for actor in self._actors:
            actor.join(max(until - monotonic(), 0.1))
        if self._metrics and (away or not self._metrics.flush()):
            self._log.warning("the last metrics of this process are lost: Redis did not take them")
        self._end_standin(_STANDIN_AWAY_S if away else _LEAVE_S)
        if away:
            self._log.warning("Redis is away: the process cannot sign off, its heartbeat will expire")
            return
        self._sign_off([station for station, complete in zip(self.stations, ended, strict=True) if complete])
        self._counts.flush()

    def _is_away(self) -> bool:
        """Whether Redis does not answer now; then nothing that follows waits for it."""
        try:
            self._transport.probe(_PROBE_S)
        except RedisUnavailable as error:
            for station in self.stations:
                station.exchange.fail(error)
            return True
        return False

    def _end_standin(self, timeout_s: float = _LEAVE_S) -> None:
        if not self._closed:
            self._closed = True
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

    def renew_standin(self) -> None:
        """The standard error has become another file."""
        if self._understudy:
            self._understudy.renew()

    # -- its jobs -----------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """How many jobs run now."""
        return sum(len(station.exchange.active) for station in self.stations)

    def work(self) -> dict[str, Work]:
        """The jobs that run now, by thread id."""
        return {tid: work for station in self.stations for tid, work in station.work().items()}

    @property
    def idle(self) -> bool:
        return all(station.idle for station in self.stations)

    def _tells(self) -> bool:
        """What a trip tells is no news meanwhile; if Redis refuses it, it is again by the second look."""
        return any(station.exchange.lock.locked() for station in self.stations) or not self.idle

    def _wait_idle(self, deadline: float, *, for_debts: bool = False) -> None:
        """`for_debts`: Redis is there, so what is owed to it may be settled until the last moment."""
        pause = threading.Event()
        reserve_s = min(_RESERVE_S, float(self._app.config.timeout) / 2)
        while not (self.idle and not (for_debts and self._tells())) and monotonic() < deadline:
            down = any(station.exchange.down for station in self.stations)
            if down and not for_debts and not self.busy and monotonic() > deadline - reserve_s:
                return
            pause.wait(0.02)

    # -- links --------------------------------------------------------------------------

    def _on_event(self, event: str) -> None:
        self._fire(event)
        if event == "beat":
            if self._understudy:
                self._understudy.beat()
            if self._metrics:
                self._metrics.flush()
            self._counts.beat()
            self._paused.learn(some=self.heartbeat.classes)

    def _doubt(self, exchange: object) -> None:
        for station in self.stations:
            if station.exchange is exchange:
                station.waiter.doubt()

    def _mine(self) -> set[str]:
        return {station.ownership.owner.field for station in self.stations}


class Latecomer(Actor):
    """Starts a branch whose server was away, or took no writes, when the worker started."""

    name = "entry"

    def __init__(self, branch: Branch, errors: ErrorReporter) -> None:
        super().__init__(errors)
        self.name = f"entry of {branch.name}" if branch.name else self.name
        self._branch = branch

    def first_pause(self) -> float:
        return _RETRY_S

    def step(self) -> float:
        try:
            self._branch.enter()
            self._branch.show()
        except (RedisUnavailable, RedisNotReady):
            return _RETRY_S
        if not self._branch.start():
            self._branch.cancel()
        self.stop()
        return 0.0
