"""Where pushes go instead of Redis in tests; empty unless `sidekiq_lua.testing` was imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .payload import Payload

if TYPE_CHECKING:
    from .app import App
    from .job import JobBase


class Sink(Protocol):
    """Takes what a client of `app` was asked to push; `pool` is the one it would have gone to."""

    def push(self, app: App, item: Mapping[str, Any], pool: str | None) -> str | None: ...
    def push_bulk(self, app: App, item: Mapping[str, Any], pool: str | None) -> list[str | None]: ...
    async def push_async(self, app: App, item: Mapping[str, Any], pool: str | None) -> str | None: ...
    async def push_bulk_async(
        self, app: App, item: Mapping[str, Any], pool: str | None
    ) -> list[str | None]: ...


class Tools(Protocol):
    """What stands behind the class methods of `Faked`."""

    def jobs(self, job_class: type[JobBase[Any]]) -> list[Payload]: ...
    def clear(self, job_class: type[JobBase[Any]]) -> int: ...
    def drain(self, job_class: type[JobBase[Any]]) -> int: ...
    async def drain_async(self, job_class: type[JobBase[Any]]) -> int: ...
    def perform_one(self, job_class: type[JobBase[Any]]) -> Any: ...
    async def perform_one_async(self, job_class: type[JobBase[Any]]) -> Any: ...
    def process(self, job_class: type[JobBase[Any]], payload: Payload) -> Any: ...
    async def process_async(self, job_class: type[JobBase[Any]], payload: Payload) -> Any: ...


class Switch:
    """What tests have turned on; a client in production pays for one look at `choose`."""

    choose: Callable[[], Sink | None] | None = None
    """Answers the sink of this moment, in this thread and task, or None for Redis."""
    tools: Tools | None = None


switch = Switch()
