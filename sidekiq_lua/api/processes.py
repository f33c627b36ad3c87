"""The worker processes, and what they can be told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import SidekiqError
from ..store.processes import ProcessInfo
from ..store.queues import PAGE
from .pages import members, process_infos

if TYPE_CHECKING:
    from ..app import App


class Process:
    """A worker process, as its last heartbeat described it.

    `process["rss"]` and the like give any field: hostname, started_at (epoch seconds), pid, tag, concurrency,
    busy, beat (epoch seconds), quiet, rss (KB), rtt_us (microseconds), and whatever else it says of itself.
    Its actions raise RedisError; a process takes one signal each beat. Keys: IDENTITY-signals, `dear-leader`.
    """

    def __init__(self, app: App, info: ProcessInfo) -> None:
        self._app = app
        self.identity = info.identity
        """HOST:PID:NONCE."""
        self._fields: dict[str, Any] = {
            **_object(info.info),
            "busy": info.busy,
            "beat": info.beat,
            "quiet": info.quiet,
            "rss": info.rss,
            "rtt_us": info.rtt_us,
        }
        if info.concurrency is not None:
            self._fields["concurrency"] = info.concurrency

    def __repr__(self) -> str:
        return f"<Process {self.identity}>"

    def __getitem__(self, name: str) -> Any:
        """Any field; None if it has none of that name."""
        return self._fields.get(name)

    @property
    def id(self) -> str:
        return self.identity

    @property
    def tag(self) -> str:
        return self["tag"] or ""

    @property
    def labels(self) -> list[str]:
        return self["labels"] or []

    @property
    def capsules(self) -> dict[str, Any] | None:
        """Capsules by name: concurrency, mode, weights. None: it is older than Sidekiq 8.0.8."""
        found = self["capsules"]
        return found if isinstance(found, dict) else None

    @property
    def queues(self) -> list[str]:
        """The queues it takes from, of all capsules."""
        if self.capsules is None:
            return self["queues"] or []
        return list(dict.fromkeys(name for table in self._tables() for name in table))

    @property
    def weights(self) -> dict[str, int]:
        """The weight of each queue; of one that two capsules serve, that of the last."""
        return {name: weight for table in self._tables() for name, weight in table.items()}

    def _tables(self) -> list[dict[str, int]]:
        """The weights by queue, one table for each capsule."""
        if self.capsules is not None:
            found = [
                capsule.get("weights") for capsule in self.capsules.values() if isinstance(capsule, dict)
            ]
        else:
            found = self["weights"] if isinstance(self["weights"], list) else [self["weights"]]
        return [table for table in found if isinstance(table, dict)]

    @property
    def version(self) -> str | None:
        """The Sidekiq version whose data it writes."""
        found = self["version"]
        return found if isinstance(found, str) else None

    @property
    def is_embedded(self) -> bool:
        """Whether it is part of a process that is more than a worker."""
        return bool(self["embedded"])

    @property
    def is_stopping(self) -> bool:
        """Whether it takes no more jobs."""
        return bool(self["quiet"])

    @property
    def is_leader(self) -> bool:
        """Whether it is Sidekiq Enterprise's leader."""
        return self._app.transport().run(self._app.store.processes.leader()) == self.identity

    def quiet(self) -> None:
        """Tell it to take no more jobs. Raises SidekiqError for an embedded one."""
        self._not_embedded("quieted")
        self._signal("TSTP")

    def stop(self) -> None:
        """Tell it to end; its jobs have the setting `timeout` to finish. Raises SidekiqError if embedded."""
        self._not_embedded("stopped")
        self._signal("TERM")

    def dump_threads(self) -> None:
        """Tell it to log what its threads do."""
        self._signal("TTIN")

    def _not_embedded(self, what: str) -> None:
        if self.is_embedded:
            raise SidekiqError(
                f"{self.identity} is embedded in another program and cannot be {what} from afar"
            )

    def _signal(self, signal: str) -> None:
        self._app.transport().run(self._app.store.processes.signal(self.identity, signal))


class ProcessSet:
    """The worker processes that beat, by identity; `ProcessSet()[identity]` is one of them.

    Made with `clean=True`, it forgets those without a heartbeat first, at most once a minute. Everything
    raises RedisError. Keys: `processes`, IDENTITY, `process_cleanup`, `dear-leader`.
    """

    def __init__(self, app: App, clean: bool = True) -> None:
        self._app = app
        if clean:
            self.cleanup()

    def __iter__(self) -> Iterator[Process]:
        return (Process(self._app, info) for info in process_infos(self._app))

    def __getitem__(self, identity: str) -> Process:
        """Raises KeyError for a process that is not listed or has no heartbeat."""
        found = self.get(identity)
        if found is None:
            raise KeyError(identity)
        return found

    def get(self, identity: str) -> Process | None:
        """A process, or None."""
        processes = self._app.store.processes
        if not self._app.transport().run(processes.listed(identity)):
            return None
        infos = self._app.transport().run(processes.info([identity]))
        return Process(self._app, infos[0]) if infos else None

    def __len__(self) -> int:
        """How many are listed, also such as have just died."""
        return self._app.transport().run(self._app.store.counters.totals()).processes

    @property
    def size(self) -> int:
        """How many are listed, also such as have just died."""
        return len(self)

    def __bool__(self) -> bool:
        return True

    @property
    def total_concurrency(self) -> int:
        """How many jobs can run at a time."""
        return sum(process["concurrency"] or 0 for process in self)

    @property
    def total_rss_in_kb(self) -> int:
        """The memory of all processes in KB."""
        return sum(process["rss"] for process in self)

    total_rss = total_rss_in_kb

    @cached_property
    def leader(self) -> str:
        """The identity of Sidekiq Enterprise's leader, or ""."""
        return self._app.transport().run(self._app.store.processes.leader())

    def cleanup(self) -> int:
        """Forget listed processes that have no heartbeat; answers how many. At most once a minute."""
        processes, forgotten = self._app.store.processes, 0
        names = sorted(members(self._app, processes.identities))
        alive = {info.identity for info in process_infos(self._app)}
        gone = [name for name in names if name not in alive]
        if gone:
            forgotten = max(self._app.transport().run(processes.prune(gone[:PAGE])), 0)
        return forgotten


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
