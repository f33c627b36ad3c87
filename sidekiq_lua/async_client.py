"""Puts jobs in Redis without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from .client import Progress, Sender
from .errors import LostReply, PushUnknown, RedisError
from .sending import unknown
from .sink import switch
from .store import AsyncTransport
from .timing import When

if TYPE_CHECKING:
    from .app import App
    from .job import JobBase

T = TypeVar("T")


class BaseAsyncClient(Sender):
    """The asyncio twin of the client: the same methods, awaitable, with the same errors.

    It belongs to the event loop that first uses it, until `close`; on another loop it raises RedisError.
    Client middleware runs on the loop and should not block. `async with` closes it.
    """

    def __init__(self, app: App, pool: str | None = None) -> None:
        super().__init__(app, pool)
        self._transports: dict[str | None, AsyncTransport] = {}

    async def push(self, item: Mapping[str, Any]) -> str | None:
        """See `Client.push`."""
        pool = self._route(item)
        if switch.choose and (taker := switch.choose()):
            return await taker.push_async(self._app, item, pool)
        made = self._enqueuer.one(item, pool)
        if made is None:
            return None
        jid, call = made
        outbox = self._app.outbox(pool)
        try:
            if outbox is None:
                await self._transport(pool).run(call)
            else:
                await outbox.send_async([call], [jid], self._transport(pool))
        except LostReply as error:
            raise error if isinstance(error, PushUnknown) else unknown(error, [jid]) from error
        return jid

    async def push_bulk(self, item: Mapping[str, Any]) -> list[str | None]:
        """See `Client.push_bulk`."""
        pool = self._route(item)
        if switch.choose and (taker := switch.choose()):
            return await taker.push_bulk_async(self._app, item, pool)
        with Progress(self._enqueuer.bulk(item, pool)) as progress:
            for part in progress:
                transport = self._transport(pool)
                outbox = self._app.outbox(pool)
                if outbox is not None:
                    await outbox.send_async(part.calls, progress.sending, transport)
                    continue
                if len(part.calls) == 1:
                    await transport.run(part.calls[0])
                else:
                    progress.check(await transport.run_many(part.calls))
        return progress.jids

    async def enqueue(self, job_class: type[JobBase] | str, *args: Any) -> str | None:
        """See `Client.enqueue`."""
        return await self.push({"class": job_class, "args": list(args)})

    async def enqueue_to(self, queue: str, job_class: type[JobBase] | str, *args: Any) -> str | None:
        """See `Client.enqueue_to`."""
        return await self.push({"class": job_class, "args": list(args), "queue": queue})

    async def enqueue_in(self, when: When, job_class: type[JobBase] | str, *args: Any) -> str | None:
        """See `Client.enqueue_in`."""
        return await self.push(self._later(when, {"class": job_class, "args": list(args)}))

    async def enqueue_to_in(
        self, queue: str, when: When, job_class: type[JobBase] | str, *args: Any
    ) -> str | None:
        """See `Client.enqueue_to_in`."""
        return await self.push(self._later(when, {"class": job_class, "args": list(args), "queue": queue}))

    async def cancel(self, jid: str) -> bool:
        """See `Client.cancel`."""
        return await self._transport(self._route({})).run(self._cancel(jid))

    @overload
    def via(self, pool: str) -> AbstractContextManager[None]: ...
    @overload
    def via(self, pool: str, function: Callable[[], Awaitable[T]]) -> Awaitable[T]: ...
    def via(self, pool: str, function: Callable[[], Awaitable[T]] | None = None) -> Any:
        """See `Client.via`; `await client.via("shard-1", function)` awaits what `function` answers."""
        return self._via(pool) if function is None else self._await_via(pool, function)

    async def _await_via(self, pool: str, function: Callable[[], Awaitable[T]]) -> T:
        with self._via(pool):
            return await function()

    async def close(self) -> None:
        """Send what `push_buffer` keeps and close the connections; the next push opens new ones.

        Raises RedisError on another event loop than theirs, unless that one has ended.
        """
        if self._app.keeps_pushes:
            await asyncio.to_thread(self._app.send_kept)
        while self._transports:
            pool, transport = self._transports.popitem()
            try:
                await transport.close()
            except RedisError:
                self._transports.setdefault(pool, transport)
                raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _transport(self, pool: str | None) -> AsyncTransport:
        if pool not in self._transports:
            self._transports[pool] = self._app.async_transport(pool)
        return self._transports[pool]
