"""Numbers for pushes that may be sent again. Keys: `lua:sent:SENDER:LANE`."""

from __future__ import annotations

import itertools
import os
import secrets
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any

from .calls import Call
from .keys import Keys
from .scripts import library

TTL_S = 300
"""How long Redis remembers the last push of a lane, in seconds."""

_SAFE = {"push": "push_once", "schedule": "schedule_once"}


@dataclass(eq=False)
class PushLane:
    """One push at a time goes over a lane; each has a higher number than the one before."""

    key: str
    number: int = 0


class PushLanes:
    """The lanes of one sender, as many as it makes pushes at the same time. Thread-safe and fork-safe.

    A lane is given back only when its push is known to be done or refused: one that may still arrive
    must not meet a higher number and be taken for done.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._begin()
        _LANES.add(self)

    def _begin(self) -> None:
        """Also in a child after a fork: the parent's numbers are the parent's."""
        self._sender = secrets.token_hex(8)
        # Not a list with a lock: a signal's handler that pushes would wait for what it interrupted.
        self._free: deque[PushLane] = deque()
        self._numbers = itertools.count(1)

    def take(self) -> PushLane:
        """A lane of one's own, with its next number."""
        try:
            lane = self._free.pop()
        except IndexError:
            lane = PushLane(self._keys.sent(self._sender, next(self._numbers)))
        lane.number += 1
        return lane

    def give(self, lane: PushLane) -> None:
        """The push of this lane has come to its end."""
        self._free.append(lane)


def once(call: Call[int], lane: PushLane) -> Call[int]:
    """A push or schedule call in its form that may be sent again on this lane."""
    script = library()[_SAFE[call.script.name]]
    return Call(script, (*call.keys, lane.key), (lane.number, TTL_S, *call.argv), call.read)


def payloads(call: Call[Any]) -> list[bytes]:
    """The jobs of a push or schedule call, as text."""
    first, step = {"push": (1, 1), "schedule": (1, 2)}[call.script.name]
    return [raw for raw in call.argv[first::step] if isinstance(raw, bytes)]


_LANES: weakref.WeakSet[PushLanes] = weakref.WeakSet()


def _after_fork() -> None:
    for lanes in _LANES:
        lanes._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
