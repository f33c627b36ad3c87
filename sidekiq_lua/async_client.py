"""Puts jobs in Redis without blocking the event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from .client import route
from .enqueue import Enqueuer
from .errors import LostReply, PushUnknown, RedisError
from .store import AsyncTransport
from .timing import When, due

if TYPE_CHECKING:
    from .app import App
    from .job import JobBase


class AsyncClient:
    """The asyncio twin of the client: the same methods, awaitable, with the same errors.

    It belongs to the event loop that first uses it; on another loop it raises RedisError. Client
    middleware runs on the loop and should not block. `async with` closes it.
    """

    def __init__(self, app: App, pool: str | None = None) -> None:
        self._app = app
        self._pool = pool
        self._enqueuer = Enqueuer(app)
        self._transports: dict[str | None, AsyncTransport] = {}

    async def push(self, item: Mapping[str, Any]) -> str | None:
        """See `Client.push`."""
        item, pool = route(item, self._pool or self._app.via.get())
        made = self._enqueuer.one(item, pool)
        if made is None:
            return None
        jid, call = made
        try:
            await self._transport(pool).run(call)
        except LostReply as error:
            raise PushUnknown(f"{jid} may be in Redis or not: {error}", [jid]) from error
        return jid

    async def push_bulk(self, item: Mapping[str, Any]) -> list[str | None]:
        """See `Client.push_bulk`."""
        item, pool = route(item, self._pool or self._app.via.get())
        transport = self._transport(pool)
        jids: list[str | None] = []
        for part in self._enqueuer.bulk(item, pool):
            waiting = [jid for jid in part.jids if jid is not None]
            try:
                for result in await transport.run_many(part.calls):
                    if isinstance(result, RedisError):
                        raise result
            except LostReply as error:
                raise PushUnknown(f"{len(waiting)} jobs may be in Redis or not: {error}", waiting) from error
            except RedisError as error:
                if len(part.calls) > 1:
                    raise PushUnknown(f"{error} (some queues of this slice took their jobs)", waiting) from error
                error.add_note(f"{sum(j is not None for j in jids)} jobs of this bulk were pushed before")
                raise
            jids += part.jids
        return jids

    async def enqueue(self, job_class: type[JobBase[Any]] | str, *args: Any) -> str | None:
        """See `Client.enqueue`."""
        return await self.push({"class": job_class, "args": list(args)})

    async def enqueue_to(self, queue: str, job_class: type[JobBase[Any]] | str, *args: Any) -> str | None:
        """See `Client.enqueue_to`."""
        return await self.push({"class": job_class, "args": list(args), "queue": queue})

    async def enqueue_in(self, when: When, job_class: type[JobBase[Any]] | str, *args: Any) -> str | None:
        """See `Client.enqueue_in`."""
        return await self.push(self._later(when, {"class": job_class, "args": list(args)}))

    async def enqueue_to_in(
        self, queue: str, when: When, job_class: type[JobBase[Any]] | str, *args: Any
    ) -> str | None:
        """See `Client.enqueue_to_in`."""
        return await self.push(self._later(when, {"class": job_class, "args": list(args), "queue": queue}))

    async def close(self) -> None:
        """Close the connections."""
        while self._transports:
            await self._transports.popitem()[1].close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _transport(self, pool: str | None) -> AsyncTransport:
        if pool not in self._transports:
            self._transports[pool] = self._app.async_transport(pool)
        return self._transports[pool]

    def _later(self, when: When, item: dict[str, Any]) -> dict[str, Any]:
        at = due(when, self._app.clock.now())
        return item if at is None else {**item, "at": at}
