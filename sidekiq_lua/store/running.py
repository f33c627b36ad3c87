"""Calls of one owner on the jobs it holds. Keys: `queue:NAME`, `lua:running:*`, `retry`, `dead`, `stat:*`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .calls import Call, pack
from .keys import Keys
from .scripts import library

DAY_TTL_S = 157_680_000
"""How long a day's counters are kept: five years, as Sidekiq does."""
FETCH_BYTES = 1_000_000
"""A fetch stops once it has taken this many bytes."""

# `Running.list` hides the built-in inside the class.
Payloads = list[bytes]
Positions = list[int]


class Fetched(NamedTuple):
    """What a fetch brought, and which queues it passed over because they are paused.

    `gone`: positions of acknowledged jobs that were not there. `reaped`: this owner is no longer
    registered and nothing was done.
    """

    jobs: list[tuple[str, bytes]] = []  # noqa: RUF012 -- nobody changes a reply
    gone: list[int] = []  # noqa: RUF012
    problem: str = ""
    paused: frozenset[str] = frozenset()
    reaped: bool = False


class Settled(NamedTuple):
    """How a job was settled. `moved` is False when it was no longer this owner's."""

    moved: bool
    problem: str = ""
    added: bool = True


@dataclass(frozen=True)
class Burial:
    """The limits of the dead set."""

    now: float
    cutoff: float
    limit: int


