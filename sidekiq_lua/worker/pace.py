"""How many jobs to take at once, judged by how long the last ones ran."""

from __future__ import annotations

AHEAD = 100
"""The most jobs taken beyond the free slots."""
AHEAD_S = 0.010
"""How long jobs beyond the free slots may wait, judged by recent run times."""
HISTORY = 100
"""How many run times are judged by; with fewer, no job is taken beyond the free slots."""
BRISK_S = 50e-6
"""Where jobs take less, a thread runs several in the time that it takes to wake another."""


class Pace:
    """The run times of one capsule's last jobs."""

    def __init__(self) -> None:
        self._times_s = [0.0] * HISTORY
        self.runs = 0
        """How many jobs have run."""
        self.brisk = False
        """Whether one thread ends all that is ready sooner than two would."""

    def ran(self, seconds: float) -> None:
        """Remember how long a job ran."""
        self._times_s[self.runs % HISTORY] = seconds
        self.runs += 1
        if seconds > HISTORY * BRISK_S:
            self.brisk = False

    def ahead(self, slots: int) -> int:
        """How many jobs so many free slots can begin within 10 ms, after those that begin at once."""
        if self.runs < HISTORY:
            return 0
        mean = sum(self._times_s) / HISTORY
        self.brisk = mean < BRISK_S
        return min(AHEAD, int(slots * AHEAD_S / max(mean, 1e-6)))
