"""The places that a supervisor keeps filled: who is in each, who is to follow, and when to try again."""

from __future__ import annotations

from dataclasses import dataclass

from ...clock import monotonic
from .family import Child
from .plan import backoff_s

QUICK_S = 5.0
"""A process that dies so soon after its start may do so again."""
_AGAIN_S = 5.0


@dataclass(eq=False)
class Place:
    """`current` works; `incoming` boots, and takes its place when it has."""

    number: int
    current: Child | None = None
    incoming: Child | None = None
    start_at: float | None = 0.0
    """When to start a process here (monotonic seconds); None: not now."""
    quick_deaths: int = 0
    not_before: float = 0.0
    """Until then nobody is replaced here: the last attempt has failed."""

    @property
    def due(self) -> bool:
        return self.start_at is not None and monotonic() >= self.start_at

    def started(self, child: Child) -> None:
        self.incoming = child
        self.start_at = None

    def booted(self, child: Child) -> Child | None:
        """Its time has come; answers whom it replaces."""
        before, self.current, self.incoming = self.current, child, None
        return before

    def put_off(self) -> float:
        """No process could be made: plan the next attempt; answers in how many seconds that will be."""
        self.quick_deaths += 1
        delay_s = max(backoff_s(self.quick_deaths), 1.0)
        if self.current is None:
            self.start_at = monotonic() + delay_s
        self.not_before = monotonic() + max(delay_s, _AGAIN_S)
        return delay_s

    def died(self, child: Child, again: bool) -> float:
        """Forget a process, and plan the next one if wanted; answers in how many seconds that will be."""
        if child is self.incoming:
            self.incoming = None
        elif child is self.current:
            self.current = None
        else:
            return 0.0
        self.quick_deaths = self.quick_deaths + 1 if child.age_s < QUICK_S else 1
        delay_s = backoff_s(self.quick_deaths)
        if again and self.current is None and self.incoming is None:
            self.start_at = monotonic() + delay_s
        self.not_before = monotonic() + max(delay_s, _AGAIN_S)
        return delay_s
