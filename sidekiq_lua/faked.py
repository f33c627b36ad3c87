"""What a job class answers in tests: the jobs it has in the testing mode fake, and how to run them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .errors import ConfigurationError
from .payload import Payload
from .sink import Tools, switch

if TYPE_CHECKING:
    from .job import JobBase


class Faked:
    """Class methods for tests; outside of them each raises ConfigurationError. No Redis key is touched.

    A class stands for its own jobs; an abstract one for those of its subclasses, and the `Job` of an
    instance for all jobs of that instance.
    """

    @classmethod
    def jobs(cls) -> list[Payload]:
        """The payloads kept in fake mode, oldest first; scheduled ones have `at` (epoch seconds)."""
        return _tools().jobs(_job(cls))

    @classmethod
    def clear(cls) -> int:
        """Forget the jobs; answers how many there were."""
        return _tools().clear(_job(cls))

    @classmethod
    def drain(cls) -> int:
        """Run the jobs, oldest first, those that they push too, until none is left; answers how many ran.

        Scheduled jobs run at once. An error of a job comes out as it is, and that job is gone.
        """
        return _tools().drain(_job(cls))

    @classmethod
    async def drain_async(cls) -> int:
        """The same on the running event loop, for jobs that use what belongs to it."""
        return await _tools().drain_async(_job(cls))

    @classmethod
    def perform_one(cls) -> Any:
        """Run the oldest job and answer what `perform` did. Raises EmptyQueueError if there is none."""
        return _tools().perform_one(_job(cls))

    @classmethod
    async def perform_one_async(cls) -> Any:
        """The same on the running event loop."""
        return await _tools().perform_one_async(_job(cls))

    @classmethod
    def process_job(cls, payload: Payload) -> Any:
        """Run a payload, in any mode, inside `Testing.server_middleware`; answers what `perform` did."""
        return _tools().process(_job(cls), payload)

    @classmethod
    async def process_job_async(cls, payload: Payload) -> Any:
        """The same on the running event loop."""
        return await _tools().process_async(_job(cls), payload)


def _tools() -> Tools:
    if switch.tools is None:
        raise ConfigurationError(
            "this is for tests: choose a mode first, by `from sidekiq_lua import Testing; Testing.fake()` "
            "or by the pytest fixture sidekiq_fake"
        )
    return switch.tools


def _job(cls: type) -> type[JobBase[Any]]:
    return cast("type[JobBase[Any]]", cls)
