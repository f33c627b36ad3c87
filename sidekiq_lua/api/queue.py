"""One queue, and the jobs that wait in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from ..job import JobBase
from ..store.queues import QueueSize
from .filters import Filter, in_any_json
from .pages import queue_sizes
from .record import JobRecord, latency
from .walk import waiting

if TYPE_CHECKING:
    from ..app import App


class QueuedJob(JobRecord):
    """A job that waits in a queue.

    Each action is one script and finds the job by its exact bytes; it answers False, and does nothing, if
    a worker took it since. Of several jobs of the same bytes the newest is meant. In a queue of a million
    jobs an action takes Redis some 20 to 60 ms. All raise RedisError.
    """

    def __init__(self, app: App, value: bytes, queue: str) -> None:
        super().__init__(app, value, queue)
        self._name = queue

    def delete(self) -> bool:
        """Delete it. Keys: `queue:NAME`."""
        return self._app.transport().run(self._app.store.queues.delete(self._name, self.value))

    def edit_args(self, *args: Any) -> bool:
        """Give it other arguments; it keeps its place. Keys: `queue:NAME`.

        Raises InvalidJob for arguments that a push would refuse.
        """
        value = self._edited(args)
        moved = value == self.value or self._app.transport().run(
            self._app.store.queues.replace(self._name, self.value, value)
        )
        if moved:
            self._became(value)
        return moved

    def move_to(self, queue: str) -> bool:
        """Move it to another queue, as the newest there. Keys: both `queue:NAME`, `queues`.

        Raises InvalidJob for a name that is none.
        """
        value = self._requeued(queue)
        if queue == self._name:
            return True
        moved = self._app.transport().run(self._app.store.queues.move(self._name, self.value, queue, value))
        if moved:
            self._name = self._queue = queue
            self._became(value)
        return moved


class Queue:
    """A queue. Iterating gives its jobs, the newest first.

    A job that nobody touches comes at least once, unless more than 100 jobs came back to the queue (at a
    worker's stop or death) between the reading of two pages; at most a page (1000 jobs or 1 MB) is in
    memory. Everything raises RedisError. Keys: `queue:NAME`, `queues`, `paused`.
    """

    def __init__(self, app: App, name: str = "default") -> None:
        self._app = app
        self.name = name

    @classmethod
    def _all(cls, app: App) -> list[Self]:
        return [cls(app, queue.name) for queue in queue_sizes(app)]

    def __repr__(self) -> str:
        return f"<Queue {self.name}>"

    @property
    def id(self) -> str:
        return self.name

    def __len__(self) -> int:
        """How many jobs wait in it now."""
        return self._look().size

    @property
    def size(self) -> int:
        """How many jobs wait in it now."""
        return len(self)

    def __bool__(self) -> bool:
        return True

    @property
    def paused(self) -> bool:
        """Whether no job is fetched from it."""
        return self._look().paused

    @property
    def latency(self) -> float:
        """Seconds that its oldest job has waited; 0.0 if it is empty."""
        return latency(self._app, self._app.codec.look(self._look().oldest))

    def _look(self) -> QueueSize:
        return self._app.transport().run(self._app.store.queues.sizes([self.name]))[0]

    def __iter__(self) -> Iterator[QueuedJob]:
        return (QueuedJob(self._app, raw, self.name) for raw in waiting(self._app, self.name))

    def select(
        self,
        *,
        job_class: type[JobBase[...]] | str | None = None,
        tag: str | None = None,
        text: str | None = None,
    ) -> Iterator[QueuedJob]:
        """The jobs for which all these conditions hold; see Filter."""
        wanted = Filter(job_class, tag, text)
        records = (
            QueuedJob(self._app, raw, self.name) for raw in waiting(self._app, self.name, wanted.needle)
        )
        return filter(wanted, records) if wanted else records

    def find_job(self, jid: str) -> QueuedJob | None:
        """The job of this jid, or None. Redis looks through the queue, in bounded calls."""
        for raw in waiting(self._app, self.name, in_any_json(jid)):
            record = QueuedJob(self._app, raw, self.name)
            if record.jid == jid:
                return record
        return None

    def clear(self) -> int:
        """Delete every job that waits, and forget the queue's name; answers how many jobs."""
        return self._app.transport().run(self._app.store.queues.clear(self.name))

    def pause(self) -> bool:
        """Let no worker take from it; jobs that run go on. False: it was paused already.

        Sidekiq's Ruby workers obey only in Pro; others take from it.
        """
        return self._app.transport().run(self._app.store.queues.pause(self.name))

    def unpause(self) -> bool:
        """Let it go on; idle workers notice within some two seconds. False: it was not paused."""
        return self._app.transport().run(self._app.store.queues.unpause(self.name))

    resume = unpause
