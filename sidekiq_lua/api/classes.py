"""Pausing one job class, whatever its queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..holding import release
from ..job import JobBase
from ..store.holding import Held
from .filters import class_name
from .record import JobRecord
from .walk import held

if TYPE_CHECKING:
    from ..app import App


class HeldJob(JobRecord):
    """A job that was put aside because its class is paused."""

    def __init__(self, app: App, class_name: str, one: Held) -> None:
        super().__init__(app, one.raw, one.queue)
        self._class_name = class_name
        self._item = one.item

    def delete(self) -> bool:
        """Delete it. False: it is held no more. Raises RedisError. Keys: `lua:held:CLASS`."""
        return self._app.transport().run(self._app.store.holding.delete(self._class_name, self._item))


class PausedClass:
    """A job class that can be paused: `PausedClass("ChargeJob").pause()`.

    A worker of this package learns of it with its next heartbeat, after 10 s at most with the default
    settings. From then on it puts aside each job of the class that it fetches, instead of starting it; those
    that run go on. Ruby's workers know nothing of it and run what they fetch. Iterating gives the jobs put
    aside, the newest first, as in a queue. The class is that of the payload, or what an ActiveJob wraps.
    Everything raises RedisError. Keys: `lua:paused_classes`, `lua:resumed_classes`, `lua:held:CLASS`.
    """

    def __init__(self, app: App, job_class: type[JobBase[...]] | str) -> None:
        self._app = app
        self.name = class_name(job_class)

    def __repr__(self) -> str:
        return f"<PausedClass {self.name}>"

    @staticmethod
    def _names(app: App) -> list[str]:
        paused, resumed = app.transport().run(app.store.holding.classes())
        return sorted(paused | resumed)

    @property
    def paused(self) -> bool:
        """Whether it is paused."""
        return self.name in self._app.transport().run(self._app.store.holding.classes())[0]

    def __len__(self) -> int:
        """How many jobs are put aside."""
        return self._app.transport().run(self._app.store.holding.held(self.name, 0, 0))[0]

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[HeldJob]:
        return (HeldJob(self._app, self.name, one) for one in held(self._app, self.name))

    def pause(self) -> bool:
        """Let no job of it start any more. False: it was paused already."""
        return self._app.transport().run(self._app.store.holding.pause(self.name))

    def resume(self, progress: Callable[[int], object] | None = None) -> int:
        """Let it go on, and return its jobs to the front of their queues, the oldest first; answers how many
        this call returned: workers return them too, in their sweeps, also if this is cut off in the middle.

        `progress` is called with the number so far after each call. Keys: `queues`, `queue:NAME`.
        """
        self._app.transport().run(self._app.store.holding.resume(self.name))
        return release(self._app.transport(), self._app.store, self.name, progress)
