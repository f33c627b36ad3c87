"""Says that this process is alive, what it does and how far Redis is; takes signals from Redis."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

from ..clock import boottime
from ..errors import RedisError, RedisUnavailable
from ..store import Transport
from ..store.owners import Owner
from .actor import Actor
from .exchange import Exchange
from .failure import ErrorReporter
from .identity import rss_kb
from .processor import Work

if TYPE_CHECKING:
    from ..app import App

RTT_WARNING_US = 50_000
SKEW_WARNING_S = 1.0
WORK_BYTES = 1_000_000
"""The most that a beat says of the running jobs: one that is over its share is shown without arguments."""
_SKEW_NOISE_S = 0.1
_JUMP_S = 1.0
_AFTER_FAILURE_S = 1.0
_LATE_S = 3.0
_NAMES = ("class", "wrapped", "display_class", "jid", "queue")
_SHORT = 100


class Heartbeat(Actor):
    """One beat each `heartbeat_interval` seconds; the key it renews lives for `heartbeat_ttl` seconds.

    A beat also measures the round trip and the server's clock, counts the running lists against what
    this process believes to hold, and registers it again where its registration has vanished.
    """

    name = "heartbeat"

    def __init__(
        self, app: App, transport: Transport, errors: ErrorReporter, identity: str, info: str,
        concurrency: int, exchanges: Sequence[Exchange], work: Callable[[], Mapping[str, Work]],
        on_signal: Callable[[str], None], fire: Callable[[str], None], doubt: Callable[[Exchange], None],
    ) -> None:  # fmt: skip
        super().__init__(errors)
        self._app = app
        self._transport = transport
        self._identity = identity
        self._info = info
        self._concurrency = concurrency
        self._exchanges = exchanges
        self._work = work
        self._on_signal = on_signal
        self._fire = fire
        self._doubt = doubt
        self._rtts: deque[int] = deque(maxlen=5)
        self._rtt_warned = False
        self._skew_warned = False
        self._failing = False
        self._healthy_since: float | None = None
        self._last = 0.0
        self._ahead = inf
        """No further than this was the server's clock ahead of `boottime` at the last beat."""
        self._differs: set[Exchange] = set()
        self.quiet = False
        self.process_count = 1
        self.classes = False
        """Whether the last beat saw paused job classes, or resumed ones whose jobs have to be released."""

    def step(self) -> float:
        interval = float(self._app.config.heartbeat_interval)
        try:
            self.beat()
        except RedisError as error:
            self._healthy_since = None
            if isinstance(error, RedisUnavailable):
                # Connections that wait for jobs may be dead too, and nobody would notice for long.
                for exchange in self._exchanges:
                    exchange.fail(error)
            if not self._failing:
                self._failing = True
                self._errors.report(error, {"context": f"the {self.name} failed, it goes on"})
            return min(_AFTER_FAILURE_S, interval)
        self._failing = False
        return interval

    @property
    def answered(self) -> bool:
        """Whether Redis has answered the last beat, and that was no longer ago than it should be."""
        late_s = 2 * float(self._app.config.heartbeat_interval) + _LATE_S
        return self._last > 0 and not self._failing and boottime() - self._last < late_s

    def may_judge(self) -> bool:
        """Whether this process's beats have succeeded without a gap for a whole TTL until now, so that
        another's missing heartbeat means something."""
        since, now = self._healthy_since, boottime()
        return since is not None and not self._gap(now) and now - since >= self._app.config.heartbeat_ttl

    def steady(self) -> bool:
        """Whether the server's clock has not jumped ahead since the last beat. Raises RedisError.

        By a jump all heartbeats are over at once, those of the living too, until their next beat.
        """
        return self._server_time() - boottime() - self._ahead < _JUMP_S

    def _gap(self, now: float) -> bool:
        return self._last > 0 and now - self._last > 2 * self._app.config.heartbeat_interval + 1

    def beat(self) -> None:
        """One heartbeat. Raises RedisError."""
        rtt_us = self._measure()
        config, sent = self._app.config, boottime()
        work = self._work()
        fields: dict[str, str | int] = {
            "info": self._info,
            "concurrency": self._concurrency,
            "busy": sum(len(exchange.active) for exchange in self._exchanges),
            "beat": repr(self._app.clock.now()),
            "rtt_us": rtt_us,
            "quiet": "true" if self.quiet else "false",
            "rss": rss_kb(),
        }
        ttl = int(config.heartbeat_ttl)
        owners = [exchange.ownership.owner for exchange in self._exchanges]
        beat = self._transport.run(
            self._app.store.processes.beat(self._identity, owners, ttl, fields, _work_fields(work))
        )
        if self._healthy_since is None or self._gap(sent) or (self._last and not beat.known):
            # A flush or an eviction took our key: it may have taken everybody's.
            self._healthy_since = sent
        self._last = sent
        self.process_count = beat.processes
        self.classes = beat.classes
        if not beat.registered:
            for exchange, owner in zip(self._exchanges, owners, strict=True):
                exchange.renew(owner)
        for exchange in self._exchanges:
            exchange.trust(sent, ttl)
            self._compare(exchange, beat.held)
        if not beat.known:
            self._fire("heartbeat")
        self._fire("beat")
        if beat.signal:
            self._on_signal(beat.signal)

    def _compare(self, exchange: Exchange, held: Mapping[tuple[Owner, str], int]) -> None:
        """More in Redis than we know of, twice in a row: a blocking move has delivered behind our back."""
        owner = exchange.ownership.owner
        believed = exchange.ownership.counts()
        if any(held.get((owner, queue), 0) > believed.get(queue, 0) for queue in owner.queues):
            if exchange in self._differs:
                self._doubt(exchange)
            self._differs.add(exchange)
        else:
            self._differs.discard(exchange)

    def _measure(self) -> int:
        """The round trip in microseconds; also takes the offset of the server's clock."""
        clock = self._app.clock
        local, before = clock.local(), boottime()
        server, after = self._server_time(), boottime()
        rtt_s = after - before
        if server - after - self._ahead >= _JUMP_S:
            self._healthy_since = None
        self._ahead = server - before
        offset = server - (local + rtt_s / 2)
        clock.follow(offset if abs(offset) > max(_SKEW_NOISE_S, 2 * rtt_s) else 0.0, local, before)
        if abs(offset) > SKEW_WARNING_S and not self._skew_warned:
            self._skew_warned = True
            self._app.logger.warning(
                "this machine's clock differs from the Redis server's by %.1f s: run NTP on both", -offset
            )
        rtt_us = int(rtt_s * 1e6)
        self._rtts.append(rtt_us)
        if len(self._rtts) == self._rtts.maxlen and min(self._rtts) > RTT_WARNING_US:
            if not self._rtt_warned:
                self._app.logger.warning(
                    "Redis is slow to answer: the last %d round trips took over %d microseconds each, %s; "
                    "under 1,000 is good. Is this process or Redis short of CPU, or far away?",
                    len(self._rtts), RTT_WARNING_US, list(self._rtts),
                )  # fmt: skip
            self._rtt_warned = True
        else:
            self._rtt_warned = False
        return rtt_us

    def _server_time(self) -> float:
        seconds, micros = self._transport.command("TIME")
        return int(seconds) + int(micros) / 1e6


def _work_fields(work: Mapping[str, Work]) -> dict[str, str]:
    """Running jobs as Sidekiq shows them: the payload is text inside the JSON."""
    share = WORK_BYTES // max(len(work), 1)
    return {
        tid: _json({"queue": job.delivery.queue, "payload": _shown(job, share), "run_at": int(job.run_at)})
        for tid, job in work.items()
    }


def _shown(work: Work, share: int) -> str:
    raw = work.delivery.raw
    if len(raw) <= share:
        return raw.decode("utf-8", "replace")
    short = {name: str(work.payload.get(name))[:_SHORT] for name in _NAMES if name in work.payload}
    return _json({**short, "args": [f"({len(raw):,} bytes)"]})


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
