"""`Testing`: turns the modes on, and runs or forgets what fake mode kept."""

from __future__ import annotations

from typing import ClassVar

from ..middleware import Chain
from ..sink import Sink, switch
from . import running, scope
from .queues import Queues
from .scope import Mode, Setting
from .sinks import Fake, Inline


class Testing:
    """What pushes do in tests, for all instances and both clients of this process.

    `Testing.fake()` holds for the whole process until another mode is chosen; `with Testing.fake():` for this
    thread and this task, with the tasks it begins, until the block ends. Blocks may be nested: the inner one
    holds.
    """

    __test__ = False  # pytest takes classes called Test… for its own

    server_middleware: ClassVar[Chain] = running.server_middleware
    """Runs around jobs in tests, in place of the instance's own server middleware; empty at first."""

    @classmethod
    def fake(cls, *, everywhere: bool = True) -> Setting:
        """Keep jobs in memory: see `Queues`, and `jobs`, `drain` and `perform_one` of a job class.

        As a `with` it is for the process during the moment between call and block. Where tests run side by
        side in threads, `with Testing.fake(everywhere=False):` leaves that moment out.
        """
        return cls._choose(Mode.FAKE, everywhere)

    @classmethod
    def inline(cls, *, everywhere: bool = True) -> Setting:
        """Run each job when it is pushed, scheduled or not, in this thread; its errors come out of the push.

        An `async def` job runs on the event loop of the AsyncClient that pushes it, else on one of its own.
        """
        return cls._choose(Mode.INLINE, everywhere)

    @classmethod
    def disable(cls, *, everywhere: bool = True) -> Setting:
        """Push to Redis, as without any testing mode."""
        return cls._choose(Mode.DISABLE, everywhere)

    @classmethod
    def _choose(cls, mode: Mode, everywhere: bool) -> Setting:
        setting = Setting(mode)
        if everywhere:
            scope.put(setting)
        return setting

    @classmethod
    def mode(cls) -> str:
        """ "fake", "inline" or "disable": what holds in this thread and task."""
        return scope.current()

    @classmethod
    def is_fake(cls) -> bool:
        return scope.current() is Mode.FAKE

    @classmethod
    def is_inline(cls) -> bool:
        return scope.current() is Mode.INLINE

    @classmethod
    def is_enabled(cls) -> bool:
        """Whether pushes stay out of Redis."""
        return scope.current() is not Mode.DISABLE

    @classmethod
    def is_disabled(cls) -> bool:
        return scope.current() is Mode.DISABLE

    @classmethod
    def clear_all(cls) -> int:
        """Forget all jobs of all instances; answers how many there were."""
        return Queues.clear_all()

    @classmethod
    def drain_all(cls) -> int:
        """Run all jobs of all instances, oldest first, those that they push too; answers how many ran.

        Scheduled jobs run at once. An error of a job comes out as it is, and that job is gone. Raises
        UnknownJobClass for a job whose class is not registered; it is kept.
        """
        return running.drain(running.any_job)

    @classmethod
    async def drain_all_async(cls) -> int:
        """The same on the running event loop, for jobs that use what belongs to it."""
        return await running.drain_async(running.any_job)


_SINKS: dict[Mode, Sink] = {Mode.FAKE: Fake(Queues.box), Mode.INLINE: Inline()}


def _sink() -> Sink | None:
    return _SINKS.get(scope.current())


switch.choose = _sink
switch.tools = running.Runs()
