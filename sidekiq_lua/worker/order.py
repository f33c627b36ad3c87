"""In which order the queues of a capsule are looked at."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..config import Capsule


class QueueOrder:
    """Strict: as given. Random: any order. Weighted: more often first, the larger the weight."""

    def __init__(self, capsule: Capsule) -> None:
        self.queues: list[str] = list(capsule.weights)
        self._strict = capsule.mode == "strict"
        weights = capsule.weights
        self._tickets = [name for name in self.queues for _ in range(max(weights.get(name, 0), 1))]

    def next(self) -> Sequence[str]:
        """Every queue once, in the order to look now."""
        if self._strict or len(self.queues) == 1:
            return self.queues
        tickets = self._tickets.copy()
        random.shuffle(tickets)
        return list(dict.fromkeys(tickets))
