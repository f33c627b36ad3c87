"""In which order the queues of a capsule are looked at, and into which of many."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from ..clock import monotonic
from ..config import Capsule

MANY = 10
"""Of more queues than this, a fetch need not name all."""
LOOK_S = 0.005
"""For so long after a look into all of many queues, a fetch names those that had jobs."""


class QueueOrder:
    """Strict: as given. Random: any order. Weighted: more often first, the larger the weight.

    To name 100 queues costs the server as much as 30 jobs. So while jobs abound, and a fetch brings all it
    asks for, only one in 5 ms looks into every queue.
    """

    def __init__(self, capsule: Capsule) -> None:
        self.queues: list[str] = list(capsule.weights)
        self._strict = capsule.mode == "strict"
        weights = capsule.weights
        self._tickets = [name for name in self.queues for _ in range(max(weights.get(name, 0), 1))]
        self._rich: frozenset[str] = frozenset()
        self._until = 0.0

    def next(self, also: Iterable[str] = ()) -> Sequence[str]:
        """The queues to look into now, each once, in their order: all of them; or, for a moment, those where
        jobs abound, and those in `also`.
        """
        if monotonic() >= self._until:
            return self._ordered(self.queues, self._tickets)
        few = self._rich.union(also)
        return self._ordered(
            [name for name in self.queues if name in few], [name for name in self._tickets if name in few]
        )

    def looked(self, into: Sequence[str], found: Iterable[str], *, filled: bool) -> bool:
        """A fetch has looked `into` these and found jobs in some, or in none; `filled`: as many as it had
        asked for. Whether there may be more.
        """
        everywhere = len(into) == len(self.queues)
        if not filled:
            self._until = 0.0
        elif everywhere and len(self.queues) > MANY:
            self._rich = frozenset(found)
            self._until = monotonic() + LOOK_S
        return filled or not everywhere

    def _ordered(self, queues: list[str], tickets: list[str]) -> Sequence[str]:
        if self._strict or len(queues) == 1:
            return queues
        shuffled = tickets.copy()
        random.shuffle(shuffled)
        return list(dict.fromkeys(shuffled))
