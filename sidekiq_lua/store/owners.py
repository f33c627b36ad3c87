"""Calls on who may hold running lists, and on what a dead one held. Keys: `lua:owners`, `lua:running:*`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .calls import Call
from .keys import Keys
from .queues import PAGE
from .running import FETCH_BYTES, Burial
from .scripts import library


@dataclass(frozen=True)
class Owner:
    """A capsule of a process in one epoch of its life, and the queues whose running lists it may have."""

    identity: str
    epoch: str
    queues: tuple[str, ...]
    concurrency: int

    @property
    def field(self) -> str:
        return f"{self.identity}:{self.epoch}"

    @property
    def reaped(self) -> str:
        """The field of a dead owner whose jobs were recovered: it may not fetch, and its lists stay known."""
        return f"{self.field}:reaped"

    def text(self) -> str:
        return json.dumps(vars(self))


class Orphan(NamedTuple):
    """A job of a dead owner. `crash_key` names its counter; `burial` is its payload as a poison pill."""

    raw: bytes
    crash_key: str
    blamed: bool
    burial: bytes


class Owners:
    """Registration and recovery."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        scripts = library()
        self._register = scripts["register"].call
        self._page = scripts["owners"].call
        self._alive = scripts["alive"].call
        self._held = scripts["held"].call
        self._recover = scripts["recover"].call
        self._forget = scripts["forget"].call
        self._fallen = scripts["fallen"].call

    def register(self, owner: Owner) -> Call[int]:
        return self._register(owners=self._keys.owners, owner=owner.field, entry=owner.text())

    def page(self, cursor: str = "0") -> Call[tuple[str, list[Owner]]]:
        """One page of owners: the next cursor, "0" at the end, and the owners."""
        return self._page(owners=self._keys.owners, cursor=cursor, size=PAGE, read=_read_owners)

    def alive(self, identities: Sequence[str]) -> Call[list[bool]]:
        """Which of at most 100 processes have a heartbeat."""
        hashes = [self._keys.process(identity) for identity in identities]
        return self._alive(processes=hashes, read=lambda reply: [n == 1 for n in reply])

    def held(self, owner: Owner, queue: str, n: int = PAGE) -> Call[tuple[int, list[bytes]]]:
        """How many jobs an owner holds from a queue, and the newest of them, in the order of their age."""
        return self._held(
            running=self._keys.running(owner.identity, owner.epoch, queue),
            skip=0,
            n=n,
            bytes=FETCH_BYTES,
            newest=1,
            read=lambda reply: (reply[0], reply[1][::-1]),
        )

    def recover(
        self, owner: Owner, queue: str, orphans: Sequence[Orphan], limit: int, window_s: int, burial: Burial,
        ward: str = "",
    ) -> Call[list[int] | None]:  # fmt: skip
        """Return at most 100 jobs; None if the owner is alive.

        For each 0 gone, 1 requeued, 2 buried, 3 put in the queue `ward`, where that is given.
        """
        keys = self._keys
        return self._recover(
            process=keys.process(owner.identity),
            owners=keys.owners,
            running=keys.running(owner.identity, owner.epoch, queue),
            queue=keys.queue(queue),
            queues=keys.queues,
            dead=keys.dead,
            ward=keys.queue(ward or queue),
            crashes=[keys.crashes(orphan.crash_key) for orphan in orphans],
            owner=owner.field,
            reaped=owner.reaped,
            name=queue,
            limit=limit,
            window=window_s,
            now=repr(burial.now),
            cutoff=repr(burial.cutoff),
            keep=burial.limit,
            ward_name=ward,
            jobs=[part for o in orphans for part in (o.raw, int(o.blamed), o.burial)],
            read=lambda reply: reply[1:] if reply[0] == b"OK" else None,
        )

    def fallen(self, identity: str) -> Call[set[str] | None]:
        """Crash keys of the jobs that a process was running when it was seen to die; None: nobody saw it."""

        def read(reply: list[bytes]) -> set[str] | None:
            return {member.decode() for member in reply} - {""} if reply else None

        return self._fallen(fallen=self._keys.fallen(identity), read=read)

    def standin_scripts(self, identity: str) -> dict[str, dict[str, Any]]:
        """Texts, hashes and keys of the scripts that a process's stand-in runs, which loads none itself."""
        keys = self._keys
        own = [keys.process(identity), keys.work(identity)]
        named = {"keep_alive": own, "fall": [*own, keys.fallen(identity)]}
        return {
            name: {"text": library()[name].text, "sha": library()[name].sha, "keys": names}
            for name, names in named.items()
        }

    def forget(self, owner: Owner) -> Call[bool]:
        """Forget a dead owner whose lists are empty."""
        running = [self._keys.running(owner.identity, owner.epoch, queue) for queue in owner.queues]
        return self._forget(
            owners=self._keys.owners,
            process=self._keys.process(owner.identity),
            running=running,
            owner=owner.field,
            reaped=owner.reaped,
            read=lambda reply: reply == 1,
        )


def _read_owners(reply: list[Any]) -> tuple[str, list[Owner]]:
    cursor, flat = reply
    owners = []
    for entry in flat[1::2]:
        fields = json.loads(entry)
        owners.append(Owner(**{**fields, "queues": tuple(fields["queues"])}))
    return cursor.decode(), owners
