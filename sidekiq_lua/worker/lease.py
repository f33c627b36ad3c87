"""Until when nobody can have taken this process's jobs for those of a dead one."""

from __future__ import annotations

from math import inf

from ..clock import boottime

_MARGIN = 0.05
"""The share of a heartbeat's life that is not counted on."""
_SEEN_S = 1.0
"""How long it counts that the server has seen this process registered."""


class Lease:
    """A beat that was answered keeps others from this process's jobs for the life of a heartbeat.

    A process that was stopped, or slept with its machine, may wake up later than that, with jobs in hand
    that have run elsewhere meanwhile. So none begins until the server has told whether they are still its
    own: whoever takes them ends the registration. Where no heartbeat runs, the lease has no end.
    """

    def __init__(self) -> None:
        self._until = inf

    def renew(self, since: float, ttl_s: float) -> None:
        """A beat was answered that was sent at `since` (seconds of `boottime`), and lives so long."""
        self._until = since + ttl_s * (1 - _MARGIN)

    def seen(self, since: float) -> None:
        """The server has found this process registered when asked at `since`."""
        self._until = max(self._until, since + _SEEN_S)

    @property
    def over(self) -> bool:
        return boottime() >= self._until
