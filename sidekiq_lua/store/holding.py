"""Calls on paused job classes. Keys: `lua:paused_classes`, `lua:resumed_classes`, `lua:held:CLASS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .calls import Call
from .keys import Keys
from .queues import text
from .running import FETCH_BYTES, Running
from .scripts import library

HELD_PAGE = 100
"""The most held jobs that one call reads or releases."""


class Held(NamedTuple):
    """A job that was put aside; `item` is what the list holds for it."""

    item: bytes
    queue: str
    raw: bytes


class Holding:
    """Which classes are paused, and the jobs that were put aside for it."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        scripts = library()
        self._classes = scripts["paused_classes"].call
        self._pause = scripts["pause_class"].call
        self._resume = scripts["resume_class"].call
        self._hold = scripts["hold"].call
        self._held = scripts["held"].call
        self._release = scripts["release"].call
        self._delete = scripts["delete_job"].call

    def classes(self) -> Call[tuple[frozenset[str], frozenset[str]]]:
        """The paused classes, and those that go on and still have held jobs."""
        return self._classes(
            paused=self._keys.paused_classes,
            resumed=self._keys.resumed_classes,
            read=lambda reply: (frozenset(map(text, reply[0])), frozenset(map(text, reply[1]))),
        )

    def pause(self, name: str) -> Call[bool]:
        """Let no job of a class start any more. False: it was paused already."""
        keys = self._keys
        return self._pause(
            paused=keys.paused_classes, resumed=keys.resumed_classes, name=name, read=lambda reply: reply == 1
        )

    def resume(self, name: str) -> Call[tuple[bool, int]]:
        """Hold no job of a class any more: whether it was paused, and how many are to be released."""
        keys = self._keys
        return self._resume(
            paused=keys.paused_classes,
            resumed=keys.resumed_classes,
            held=keys.held(name),
            name=name,
            read=lambda reply: (reply[0] == 1, reply[1]),
        )

    def hold(self, name: str, running: Running, queue: str, raw: bytes) -> Call[str]:
        """Put a fetched job aside: "HELD", "RUN" if its class is not paused, or "GONE"."""
        return self._hold(
            paused=self._keys.paused_classes,
            running=running.list(queue),
            held=self._keys.held(name),
            name=name,
            payload=raw,
            item=b"%b\n%b" % (queue.encode(), raw),
            read=bytes.decode,
        )

    def held(self, name: str, skip: int = 0, n: int = HELD_PAGE) -> Call[tuple[int, list[Held]]]:
        """How many jobs of a class are held, and the newest behind `skip` newer ones, the oldest first."""
        return self._held(
            running=self._keys.held(name),
            skip=skip,
            n=n,
            bytes=FETCH_BYTES,
            newest=1,
            read=lambda reply: (reply[0], [read_held(item) for item in reversed(reply[1])]),
        )

    def release(self, name: str, jobs: Sequence[Held]) -> Call[int | None]:
        """Return at most 100 held jobs, the oldest first in `jobs`, to the consuming end of their queues.

        Answers how many; None if the class was paused again, or nothing is left to release.
        """
        keys = self._keys
        queues = list(dict.fromkeys(job.queue for job in jobs))
        place = {queue: number for number, queue in enumerate(queues, 1)}
        rest: list[str | bytes | int] = [*queues]
        for job in reversed(jobs):
            rest += (place[job.queue], job.item, job.raw)
        return self._release(
            resumed=keys.resumed_classes,
            held=keys.held(name),
            queues=keys.queues,
            lists=[keys.queue(queue) for queue in queues],
            name=name,
            jobs=rest,
            read=lambda reply: None if reply < 0 else reply,
        )

    def delete(self, name: str, item: bytes) -> Call[bool]:
        """Delete one held job. False: it is held no more."""
        return self._delete(queue=self._keys.held(name), payload=item, read=lambda reply: reply == 1)


def read_held(item: bytes) -> Held:
    queue, _, raw = item.partition(b"\n")
    return Held(item, text(queue), raw)
