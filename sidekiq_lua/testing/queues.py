"""The jobs that were pushed in fake mode, in the order in which they came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..job import JobBase
from ..payload import Payload

if TYPE_CHECKING:
    from ..app import App

JobClass = type[JobBase[...]]


@dataclass(frozen=True, eq=False)
class Kept:
    """One job: its payload, the instance that pushed it, and the pool it would have gone to."""

    app: App
    payload: Payload
    pool: str | None
    pushed_class: JobClass | None
    """The class it was pushed with, None for a name."""

    def known(self) -> JobClass | None:
        """The class that runs it, None if none is registered."""
        return self.pushed_class or self.app.registry.find(self.payload["class"])

    def job_class(self) -> JobClass:
        """The class that runs it. Raises UnknownJobClass."""
        return self.pushed_class or self.app.registry.get(self.payload["class"])


class Box:
    """All jobs that are kept, of all instances. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Kept, None] = {}

    def add(self, jobs: list[Kept]) -> None:
        with self._lock:
            self._kept.update(dict.fromkeys(jobs))

    def find(self, wanted: Callable[[Kept], bool]) -> list[Kept]:
        with self._lock:
            kept = list(self._kept)
        return [job for job in kept if wanted(job)]

    def take(self, wanted: Callable[[Kept], bool]) -> Kept | None:
        """Take out the oldest that is wanted. Raises UnknownJobClass, and keeps it, if nothing can run it."""
        while True:
            job = next(iter(self.find(wanted)), None)
            if job is not None:
                job.job_class()
            if job is None or self._remove(job):
                return job

    def remove(self, wanted: Callable[[Kept], bool]) -> int:
        """Answers how many were removed."""
        return sum(self._remove(job) for job in self.find(wanted))

    def _remove(self, job: Kept) -> bool:
        with self._lock:
            return self._kept.pop(job, self) is None


def of_class(job_class: JobClass) -> Callable[[Kept], bool]:
    """A class's jobs; those of an abstract one's subclasses; for the `Job` of an instance, all of it."""
    if not job_class.is_abstract():
        return lambda job: job.known() is job_class
    if JobBase not in job_class.__bases__:
        return lambda job: issubclass(job.known() or object, job_class)
    return lambda job: getattr(job.pushed_class, "_app", job.app) is job_class._app


class JobQueues:
    """The queues of fake mode: `Queues["low"]` is the list of payloads in one, oldest first.

    `Queues` has the jobs of all instances, `Queues.of(app)` those that one instance's clients pushed.
    Iterating gives the names of queues that hold jobs, `len` counts jobs. Scheduled jobs are among the
    others and have `at` (epoch seconds). Lists are snapshots.
    """

    def __init__(self, box: Box, app: App | None = None) -> None:
        self.box = box
        self._app = app

    def of(self, app: App) -> JobQueues:
        """The queues of one instance."""
        return JobQueues(self.box, app)

    def kept(self) -> list[Kept]:
        """The jobs with what is known of them beside their payloads."""
        return self.box.find(self._mine)

    def jobs(self) -> list[Payload]:
        """All jobs, oldest first."""
        return [job.payload for job in self.kept()]

    def jobs_by_queue(self) -> dict[str, list[Payload]]:
        """The jobs of each queue that holds some."""
        return self._by("queue")

    def jobs_by_class(self) -> dict[str, list[Payload]]:
        """The jobs of each class name that has some."""
        return self._by("class")

    def clear(self, queue: str) -> int:
        """Forget the jobs of one queue; answers how many there were."""
        return self._remove(queue=queue)

    def clear_for(self, queue: str, job_class: JobClass | str) -> int:
        """Forget the jobs of one class in one queue; answers how many there were."""
        return self._remove(**{"queue": queue, "class": _name(job_class)})

    def delete_for(self, jid: str, queue: str, job_class: JobClass | str) -> int:
        """Forget one job; answers 1, or 0 if it is not there."""
        return self._remove(**{"jid": jid, "queue": queue, "class": _name(job_class)})

    def clear_all(self) -> int:
        """Forget all jobs; answers how many there were."""
        return self.box.remove(self._mine)

    def __getitem__(self, queue: str) -> list[Payload]:
        return self.jobs_by_queue().get(queue, [])

    def __iter__(self) -> Iterator[str]:
        return iter(self.jobs_by_queue())

    def __len__(self) -> int:
        return len(self.kept())

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {len(jobs)}" for name, jobs in self.jobs_by_queue().items())
        return f"<Queues {sizes or 'empty'}>"

    def _mine(self, job: Kept) -> bool:
        return self._app is None or job.app is self._app

    def _by(self, field: str) -> dict[str, list[Payload]]:
        found: dict[str, list[Payload]] = {}
        for payload in self.jobs():
            found.setdefault(payload[field], []).append(payload)
        return found

    def _remove(self, **fields: str) -> int:
        return self.box.remove(
            lambda job: self._mine(job) and all(job.payload[name] == value for name, value in fields.items())
        )


def _name(job_class: JobClass | str) -> str:
    return job_class if isinstance(job_class, str) else job_class.sidekiq_name()


Queues = JobQueues(Box())
