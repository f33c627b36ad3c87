"""One capsule at work: its exchange, threads, event loop and waiter, wired together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..clock import monotonic
from ..config import Capsule
from ..errors import RedisError, RedisUnavailable
from ..log import JobLogger
from ..store import Transport
from .exchange import Exchange
from .failure import FailureHandler
from .loop import EventLoop
from .manager import Manager
from .marks import Marks
from .order import QueueOrder
from .ownership import Ownership
from .pausing import PausedClasses
from .processor import Processor, Work
from .returning import become_quiet
from .waiter import Hands, Waiter

if TYPE_CHECKING:
    from ..app import App

_BLOCK_S = 25.0


class Station:
    """What takes and runs the jobs of one capsule."""

    def __init__(
        self, app: App, capsule: Capsule, number: int, identity: str, transport: Transport,
        stopping: Callable[[], bool], marks: Marks, paused: PausedClasses,
    ) -> None:  # fmt: skip
        config, log = app.config, app.logger
        order = QueueOrder(capsule)
        self.name = capsule.name
        self._log = log
        self._paused = paused
        self.ownership = Ownership(app.store, transport, identity, number, order.queues, capsule.concurrency)
        self.exchange = Exchange(
            self.ownership, transport, order, capsule.concurrency, app.clock, log, self._outage
        )
        self.failures = FailureHandler(app, self.exchange)
        job_logger = JobLogger(log, config.skip_default_job_logging, config.logged_job_attributes)
        self.processor = Processor(
            app, self.exchange, self.failures, job_logger, self._submit, stopping, marks, paused,
            capsule.server_middleware,
        )  # fmt: skip
        self.manager = Manager(capsule.name, self.exchange, self.processor.process, log)
        self.loop = EventLoop(capsule.name, self._slot_freed)
        # Below TTL - interval, so that no blocking move outlives its owner's heartbeat.
        block_s = min(_BLOCK_S, (config.heartbeat_ttl - config.heartbeat_interval) / 2)
        self.waiter = Waiter(
            self.exchange,
            transport.endpoint,
            transport,
            block_s,
            Hands(self.manager.wake, self.processor.foresee, self.processor.process),
            log,
            self._returned,
            capsule.name,
            self.failures.report,
        )

    def start(self) -> None:
        self.waiter.start()
        self.manager.wake()

    def work(self) -> dict[str, Work]:
        """The jobs that run now, by thread id."""
        return self.processor.work.copy()

    def quiet(self) -> None:
        """Start no more jobs; those that were fetched and not started go back."""
        self._log.info("Terminating quiet threads for %s capsule", self.name)
        waiting = len(self.exchange.ready)
        try:
            become_quiet(self.exchange)
        except RedisError as error:
            self._log.warning("%d jobs could not be put back, they will be recovered: %s", waiting, error)
        self.waiter.ring()

    @property
    def idle(self) -> bool:
        """No job runs, and none waits to be settled."""
        return not (self.exchange.active or self.exchange.has_news or self.exchange.settling.owed)

    def hard_stop(self, *, put_back: bool) -> int:
        """Put the running jobs back, unless Redis is away, and interrupt them; answers how many."""
        active = list(self.exchange.active)
        if not active:
            return 0
        self._log.warning("Terminating %d busy threads", len(active))
        for tid, work in self.work().items():
            self._log.warning(
                "cut off: tid=%s queue=%s %s", tid, work.delivery.queue, _cut(work.delivery.raw)
            )
        try:
            if not put_back:
                raise RedisUnavailable("Redis is away")
            pushed = self.exchange.give_back(active)
            self._log.info("Pushed %d jobs back to Redis", pushed)
        except RedisError as error:
            for delivery in active:
                delivery.given_back = True
            self._log.warning("%d jobs could not be put back, they will be recovered: %s", len(active), error)
        self.loop.cancel()
        self.manager.interrupt([w.thread_id for w in self.work().values() if w.thread_id is not None])
        return len(active)

    def end(self, timeout_s: float, *, abandon: bool = False) -> bool:
        """End all threads; whether nothing of this capsule can reach Redis any more.

        `abandon`: Redis is away, so nothing is asked of it.
        """
        until = monotonic() + timeout_s
        ended = self.waiter.end(max(until - monotonic(), 0.1), abandon=abandon)
        self.manager.end(max(until - monotonic(), 0.1))
        self.loop.end(max(until - monotonic(), 0.1))
        # A trip after all threads are gone takes the last acknowledgements along.
        while self.exchange.has_news and self.exchange.trip():
            continue
        return ended and not self.exchange.has_news

    # -- links --------------------------------------------------------------------------

    def _submit(self, delivery, payload, job_class) -> None:  # type: ignore[no-untyped-def]
        self.loop.submit(self.processor, delivery, payload, job_class)

    def _slot_freed(self) -> None:
        """Async jobs have ended: the loop begins those that are next, a thread does the rest."""
        began = self._follow_up()
        exchange = self.exchange
        if began and exchange.pace.brisk and len(exchange.ready) > max(exchange.low, 0):
            # Their ends come here too, and the next trip takes all acknowledgements along.
            exchange.be_watched()
        elif not self.manager.wake():
            self.waiter.ring()

    def _follow_up(self) -> bool:
        began = False
        # Where a class is paused, a job may be put aside, which waits for Redis.
        while not self._paused.names and (delivery := self.exchange.next_up) is not None:
            self.processor.foresee(delivery)
            if not delivery.on_loop:
                break
            if self.exchange.begin(delivery):
                self.processor.process(delivery)
                began = True
        return began

    def _outage(self, error: RedisError) -> None:
        self.failures.report(error, {"context": "Redis does not answer, no jobs are fetched"})

    def _returned(self, down_s: float) -> None:
        self._log.info("Redis is online, %.3f sec downtime", down_s)


def _cut(raw: bytes) -> str:
    text = raw.decode("utf-8", "backslashreplace")
    return text if len(text) <= 200 else text[:197] + "..."
