"""Calls on what processes say of themselves. Keys: `processes`, IDENTITY, IDENTITY:work, IDENTITY-signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .calls import Call
from .keys import Keys
from .owners import Owner
from .queues import PAGE, read_page, text
from .scripts import library


class Beat(NamedTuple):
    """The answer to a heartbeat. `held` has the length of each running list by owner and queue; `classes`
    says whether any job class is paused, or was resumed and has held jobs to be released.
    """

    known: bool
    registered: bool
    signal: str
    processes: int
    held: dict[tuple[Owner, str], int]
    classes: bool


@dataclass(frozen=True)
class ProcessInfo:
    """A process's heartbeat: `info` is JSON, `beat` epoch seconds, `rss` KB, `rtt_us` microseconds."""

    identity: str
    info: bytes
    concurrency: int | None
    busy: int
    beat: float
    quiet: bool
    rss: int
    rtt_us: int


class Processes:
    """Heartbeats, signals and clean-up."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        scripts = library()
        self._beat = scripts["beat"].call
        self._leave = scripts["leave"].call
        self._prune = scripts["prune"].call
        self._signal = scripts["signal"].call
        self._members = scripts["members"].call
        self._info = scripts["process_info"].call
        self._is_member = scripts["is_member"].call
        self._strings = scripts["read_strings"].call
        self._hashes = scripts["read_hashes"].call

    def beat(
        self,
        identity: str,
        owners: Sequence[Owner],
        ttl_s: int,
        fields: Mapping[str, str | int],
        work: Mapping[str, str],
    ) -> Call[Beat]:
        """Renew the heartbeat for `ttl_s` seconds and take one signal."""
        keys = self._keys
        lists = [(owner, queue) for owner in owners for queue in owner.queues]
        rest: list[str | int] = [owner.field for owner in owners]
        rest += [part for field in fields.items() for part in field]
        rest += [part for job in work.items() for part in job]

        def read(reply: list[Any]) -> Beat:
            known, registered, signal, processes, held, classes = reply
            counts = dict(zip(lists, held or [0] * len(lists), strict=True))
            registered = registered == len(owners)
            return Beat(known == 1, registered, signal.decode(), processes, counts, classes > 0)

        return self._beat(
            processes=keys.processes,
            process=keys.process(identity),
            work=keys.work(identity),
            signals=keys.signals(identity),
            owners=keys.owners,
            paused=keys.paused_classes,
            resumed=keys.resumed_classes,
            running=[keys.running(owner.identity, owner.epoch, queue) for owner, queue in lists],
            identity=identity,
            ttl=ttl_s,
            m=len(owners),
            n=2 * len(fields),
            rest=rest,
            read=read,
        )

    def leave(self, owner: Owner) -> Call[int]:
        """Take a process off the list; answers how many running lists still hold jobs."""
        keys = self._keys
        return self._leave(
            processes=keys.processes,
            work=keys.work(owner.identity),
            owners=keys.owners,
            running=[keys.running(owner.identity, owner.epoch, queue) for queue in owner.queues],
            identity=owner.identity,
            owner=owner.field,
        )

    def identities(self, cursor: str = "0") -> Call[tuple[str, list[str]]]:
        """One page of listed processes: the next cursor, "0" at the end, and the identities."""
        return self._members(set=self._keys.processes, cursor=cursor, size=PAGE, read=read_page)

    def listed(self, identity: str) -> Call[bool]:
        """Whether a process is listed."""
        return self._is_member(set=self._keys.processes, member=identity, read=lambda reply: reply == 1)

    def leader(self) -> Call[str]:
        """The identity of Sidekiq Enterprise's leader, or ""."""
        return self._strings(strings=[self._keys.leader], read=lambda reply: text(reply[0]))

    def work(self, identity: str) -> Call[dict[str, bytes]]:
        """What a process runs, as its last beat said: JSON by thread id."""
        return self._hashes(
            hashes=[self._keys.work(identity)],
            fields=1,
            read=lambda reply: dict(zip(map(text, reply[0][::2]), reply[0][1::2], strict=True)),
        )

    def prune(self, identities: Sequence[str]) -> Call[int]:
        """Forget those of at most 100 listed processes that have no heartbeat; -1: done a minute ago."""
        return self._prune(
            processes=self._keys.processes,
            lock=self._keys.process_cleanup,
            hashes=[self._keys.process(identity) for identity in identities],
            identities=identities,
        )

    def signal(self, identity: str, signal: str) -> Call[int]:
        """Send TSTP, TERM or TTIN to a process, which takes one each beat."""
        return self._signal(signals=self._keys.signals(identity), signal=signal)

    def info(self, identities: Sequence[str]) -> Call[list[ProcessInfo]]:
        """The heartbeats of at most 100 processes; those without one are left out."""

        def read(reply: list[Any]) -> list[ProcessInfo]:
            return [
                ProcessInfo(
                    identity,
                    info,
                    int(concurrency) if concurrency else None,
                    int(busy or 0),
                    float(beat or 0),
                    quiet == b"true",
                    int(rss or 0),
                    int(rtt_us or 0),
                )
                for identity, (info, concurrency, busy, beat, quiet, rss, rtt_us) in zip(
                    identities, reply, strict=True
                )
                if info
            ]

        return self._info(processes=[self._keys.process(i) for i in identities], read=read)
