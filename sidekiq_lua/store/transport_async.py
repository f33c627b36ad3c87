"""Runs calls over a pool of redis-py asyncio connections that belong to one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeVar

from redis import exceptions as theirs

from ..clock import monotonic
from ..errors import RedisError, RedisUnavailable
from .calls import Call
from .endpoint import Endpoint
from .failures import CONNECTION, lost, refused, unavailable
from .scripts import Script

T = TypeVar("T")

_IDLE_CHECK_S = 1.0


class AsyncTransport:
    """The asyncio twin of :class:`.transport.Transport`, with the same promises.

    Raises RedisError when it is used from a second event loop.
    """

    def __init__(self, endpoint: Endpoint, size: int = 10, wait_s: float = 1.0) -> None:
        self.endpoint = endpoint
        self.size = size
        self._wait_s = wait_s
        self._closed = False
        self._idle: deque[tuple[Any, float]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots: asyncio.Semaphore

    async def _take(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RedisUnavailable(f"the client of {self.endpoint} was closed")
        if self._loop is None:
            self._loop, self._slots = loop, asyncio.Semaphore(self.size)
        elif self._loop is not loop:
            raise RedisError(
                "this AsyncClient belongs to another event loop: make one AsyncClient for each loop"
            )
        if self._slots.locked():
            try:
                await asyncio.wait_for(self._slots.acquire(), self._wait_s)
            except TimeoutError:
                raise RedisUnavailable(
                    f"no free connection to {self.endpoint} within {self._wait_s} s: all {self.size} are in "
                    "use; raise pool_size"
                ) from None
        else:
            await self._slots.acquire()
        try:
            while self._idle:
                connection, since = self._idle.pop()
                if monotonic() - since < _IDLE_CHECK_S or not await _is_stale(connection):
                    return connection
                await connection.disconnect()
            connection = self.endpoint.connect_async()
            await self._open(connection)
            return connection
        except BaseException:
            self._slots.release()
            raise

    async def _open(self, connection: Any) -> None:
        try:
            await connection.connect()
        except CONNECTION as error:
            raise unavailable(self.endpoint, error) from error
        except theirs.RedisError as error:
            raise RedisUnavailable(f"Redis at {self.endpoint} refused the login: {error}") from error

    async def _give(self, connection: Any) -> None:
        if connection.is_connected and not self._closed:
            self._idle.append((connection, monotonic()))
        else:
            await connection.disconnect(nowait=True)
        self._slots.release()

    async def run(self, call: Call[T]) -> T:
        """Run one call. Raises RedisUnavailable, LostReply, RedisFull, RedisRefused or ScriptError."""
        packed = call.packed()
        connection = await self._take()
        try:
            try:
                reply = await self._exchange(connection, call.script, packed)
            except theirs.ReadOnlyError:
                reply = await self._again(connection, call.script, packed)
            except CONNECTION as error:
                if not call.script.reads_only:
                    raise lost(self.endpoint, error, call.script.name) from error
                reply = await self._again(connection, call.script, packed)
        except theirs.ResponseError as error:
            raise refused(error, call.script) from error
        except BaseException:
            # A cancelled call leaves its reply on the wire; nobody else may read it.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._give(connection)
        return call.read(reply)

    async def _again(self, connection: Any, script: Script, packed: bytes) -> Any:
        await connection.disconnect(nowait=True)
        await self._open(connection)
        try:
            return await self._exchange(connection, script, packed)
        except CONNECTION as error:
            raise lost(self.endpoint, error, script.name) from error

    async def _exchange(self, connection: Any, script: Script, packed: bytes) -> Any:
        await connection.send_packed_command([packed], check_health=False)
        try:
            return await connection.read_response(disable_decoding=True)
        except theirs.NoScriptError:
            await connection.send_command("SCRIPT", "LOAD", script.text)
            await connection.read_response()
            await connection.send_packed_command([packed], check_health=False)
            return await connection.read_response(disable_decoding=True)

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls in order in one round trip: for each its result, or the RedisError it ended in."""
        if not calls:
            return []
        connection = await self._take()
        try:
            scripts = {call.script.sha: call.script for call in calls}
            await connection.send_command("SCRIPT", "EXISTS", *scripts)
            for known, script in zip(await connection.read_response(), scripts.values(), strict=True):
                if not known:
                    await connection.send_command("SCRIPT", "LOAD", script.text)
                    await connection.read_response()
            await connection.send_packed_command([call.packed() for call in calls], check_health=False)
            return [await self._result(connection, call) for call in calls]
        except CONNECTION as error:
            raise lost(self.endpoint, error, f"{len(calls)} calls") from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._give(connection)

    async def _result(self, connection: Any, call: Call[Any]) -> Any:
        try:
            return call.read(await connection.read_response(disable_decoding=True))
        except theirs.ResponseError as error:
            return refused(error, call.script)

    async def close(self) -> None:
        """Close every idle connection."""
        self._closed = True
        while self._idle:
            await self._idle.pop()[0].disconnect()


async def _is_stale(connection: Any) -> bool:
    try:
        return bool(await connection.can_read())
    except CONNECTION:
        return True
