"""What runs now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import RedisError
from ..payload import is_number
from ..store.queues import PAGE
from .pages import members, process_infos
from .record import JobRecord, moment

if TYPE_CHECKING:
    from ..app import App


class Work:
    """A job that runs, as the last heartbeat of its process says."""

    def __init__(self, app: App, process_id: str, thread_id: str, fields: dict[str, Any]) -> None:
        self._app = app
        self.process_id = process_id
        self.thread_id = thread_id
        self.queue: str = fields.get("queue", "")
        payload = fields.get("payload", "")
        self.payload: str = payload if isinstance(payload, str) else json.dumps(payload)
        """The job's JSON; of one over 1 MB, a short form."""
        run_at = fields.get("run_at")
        self.began = float(run_at) if run_at is not None and is_number(run_at) else 0.0
        """Epoch seconds, to the second."""

    def __repr__(self) -> str:
        return f"<Work {self.process_id} {self.thread_id} {self.job.klass} {self.job.jid}>"

    @property
    def run_at(self) -> datetime | None:
        """When it began, UTC, to the second."""
        return moment(self.began)

    @cached_property
    def job(self) -> JobRecord:
        """The job."""
        return JobRecord(self._app, self.payload.encode("utf-8", "surrogatepass"), self.queue or None)


class Running(NamedTuple):
    """One line of a WorkSet."""

    process_id: str
    thread_id: str
    work: Work


class WorkSet:
    """The jobs that run, those that began first in front: `for process_id, thread_id, work in WorkSet()`.

    It is as old as the last heartbeats, 10 s at most with the default settings. Everything raises
    RedisError. Keys: `processes`, IDENTITY, IDENTITY:work.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    def __iter__(self) -> Iterator[Running]:
        return iter(sorted(self._read(), key=lambda line: line.work.began))

    def _read(self) -> Iterator[Running]:
        store = self._app.store.processes
        names = sorted(members(self._app, store.identities))
        for first in range(0, len(names), PAGE):
            part = names[first : first + PAGE]
            replies = self._app.transport().run_many([store.work(name) for name in part])
            for name, reply in zip(part, replies, strict=True):
                if isinstance(reply, RedisError):
                    raise reply
                for thread_id, text in reply.items():
                    if (fields := _fields(text)) is not None:
                        yield Running(name, thread_id, Work(self._app, name, thread_id, fields))

    def __len__(self) -> int:
        """How many jobs the processes say they run; it may differ from what iterating gives."""
        return sum(process.busy for process in process_infos(self._app))

    @property
    def size(self) -> int:
        """How many jobs the processes say they run."""
        return len(self)

    def __bool__(self) -> bool:
        return True

    def find_work(self, jid: str) -> Work | None:
        """What runs the job of this jid, or None."""
        return next((work for _, _, work in self if work.job.jid == jid), None)

    find_work_by_jid = find_work


def _fields(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