class Running:
    """The running lists of one owner (a process and its epoch)."""

    def __init__(self, keys: Keys, identity: str, epoch: str) -> None:
        self._keys = keys
        self.identity = identity
        self.epoch = epoch
        self.owner = f"{identity}:{epoch}"
        scripts = library()
        self._fetch = scripts["fetch"].call
        self._ack = scripts["ack"].call
        self._ack_and_fetch = scripts["ack_and_fetch"].call
        self._admit = scripts["admit"].call
        self._retry = scripts["retry"].call
        self._bury = scripts["bury"].call
        self._drop = scripts["drop"].call
        self._requeue = scripts["requeue"].call
        self._held = scripts["held"].call

    def list(self, queue: str) -> str:
        return self._keys.running(self.identity, self.epoch, queue)

    def fetch(self, queues: Sequence[str], n: int) -> Call[Fetched]:
        """Take up to n jobs from the queues, in their order."""

        def read(reply: Any) -> Fetched:
            if reply[0] != b"OK":
                return Fetched(reaped=True)
            return Fetched(_jobs(queues, reply[2]), [], _text(reply[1]), _names(queues, reply[3]))

        return self._fetch(
            owners=self._keys.owners,
            paused=self._keys.paused,
            lists=self._pairs(queues),
            owner=self.owner,
            n=n,
            bytes=FETCH_BYTES,
            names=queues,
            read=read,
        )

    def ack_and_fetch(
        self, queues: Sequence[str], n: int, done: Sequence[tuple[str, bytes]], day: str
    ) -> Call[Fetched]:
        """Acknowledge (queue, payload) pairs whose queues are all among `queues`, and take up to n jobs."""
        place = {queue: number for number, queue in enumerate(queues, 1)}
        rest: list[str | bytes | int] = [*queues]
        for queue, raw in done:
            rest += (place[queue], raw)

        def read(reply: Any) -> Fetched:
            if reply[0] != b"OK":
                return Fetched(reaped=True)
            gone = [n - 1 for n in reply[4]]
            return Fetched(_jobs(queues, reply[2]), gone, _text(reply[1]), _names(queues, reply[3]))

        keys = self._keys
        return self._ack_and_fetch(
            owners=keys.owners,
            paused=keys.paused,
            processed=keys.processed,
            processed_day=keys.processed_on(day),
            lists=self._pairs(queues),
            owner=self.owner,
            n=n,
            bytes=FETCH_BYTES,
            ttl=DAY_TTL_S,
            rest=rest,
            read=read,
        )

    def ack(self, done: Sequence[tuple[str, bytes]], day: str) -> Call[Fetched]:
        """Acknowledge (queue, payload) pairs; `gone` of the result has the positions that were gone."""
        queues = list(dict.fromkeys(queue for queue, _ in done))
        place = {queue: number for number, queue in enumerate(queues, 1)}
        flat = [part for queue, raw in done for part in (place[queue], raw)]

        def read(reply: Any) -> Fetched:
            return Fetched([], [n - 1 for n in reply[1]], _text(reply[0]))

        keys = self._keys
        return self._ack(
            processed=keys.processed,
            processed_day=keys.processed_on(day),
            running=[self.list(queue) for queue in queues],
            ttl=DAY_TTL_S,
            done=flat,
            read=read,
        )

    def admit(self, queue: str, raw: bytes) -> Call[str]:
        """Keep a job that BLMOVE delivered ("KEPT") or put it back ("BACK"); else "GONE" or "REAPED"."""
        keys = self._keys
        return self._admit(
            owners=keys.owners,
            paused=keys.paused,
            running=self.list(queue),
            queue=keys.queue(queue),
            queues=keys.queues,
            owner=self.owner,
            name=queue,
            payload=raw,
            read=_text,
        )

    def retry(self, queue: str, raw: bytes, payload: bytes, due: float, day: str) -> Call[Settled]:
        """Move a failed job to the retry set, due at epoch seconds."""
        return self._retry(
            running=self.list(queue),
            retry=self._keys.retry,
            **self._counters(day),
            raw=raw,
            payload=payload,
            due=repr(due),
            ttl=DAY_TTL_S,
            read=lambda reply: Settled(reply[0] == 1, _text(reply[1])),
        )

    def bury(
        self, queue: str, raw: bytes, payload: bytes, burial: Burial, day: str, *, ran: bool = True
    ) -> Call[Settled]:
        """Move a job to the dead set."""
        return self._bury(
            running=self.list(queue),
            dead=self._keys.dead,
            **self._counters(day),
            raw=raw,
            payload=payload,
            now=repr(burial.now),
            cutoff=repr(burial.cutoff),
            limit=burial.limit,
            runs=int(ran),
            ttl=DAY_TTL_S,
            read=lambda reply: Settled(reply[0] == 1, _text(reply[2]), reply[1] == 1),
        )

    def drop(self, queue: str, raw: bytes, day: str) -> Call[Settled]:
        """Forget a failed job that is discarded."""
        return self._drop(
            running=self.list(queue),
            **self._counters(day),
            raw=raw,
            ttl=DAY_TTL_S,
            read=lambda reply: Settled(reply[0] == 1, _text(reply[1])),
        )

    def requeue(self, queue: str, raws: Sequence[bytes]) -> Call[Positions]:
        """Put at most 100 jobs, oldest first, back; answers the positions of those that were gone."""
        return self._requeue(
            running=self.list(queue),
            queue=self._keys.queue(queue),
            queues=self._keys.queues,
            name=queue,
            payloads=raws,
            read=lambda reply: [n - 1 for n in reply],
        )

    def held(self, queue: str, skip: int = 0, n: int = 100) -> Call[Payloads]:
        """One page of what this owner holds from a queue, oldest first."""
        return self._held(
            running=self.list(queue),
            skip=skip,
            n=n,
            bytes=FETCH_BYTES,
            newest=0,
            read=lambda reply: reply[1],
        )

    def blocking_move(self, queue: str, timeout_s: float) -> bytes:
        """The one move that is not a script, packed: wait for a job of one queue for so many seconds."""
        return pack("BLMOVE", self._keys.queue(queue), self.list(queue), "RIGHT", "LEFT", f"{timeout_s:g}")

    def _pairs(self, queues: Iterable[str]) -> Sequence[str]:
        return [key for queue in queues for key in (self._keys.queue(queue), self.list(queue))]

    def _counters(self, day: str) -> dict[str, str]:
        keys = self._keys
        return {
            "processed": keys.processed,
            "processed_day": keys.processed_on(day),
            "failed": keys.failed,
            "failed_day": keys.failed_on(day),
        }


def _jobs(queues: Sequence[str], reply: list[Any]) -> list[tuple[str, bytes]]:
    return [(queues[reply[i] - 1], reply[i + 1]) for i in range(0, len(reply), 2)]


def _names(queues: Sequence[str], numbers: list[int]) -> frozenset[str]:
    return frozenset(queues[number - 1] for number in numbers)


def _text(reply: bytes) -> str:
    return reply.decode("utf-8", "backslashreplace") if reply else ""
