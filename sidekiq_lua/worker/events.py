"""Lifecycle events: startup, quiet, shutdown, exit, heartbeat, beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .failure import ErrorReporter

if TYPE_CHECKING:
    from ..config import Config

_REVERSED = ("quiet", "shutdown", "exit")
_REPEATED = ("beat",)


class Events:
    """Fires the handlers of `config.on(…)` with Sidekiq's rules.

    All but `beat` fire once; `quiet`, `shutdown` and `exit` run in reverse order. What a `startup`
    handler raises stops the boot, other errors are reported.
    """

    def __init__(self, config: Config, errors: ErrorReporter) -> None:
        self._handlers = {name: list(handlers) for name, handlers in config.lifecycle_events.items()}
        self._errors = errors

    def fire(self, event: str) -> None:
        handlers = self._handlers.get(event, [])
        if event not in _REPEATED:
            self._handlers[event] = []
        for handler in reversed(handlers) if event in _REVERSED else handlers:
            self._call(event, handler)

    def _call(self, event: str, handler: Any) -> None:
        try:
            handler()
        except BaseException as error:  # also SystemExit: the heartbeat's thread may be here
            if event == "startup":
                raise
            self._errors.report(
                error, {"context": f"Exception during Sidekiq lifecycle event {event}.", "event": event}
            )
