"""One trip to Redis: what it tells, and what it asks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ..store import Running, Sent
from ..store.calls import Call
from ..store.running import FETCH_BYTES, Fetched
from .delivery import Delivery


class Trip(NamedTuple):
    """A call under way: the jobs that it acknowledges, for how many others it asks of which queues, and when
    it was sent (by `boottime`).
    """

    sent: Sent[Fetched]
    done: Sequence[Delivery]
    room: int
    running: Running
    queues: Sequence[str]
    since: float


def request(
    running: Running, queues: Sequence[str], room: int, done: Sequence[Delivery], day: str
) -> Call[Fetched]:
    """Acknowledge what is done, if anything, and fetch if there is room."""
    if not done:
        return running.fetch(queues, room)
    pairs = [(d.queue, d.raw) for d in done]
    return running.ack_and_fetch(queues, room, pairs, day) if room else running.ack(pairs, day)


def cut(waiting: deque[Delivery], most: int) -> list[Delivery]:
    """Take what one call carries: so many at most, and no more once they have FETCH_BYTES."""
    taken: list[Delivery] = []
    size = 0
    while waiting and len(taken) < most and size < FETCH_BYTES:
        taken.append(waiting.popleft())
        size += len(taken[-1].raw)
    return taken
