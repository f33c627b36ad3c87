"""What the worker does for iterable jobs beside running them: their state, and how they end."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import InvalidCursor, RedisNotReady, RedisUnavailable, UnserializableArguments
from ..iterable import IterableJobBase
from ..iterating.run import Run
from ..job import JobBase
from ..payload import Payload, new_jid
from ..store.iterations import RunningJob, Saved, State
from .delivery import Delivery
from .exchange import Exchange
from .forked import end_fork

if TYPE_CHECKING:
    from ..app import App

_AWAY = (RedisUnavailable, RedisNotReady)
"""What is over after a while, as a failover is: a run waits for it, and does not fail."""


class RunKeeper:
    """Keeps the state of one run in Redis, as long as this process holds its job."""

    def __init__(self, app: App, exchange: Exchange, held: RunningJob) -> None:
        self._app = app
        self._exchange = exchange
        self._pid = os.getpid()
        self.held = held

    def load(self) -> State | None:
        """None: Redis is not available, or not ready. Raises RedisRefused."""
        try:
            [state] = self._app.transport().run(self._app.store.iterations.read([self.held.jid]))
        except _AWAY:
            return None
        return state or State()

    def save(self, state: State) -> Saved | None:
        """None: Redis is not available, or takes no writes for now. Raises RedisRefused."""
        transport = self._app.transport()
        try:
            saved = transport.run(self._app.store.iterations.save(self.held, state))
        except _AWAY:
            return None
        transport.counts.fenced["save_iteration"] += not saved.held
        return saved

    def stopping(self) -> bool:
        if os.getpid() != self._pid:
            end_fork(None)  # an item has forked: the other items are the parent's
        return self._exchange.quiet


class Iterations:
    """The iterable jobs of one capsule."""

    def __init__(self, app: App, exchange: Exchange) -> None:
        self._app = app
        self._exchange = exchange
        self._calls = app.store.iterations

    def attach(self, job: JobBase[Any], delivery: Delivery, payload: Payload) -> None:
        """Give an iterable job the keeper of its state."""
        if isinstance(job, IterableJobBase):
            jid = payload.get("jid")
            # What came without an id gets one that it keeps once it is interrupted, or is retried.
            jid = delivery.jid = jid if isinstance(jid, str) and jid else new_jid()
            job._keeper = RunKeeper(self._app, self._exchange, _held(delivery, jid))

    def interrupted(self, job: JobBase[Any] | None) -> bool:
        """Whether a run has ended before its job has, whatever middleware made of that."""
        return isinstance(job, IterableJobBase) and job._run is not None and job._run.interrupted

    def failing(self, job: JobBase[Any] | None, delivery: Delivery) -> None:
        """Save how far a job came that failed; if Redis is away, when it is settled. Raises RedisRefused."""
        run, keeper = _parts(job)
        if run is None or keeper is None or not run.begun or run.kept or delivery.given_back:
            return
        try:
            state = run.state()
        except InvalidCursor:
            return  # that is what it failed of
        delivery.unsaved = self._calls.save(keeper.held, state)
        with suppress(*_AWAY):
            self._app.transport().run(delivery.unsaved)
            delivery.unsaved = None

    def finish(self, job: JobBase[Any], delivery: Delivery) -> None:
        """The job has ended: acknowledge it and forget its state, in one step.

        What middleware kept from its end, or from beginning, may be in a queue again by now: its state stays.
        """
        run, keeper = _parts(job)
        assert keeper is not None
        if run is None or not run.completed:
            self._exchange.done(delivery)
            return
        call = self._calls.finish(keeper.held, self._app.clock.day())
        self._exchange.settle(delivery, call, lambda settled: None)

    def put_back(self, job: JobBase[Any], delivery: Delivery) -> None:
        """Save the state and put the job back, in one step. Raises InvalidCursor."""
        run, keeper = _parts(job)
        assert run is not None
        assert keeper is not None
        now, due = self._app.clock.now(), None
        payload = self._app.codec.load(delivery.raw)
        payload["jid"] = keeper.held.jid
        if run.asked_s:
            due = now + run.asked_s
            # As for a retry: it may not say where it is, or say another one.
            payload["queue"] = delivery.queue
            payload.pop("enqueued_at", None)
        else:
            payload["enqueued_at"] = self._app.stamp.now()
        try:
            text = self._app.codec.dump(payload)
        except UnserializableArguments:
            text = delivery.raw
        call = self._calls.interrupt(keeper.held, run.state(), text, due, run.asked_s or 0)
        self._exchange.settle(delivery, call, lambda settled: None)


def _parts(job: JobBase[Any] | None) -> tuple[Run | None, RunKeeper | None]:
    if not isinstance(job, IterableJobBase):
        return None, None
    keeper = job._keeper
    return job._run, keeper if isinstance(keeper, RunKeeper) else None


def _held(delivery: Delivery, jid: str) -> RunningJob:
    return RunningJob(delivery.running, delivery.queue, delivery.raw, jid)
