"""Sends what this process has run to Redis, where Sidekiq's metrics pages look for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..errors import RedisError, RedisRefused
from ..store import Transport
from ..tally import CLASSES, Tally
from .failure import ErrorReporter

if TYPE_CHECKING:
    from ..app import App


class MetricsFlusher:
    """Flushes the tally. Never raises RedisError: what cannot be written now is written later."""

    def __init__(self, app: App, transport: Transport, errors: ErrorReporter) -> None:
        self._app = app
        self._tally: Tally = app.tally
        self._transport = transport
        self._errors = errors
        self._lock = threading.Lock()
        self._failing = False
        self._warned = False

    def flush(self) -> bool:
        """Send what is new, at most CLASSES classes a call; whether all of it is in Redis now."""
        with self._lock:
            try:
                while (batch := self._tally.batch(self._app.clock.now())) is not None:
                    flushed = self._transport.run(
                        self._app.store.metrics.flush(self._tally.token, batch.number, batch.at, batch.counts)
                    )
                    self._tally.settle(batch)
                    if flushed.problem and not self._warned:
                        self._warned = True
                        self._app.logger.warning("a part of the metrics is not written: %s", flushed.problem)
                    if len(batch.counts) < CLASSES:
                        break
            except RedisError as error:
                if isinstance(error, RedisRefused):
                    # The script refuses before it writes. Without an answer it may have written, so the same
                    # batch goes again, and counts once.
                    self._tally.refuse()
                if not self._failing:
                    self._failing = True
                    self._errors.report(error, {"context": "metrics could not be written, they are kept"})
                return False
            self._failing = False
            return True
