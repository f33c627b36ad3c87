"""Calls that add jobs and look at queues. Keys: `queues`, `queue:NAME`, `paused`, `schedule`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .calls import Call
from .keys import Keys
from .scripts import library

PAGE = 100
"""The most queues, processes or owners that one call reads."""
PAGE_BYTES = 1_000_000
"""Once so many bytes of payloads are read, a page ends."""


@dataclass(frozen=True)
class QueueSize:
    """A queue's length and the payload that is next, or b"" if it is empty."""

    name: str
    size: int
    oldest: bytes
    paused: bool


class Queues:
    """The queues and the set of scheduled jobs, as clients and people see them."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._push = library()["push"].call
        self._schedule = library()["schedule"].call
        self._sizes = library()["queue_sizes"].call
        self._members = library()["members"].call
        self._delete_job = library()["delete_job"].call
        self._pause = library()["pause"].call
        self._unpause = library()["unpause"].call
        self._clear = library()["clear_queue"].call
        self._replace = library()["replace_job"].call
        self._move = library()["move_job"].call

    def push(self, name: str, payloads: Sequence[bytes]) -> Call[int]:
        """Add jobs, oldest first, to one queue."""
        keys = self._keys
        return self._push(queues=keys.queues, queue=keys.queue(name), name=name, payloads=payloads)

    def schedule(self, entries: Sequence[tuple[float, bytes]]) -> Call[int]:
        """Add jobs that are due at the given epoch seconds."""
        flat = [part for due, payload in entries for part in (repr(due), payload)]
        return self._schedule(schedule=self._keys.schedule, entries=flat)

    def names(self, cursor: str = "0") -> Call[tuple[str, list[str]]]:
        """One page of queue names: the next cursor, "0" at the end, and the names."""
        return self._members(set=self._keys.queues, cursor=cursor, size=PAGE, read=read_page)

    def paused(self, cursor: str = "0") -> Call[tuple[str, list[str]]]:
        """One page of the names of paused queues, known ones or not; see `names`."""
        return self._members(set=self._keys.paused, cursor=cursor, size=PAGE, read=read_page)

    def sizes(self, names: Sequence[str]) -> Call[list[QueueSize]]:
        """Sizes and oldest jobs of at most 100 queues, in their order; where the jobs are large, of fewer."""

        def read(reply: list[Any]) -> list[QueueSize]:
            return [
                QueueSize(name, size, oldest, bool(paused))
                for name, (size, oldest, paused) in zip(names, reply, strict=False)
            ]

        queues = [self._keys.queue(name) for name in names]
        return self._sizes(paused=self._keys.paused, queues=queues, bytes=PAGE_BYTES, names=names, read=read)

    def pause(self, name: str) -> Call[bool]:
        """Let no fetch take from a queue. False: it was paused already."""
        return self._pause(paused=self._keys.paused, name=name, read=_did)

    def unpause(self, name: str) -> Call[bool]:
        """Let a queue go on. False: it was not paused."""
        return self._unpause(paused=self._keys.paused, name=name, read=_did)

    def delete(self, name: str, raw: bytes) -> Call[bool]:
        """Delete one waiting job by its exact bytes; slow in a long queue. False: a worker took it."""
        return self._delete_job(queue=self._keys.queue(name), payload=raw, read=_did)

    def replace(self, name: str, raw: bytes, payload: bytes) -> Call[bool]:
        """Store `payload` in the stead of a waiting job; slow in a long queue. False: a worker took it."""
        return self._replace(queue=self._keys.queue(name), job=raw, payload=payload, read=_did)

    def move(self, name: str, raw: bytes, other: str, payload: bytes) -> Call[bool]:
        """Push `payload` to another queue in a job's stead; slow in a long queue. False: it is gone."""
        keys = self._keys
        return self._move(
            queue=keys.queue(name),
            queues=keys.queues,
            other=keys.queue(other),
            job=raw,
            name=other,
            payload=payload,
            read=_did,
        )

    def clear(self, name: str) -> Call[int]:
        """Delete every waiting job and forget the queue's name; answers how many jobs."""
        return self._clear(queues=self._keys.queues, queue=self._keys.queue(name), name=name)


def _did(reply: int) -> bool:
    return reply == 1


def read_page(reply: list[Any]) -> tuple[str, list[str]]:
    return reply[0].decode(), [text(member) for member in reply[1]]


def text(member: bytes) -> str:
    return member.decode("utf-8", "backslashreplace")
