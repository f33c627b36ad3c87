"""Writes what this process's scripts were called and came to, for `sidekiq-lua scripts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import monotonic
from ..errors import LostReply, RedisError
from ..store import Transport
from .failure import ErrorReporter

if TYPE_CHECKING:
    from ..app import App

EACH_S = 60.0
"""How often calls are written; anything else that was counted goes with the next beat."""


class CountsFlusher:
    """Writes the news of one transport. Never raises RedisError: what Redis refuses is kept for later."""

    def __init__(self, app: App, transport: Transport, errors: ErrorReporter) -> None:
        self._app = app
        self._transport = transport
        self._errors = errors
        self._written_at = monotonic()
        self._failing = False

    def beat(self) -> None:
        """Write, if a minute is over or something is worth telling at once."""
        due = monotonic() - self._written_at >= EACH_S
        if due or (not self._failing and any(news.kind != "calls" for news in self._transport.counts.news())):
            self.flush()

    def flush(self) -> None:
        """Write all that is new."""
        self._written_at = monotonic()
        counts = self._transport.counts
        news = counts.news()
        if not news:
            return
        try:
            problem = self._transport.run(self._app.store.counters.count_scripts(news, self._app.clock.now()))
        except LostReply:
            # It may have been added: better a few too few than a few twice.
            counts.settle(news)
        except RedisError as error:
            if not self._failing:
                self._failing = True
                self._errors.report(
                    error, {"context": "counts of scripts could not be written, they are kept"}
                )
        else:
            counts.settle(news)
            if problem and not self._failing:
                self._app.logger.warning("a part of the counts of scripts is not written: %s", problem)
            self._failing = bool(problem)
