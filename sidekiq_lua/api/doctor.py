"""Checks on live data, each with a verdict and a remedy. Nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UnparsablePayload
from ..payload import is_number, seconds
from ..store.examination import Examination
from ..store.preflight import unfit
from ..store.processes import ProcessInfo
from ..store.queues import QueueSize
from .pages import process_infos, queue_sizes

if TYPE_CHECKING:
    from ..app import App

LEVELS = ("ok", "notice", "warning", "critical")
LIMIT = 10_000
_LAG_S = 30.0
_SKEW_S = 1.0
_GROWS_S = 3600.0
_SHOWN = 5


class Finding(NamedTuple):
    """What a check found. `level` is one of LEVELS; `remedy` is empty where nothing is wrong."""

    check: str
    level: str
    verdict: str
    remedy: str = ""


class Doctor:
    """Examines one instance's Redis.

    `limit`: the most jobs read of a list or set; where there are more, the newest and the oldest are. Every
    read is a page of 500 at most. Data in motion is looked at twice before it counts as a fault.
    """

    def __init__(self, app: App, limit: int = LIMIT) -> None:
        self._app = app
        self._look = Examination(app.transport(), app.store.keys, limit)
        self._info: dict[str, str] = {}
        self._processes: list[ProcessInfo] = []
        self._queues: list[QueueSize] = []
        self._keys: list[str] = []

    def examine(self) -> list[Finding]:
        """The findings in the order of `CHECKS`, at least one for each. Raises RedisError."""
        self._info = self._look.info()
        self._keys = sorted(set(self._look.all_keys()))
        self._processes = process_infos(self._app)
        self._queues = queue_sizes(self._app)
        found = []
        for name, check in CHECKS.items():
            wrong = [Finding(name, *each) for each in check(self)]
            found += wrong or [Finding(name, "ok", "nothing found")]
        return found

    # -- the jobs -----------------------------------------------------------------------

    def _places(self) -> Iterator[tuple[str, list[bytes]]]:
        keys = self._app.store.keys
        for key in self._keys:
            bare = key.removeprefix(keys.prefix)
            if bare.startswith(("queue:", "lua:running:", "lua:held:")) and self._look.kind(key) == "list":
                yield key, self._look.listed(key)
        for key in (keys.schedule, keys.retry):
            if self._look.kind(key) == "zset":
                yield key, self._look.sorted(key)

    def twice(self) -> Iterator[tuple[str, str, str]]:
        """A job in two places: one jid, met in two, and still there at a second look."""
        seen: dict[str, tuple[str, bytes]] = {}
        for place, raws in self._places():
            for raw in raws:
                try:
                    jid = self._app.codec.load(raw).get("jid")
                except UnparsablePayload:
                    continue
                if not isinstance(jid, str):
                    continue
                other = seen.setdefault(jid, (place, raw))
                if other[0] == place or not self._look.holds(place, raw) or not self._look.holds(*other):
                    continue
                yield (
                    "critical",
                    f"job {jid} is in {other[0]} and in {place}",
                    "delete one of the two; it was pushed twice, or moved by other means than the scripts",
                )

    def unparsable(self) -> Iterator[tuple[str, str, str]]:
        """A payload that no worker can read."""
        for place, raws in self._places():
            bad = [raw for raw in raws if not self._parses(raw)]
            if bad:
                yield (
                    "warning",
                    f"{len(bad)} of {len(raws)} texts in {place} are no jobs, such as {bad[0][:80]!r}",
                    "find their writer; a worker puts them in the dead set as they are",
                )

    def _parses(self, raw: bytes) -> bool:
        try:
            self._app.codec.load(raw)
        except UnparsablePayload:
            return False
        return True

    def ownerless(self) -> Iterator[tuple[str, str, str]]:
        """A running list that recovery does not know of."""
        keys = self._app.store.keys
        known: set[str] = set()
        for field, text in self._look.owners().items():
            try:
                queues = json.loads(text)["queues"]
            except (ValueError, KeyError, TypeError):
                yield "critical", f"lua:owners has {text[:80]!r} for {field}", f"HDEL {keys.owners} {field}"
                continue
            owner = field.removesuffix(":reaped")
            identity, _, epoch = owner.rpartition(":")
            known.update(keys.running(identity, epoch, queue) for queue in queues)
        for key in self._keys:
            if key.startswith(keys.running("", "", "").rstrip(":")) and key not in known:
                size = self._look.size(key) if self._look.kind(key) == "list" else 0
                if size:
                    yield (
                        "critical",
                        f"{key} holds {size} jobs, and no process owns it: nobody brings them back",
                        f"when its process is dead: LMOVE {key} queue:NAME RIGHT RIGHT, once for each job",
                    )

    def left_behind(self) -> Iterator[tuple[str, str, str]]:
        """Jobs that ran when their process died, with no worker to return them: no list of jobs has them."""
        keys = self._app.store.keys
        alive = {process.identity for process in self._processes}
        held: dict[str, int] = {}
        for field, text in self._look.owners().items():
            identity, _, epoch = field.removesuffix(":reaped").rpartition(":")
            if identity in alive:
                return  # every worker of ours brings back what others left
            try:
                lists = {keys.running(identity, epoch, queue) for queue in json.loads(text)["queues"]}
            except (ValueError, KeyError, TypeError):
                continue
            found = [key for key in lists.intersection(self._keys) if self._look.kind(key) == "list"]
            held[identity] = held.get(identity, 0) + sum(map(self._look.size, found))
        for identity, size in held.items():
            if size:
                yield (
                    "warning",
                    f"{identity} died with {size} jobs, and no worker runs to return them",
                    "start a worker, for whichever queues: it puts them back in theirs",
                )

    # -- the server ---------------------------------------------------------------------

    def strangers(self) -> Iterator[tuple[str, str, str]]:
        """Keys that are neither Sidekiq's nor ours."""
        strange = [key for key in self._keys if not self._look.is_known(key)]
        if strange:
            more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
            yield (
                "notice",
                f"{len(strange)} keys belong to something else: {', '.join(strange[:_SHOWN])}{more}",
                "give jobs a Redis of their own: what fills or flushes this one takes them along",
            )

    def server(self) -> Iterator[tuple[str, str, str]]:
        """A server that cannot hold jobs."""
        wrong, remedy = unfit(self._info)
        if wrong:
            yield "critical", f"this is {wrong}", remedy

    def eviction(self) -> Iterator[tuple[str, str, str]]:
        """A policy that drops keys."""
        policy = self._look.config("maxmemory-policy") or self._info.get("maxmemory_policy", "")
        if policy and policy != "noeviction":
            yield (
                "critical",
                f"maxmemory-policy is {policy}: Redis may drop jobs when it is full",
                "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
            )

    def evicted(self) -> Iterator[tuple[str, str, str]]:
        """Keys that were dropped."""
        count = int(self._info.get("evicted_keys", 0))
        if count:
            yield "critical", f"{count} keys were evicted since the server started", "raise maxmemory"

    def persistence(self) -> Iterator[tuple[str, str, str]]:
        """What a restart of the server would lose."""
        for field, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "append-only")):
            if self._info.get(field, "ok") != "ok":
                yield (
                    "critical",
                    f"the last {what} write failed",
                    "look at the disk and at the server's log",
                )
        if self._info.get("aof_enabled") == "0":
            saves = self._look.config("save")
            what = "snapshots only: a crash loses what came after the last one" if saves else "nothing"
            yield (
                "warning",
                f"the server keeps {what}",
                "CONFIG SET appendonly yes, and the same in redis.conf",
            )

    def memory(self) -> Iterator[tuple[str, str, str]]:
        """How soon Redis will be full."""
        used = int(self._info.get("used_memory", 0))
        limit = int(self._info.get("maxmemory", 0)) or int(self._info.get("total_system_memory", 0))
        if limit and used / limit > 0.8:
            level = "critical" if used / limit > 0.95 else "warning"
            yield level, f"{used / limit:.0%} of the memory is used", "raise maxmemory, or drain the queues"

    def skew(self) -> Iterator[tuple[str, str, str]]:
        """This machine's clock beside the server's."""
        skew = self._app.clock.now() - self._look.time()
        if abs(skew) > _SKEW_S:
            yield (
                "warning",
                f"this machine's clock is {skew:+.1f} s from the server's",
                "run NTP on both: scheduled jobs come early or late",
            )

    def versions(self) -> Iterator[tuple[str, str, str]]:
        """Several versions of one script, all in use since the server started."""
        texts = {sha: text for sha, text in self._look.scripts().items() if sha != "schema"}
        loaded = self._look.loaded(list(texts))
        releases = sorted({texts[sha].rpartition(" ")[2] for sha in loaded})
        if len(releases) > 1:
            yield (
                "notice",
                f"scripts of several versions were used: {', '.join(releases)}",
                "expected during a deploy; else find the processes that were not restarted",
            )

    # -- who works ----------------------------------------------------------------------

    def paused(self) -> Iterator[tuple[str, str, str]]:
        """A paused queue into which jobs are still put."""
        now = self._app.clock.now()
        for queue in self._queues:
            if not queue.paused or not queue.size:
                continue
            newest = self._look.listed(self._app.store.keys.queue(queue.name))[0]
            try:
                at = self._app.codec.load(newest).get("enqueued_at")
            except UnparsablePayload:
                continue
            if at is not None and is_number(at) and now - seconds(at) < _GROWS_S:
                yield (
                    "warning",
                    f"queue {queue.name} is paused, holds {queue.size} jobs and grows",
                    "unpause it, or stop those who push to it",
                )

    def unserved(self) -> Iterator[tuple[str, str, str]]:
        """A queue with jobs that no live process takes from."""
        served: set[str] = set()
        for process in self._processes:
            try:
                served.update(map(str, json.loads(process.info).get("queues") or []))
            except (ValueError, AttributeError):
                continue
        for queue in self._queues:
            if queue.size and queue.name not in served:
                who = "no process runs" if not self._processes else "no process serves it"
                yield (
                    "warning",
                    f"queue {queue.name} holds {queue.size} jobs, and {who}",
                    f"start a worker with -q {queue.name}",
                )

    def lagging(self) -> Iterator[tuple[str, str, str]]:
        """A process whose heartbeat is late, though it has not expired."""
        now = self._look.time()
        for process in self._processes:
            if now - process.beat > _LAG_S:
                yield (
                    "warning",
                    f"{process.identity} last beat {now - process.beat:.0f} s ago",
                    "it is stopped, starved or cut off; if it stays so, its jobs are recovered",
                )


Check = Callable[[Doctor], Iterator[tuple[str, str, str]]]
CHECKS: dict[str, Check] = {
    "a job in two places": Doctor.twice,
    "running lists without an owner": Doctor.ownerless,
    "jobs that nobody brings back": Doctor.left_behind,
    "payloads that do not parse": Doctor.unparsable,
    "keys of others": Doctor.strangers,
    "kind of server": Doctor.server,
    "eviction policy": Doctor.eviction,
    "evicted keys": Doctor.evicted,
    "persistence": Doctor.persistence,
    "memory": Doctor.memory,
    "clock skew": Doctor.skew,
    "script versions": Doctor.versions,
    "paused queues that grow": Doctor.paused,
    "queues that nobody serves": Doctor.unserved,
    "heartbeats that lag": Doctor.lagging,
}
