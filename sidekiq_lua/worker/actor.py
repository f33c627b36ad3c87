"""The shape of a background loop: one thread, one step, a pause."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from ..clock import monotonic
from ..errors import RedisUnavailable
from .failure import ErrorReporter

_AFTER_ERROR_S = 5.0


class Actor(ABC):
    """Calls `step` until it is stopped; what a step raises is reported, and the loop goes on."""

    name: str

    def __init__(self, errors: ErrorReporter) -> None:
        self._errors = errors
        self._stop = threading.Event()
        self.turned_at = monotonic()
        """When the last step began (monotonic seconds)."""
        self._thread = threading.Thread(target=self._run, name=f"sidekiq.{self.name}", daemon=True)

    @abstractmethod
    def step(self) -> float:
        """Do the work once; answers how many seconds to pause."""

    def first_pause(self) -> float:
        """Seconds before the first step."""
        return 0.0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the loop to end."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the loop to end; whether it did."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def runs(self) -> bool:
        """Whether its thread has begun and has not ended."""
        return self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def _run(self) -> None:
        self._errors.settle_in()
        pause = self.first_pause()
        away = False
        while not self._stop.wait(pause):
            self.turned_at = monotonic()
            try:
                pause = self.step()
                away = False
            except BaseException as error:  # also SystemExit, which code of the application may raise here
                # That Redis is away is told once, not every few seconds.
                if not (away and isinstance(error, RedisUnavailable)):
                    self._errors.report(error, {"context": f"the {self.name} failed, it goes on"})
                away = isinstance(error, RedisUnavailable)
                pause = _AFTER_ERROR_S
