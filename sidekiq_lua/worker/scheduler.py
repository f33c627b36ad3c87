"""Moves due jobs from `retry` and `schedule` to their queues."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..clock import monotonic
from ..errors import UnparsablePayload
from ..payload import DEFAULTS, Payload
from ..store import Transport
from ..store.entries import DUE_BYTES, Promotion
from ..stored import filled, load, to_push
from .actor import Actor
from .failure import ErrorReporter

if TYPE_CHECKING:
    from ..app import App

BATCH = 200
_FEW_PROCESSES = 10
_INITIAL_WAIT_S = 10.0
_BEATEN_S = 0.05
_CLAIM_S = 60.0
"""How late a job is at most whose poller ends between claiming and moving it."""


class Scheduler(Actor):
    """Reads due entries, runs client middleware on them, and promotes them by their stored bytes.

    Any number of processes may do it at once: an entry that another one took is gone, and nothing
    happens. Where there is client middleware, it runs for an entry in the one process that has claimed it.
    What is no job, or what middleware stops, is settled by the same call.
    """

    name = "scheduler"

    def __init__(
        self, app: App, transport: Transport, errors: ErrorReporter, process_count: Callable[[], int]
    ) -> None:
        super().__init__(errors)
        self._app = app
        self._transport = transport
        self._process_count = process_count
        self._beaten = False

    def first_pause(self) -> float:
        # The processes of a fleet that starts together shall not poll together.
        start = 0.0 if self._app.config.poll_interval_average else _INITIAL_WAIT_S
        return start + random.random() * min(5.0, self._average())

    def step(self) -> float:
        skips: dict[str, int] = {}
        while self.enqueue_due(skips) and not self.stopped:
            if self._beaten:
                # Another poller is at it, and is as fast alone. Should it end, this one is back soon.
                return random.uniform(0.5, 1.5) * _BEATEN_S
        return self.pause()

    def _average(self) -> float:
        config = self._app.config
        if config.poll_interval_average:
            return float(config.poll_interval_average)
        return max(self._process_count(), 1) * float(config.average_scheduled_poll_interval)

    def pause(self) -> float:
        """A random time around the average, which grows with the number of processes."""
        average = self._average()
        if max(self._process_count(), 1) < _FEW_PROCESSES:
            return average * random.random() + average / 2
        return average * random.random() * 2

    def enqueue_due(self, skips: dict[str, int]) -> bool:
        """Promote one batch of each set; whether there may be more. Raises RedisError.

        `skips` counts the entries of each set that had to stay, so that they do not stop those behind.
        """
        app, now = self._app, self._app.clock.now()
        more = self._beaten = False
        tail = b',"enqueued_at":%b}' % app.stamp.text()
        for name, entries in self._transport.run(app.store.entries.due(now, BATCH, skips)).items():
            scores, until = self._claim(name, entries, now)
            promotions = self._prepare_all(scores, tail)
            states = []
            if promotions:
                states = self._transport.run(app.store.entries.promote(name, promotions, until))
            for promotion, state in zip(promotions, states, strict=True):
                if state == -1:
                    app.logger.error(
                        "a due job stays in %s: the key of queue %r is not a list", name, promotion.queue
                    )
            taken = len(entries) - len(scores)
            self._beaten = self._beaten or (taken + states.count(0)) * 2 > taken + len(states)
            gone = {made.entry for made, state in zip(promotions, states, strict=True) if state != -1}
            stay = [(entry, score) for entry, score in scores.items() if entry not in gone]
            if stay and until > now:
                self._transport.run(app.store.entries.claim(name, stay, until))
            skips[name] = skips.get(name, 0) + len(stay)
            more = more or len(entries) == BATCH or sum(map(len, entries)) >= DUE_BYTES
        return more

    def _claim(self, name: str, entries: list[bytes], now: float) -> tuple[dict[bytes, float], float]:
        """Which entries are this poller's alone, with their scores, and until when.

        Where client middleware runs, no two pollers may be at one entry: if it lets one like a job pass at
        a time, one poller would forget the job that the other is about to move.
        """
        if not entries or not self._app.config.client_middleware:
            return dict.fromkeys(entries, now), now
        until = now + _CLAIM_S
        call = self._app.store.entries.claim(name, [(entry, until) for entry in entries], now)
        scores = self._transport.run(call)
        mine = {entry: score for entry, score in zip(entries, scores, strict=True) if score is not None}
        return mine, until

    def _prepare_all(self, entries: Iterable[bytes], tail: bytes) -> list[Promotion]:
        """For as many as there is time for while they are claimed: slow middleware leaves some for later."""
        made, enough = [], monotonic() + _CLAIM_S / 2
        for entry in entries:
            promotion = self._prepare(entry, tail)
            if promotion is not None:
                made.append(promotion)
            if monotonic() > enough:
                break
        return made

    def _prepare(self, entry: bytes, tail: bytes) -> Promotion | None:
        """What to push for a due entry; None if it has to stay because middleware failed on it."""
        app = self._app
        try:
            found, queue = load(app, entry)
        except UnparsablePayload:
            # The worker puts it in the dead set, as it is, and tells the error handlers.
            return Promotion(entry, DEFAULTS["queue"], entry)
        if self._is_whole(found, entry):
            return Promotion(entry, queue, entry[:-1] + tail)
        payload = filled(app, found, queue)
        try:
            return Promotion(entry, *to_push(app, entry, payload))
        except BaseException as error:  # also SystemExit: it would end all that polls, in every process
            self._errors.report(
                error, {"context": "client middleware failed on a due job, which stays", "job": payload}
            )
            return None

    def _is_whole(self, payload: Payload, entry: bytes) -> bool:
        """Whether a job lacks nothing but the time: most do, and then its text need not be written anew."""
        config, get = self._app.config, payload.get
        return bool(
            not config.client_middleware
            and config.dump_json is None
            and get("jid")
            and get("queue")
            and get("created_at")
            and get("retry") not in (None, "")
            and "enqueued_at" not in payload
            and "at" not in payload
            and entry[-1:] == b"}"
        )
