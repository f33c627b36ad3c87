"""What a supervisor keeps up, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...config import Config

_FIRST_S, _LONGEST_S = 1.0, 30.0
_GRACE_S = 15.0


@dataclass(frozen=True)
class Plan:
    """`timeout_s`: what running jobs are given at a stop; sizes are in bytes."""

    processes: int
    timeout_s: float
    max_memory: int | None = None
    max_jobs: int | None = None
    name: str = ""

    @classmethod
    def of(cls, config: Config) -> Plan:
        return cls(
            config.processes or 1, float(config.timeout), config.max_memory, config.max_jobs, config.tag or ""
        )

    @property
    def stop_s(self) -> float:
        """After so many seconds a process that was told to stop is killed."""
        return self.timeout_s + _GRACE_S

    def excess(self, rss: int, jobs: int) -> str:
        """Why a process should be replaced, or ""."""
        if self.max_memory is not None and rss > self.max_memory:
            return f"it uses {rss // 2**20} MB, over the limit of {self.max_memory // 2**20} MB"
        if self.max_jobs is not None and jobs >= self.max_jobs:
            return f"it has run {jobs} jobs, of {self.max_jobs}"
        return ""


def wanted(config: Config) -> bool:
    """Whether the settings ask for a supervisor."""
    return any(value is not None for value in (config.processes, config.max_memory, config.max_jobs))


def backoff_s(quick_deaths: int) -> float:
    """How long to wait before the next start, after so many deaths in a row soon after a start."""
    if quick_deaths <= 1:
        return 0.0
    return float(min(_FIRST_S * 2 ** (quick_deaths - 2), _LONGEST_S))
