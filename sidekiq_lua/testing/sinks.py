"""What takes pushes instead of Redis: one keeps the jobs, the other runs them."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..client import Progress
from ..job import JobBase
from ..payload import Payload
from .queues import Box, Kept
from .running import run_kept, run_kept_async, stored

if TYPE_CHECKING:
    from ..app import App


class _Taker(ABC):
    """The steps of a real push, up to where Redis would come."""

    def push(self, app: App, item: Mapping[str, Any], pool: str | None) -> str | None:
        payload = _prepare(app, item, pool)
        if payload is None:
            return None
        self.take(self._kept(app, item, [payload], pool))
        return str(payload["jid"])

    def push_bulk(self, app: App, item: Mapping[str, Any], pool: str | None) -> list[str | None]:
        _check(app, pool)
        with Progress(app.enqueuer.bulk(item, pool)) as progress:
            for part in progress:
                self.take(self._kept(app, item, part.payloads, pool))
        return progress.jids

    async def push_async(self, app: App, item: Mapping[str, Any], pool: str | None) -> str | None:
        payload = _prepare(app, item, pool)
        if payload is None:
            return None
        await self.take_async(self._kept(app, item, [payload], pool))
        return str(payload["jid"])

    async def push_bulk_async(self, app: App, item: Mapping[str, Any], pool: str | None) -> list[str | None]:
        _check(app, pool)
        with Progress(app.enqueuer.bulk(item, pool)) as progress:
            for part in progress:
                await self.take_async(self._kept(app, item, part.payloads, pool))
        return progress.jids

    def _kept(
        self, app: App, item: Mapping[str, Any], payloads: Sequence[Payload], pool: str | None
    ) -> list[Kept]:
        kind = item["class"]
        pushed = kind if isinstance(kind, type) and issubclass(kind, JobBase) else None
        name = pushed.sidekiq_name() if pushed else None
        # All of them before the first is taken: a slice goes in whole, or not at all.
        return [
            Kept(app, stored(app, payload), pool, pushed if payload["class"] == name else None)
            for payload in payloads
        ]

    @abstractmethod
    def take(self, jobs: list[Kept]) -> None: ...

    async def take_async(self, jobs: list[Kept]) -> None:
        self.take(jobs)


class Fake(_Taker):
    """Keeps the jobs in a box."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def take(self, jobs: list[Kept]) -> None:
        self._box.add(jobs)


class Inline(_Taker):
    """Runs each job in place of its push."""

    def take(self, jobs: list[Kept]) -> None:
        for job in jobs:
            run_kept(job)

    async def take_async(self, jobs: list[Kept]) -> None:
        for job in jobs:
            await run_kept_async(job)


def _prepare(app: App, item: Mapping[str, Any], pool: str | None) -> Payload | None:
    _check(app, pool)
    return app.enqueuer.prepare(item, pool)


def _check(app: App, pool: str | None) -> None:
    if pool is not None:
        app.endpoint(pool)  # raises for one that does not exist, as the real push would
    if app.config.environment == "production":
        warnings.warn(
            "a testing mode of sidekiq_lua is on in production: jobs do not reach Redis",
            RuntimeWarning,
            stacklevel=2,
        )
