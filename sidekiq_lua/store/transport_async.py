"""Runs calls over a pool of redis-py asyncio connections that belong to one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from redis import exceptions as theirs

from ..clock import monotonic
from ..errors import RedisError, RedisRefused, RedisUnavailable
from . import fault
from .calls import Call
from .endpoint import Endpoint
from .failures import CONNECTION, lost, outcome, refused, unavailable
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
        if not self._slots.locked():
            await self._slots.acquire()
        else:
            try:
                async with asyncio.timeout(self._wait_s):
                    await self._slots.acquire()
            except TimeoutError:
                raise RedisUnavailable(
                    f"no free connection to {self.endpoint} within {self._wait_s} s: all {self.size} are in "
                    "use; raise pool_size"
                ) from None
        connection: Any = None
        try:
            while self._idle:
                connection, since = self._idle.pop()
                if monotonic() - since < _IDLE_CHECK_S or not await _is_stale(connection):
                    return connection
                await connection.disconnect(nowait=True)
            connection = self.endpoint.connect_async()
            await self._open(connection)
            return connection
        except BaseException:
            if connection is not None:
                await connection.disconnect(nowait=True)
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
                reply = await self._exchange(connection, call, packed)
            except theirs.ReadOnlyError:
                reply = await self._again(connection, call, packed)
            except CONNECTION as error:
                if not call.script.reads_only:
                    raise lost(self.endpoint, error, call.script.name) from error
                reply = await self._again(connection, call, packed)
        except theirs.ResponseError as error:
            raise refused(error, call.script) from error
        except BaseException:
            # A cancelled call leaves its reply on the wire; nobody else may read it.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._give(connection)
        return call.read(reply)

    async def _again(self, connection: Any, call: Call[Any], packed: bytes) -> Any:
        await connection.disconnect(nowait=True)
        await self._open(connection)
        try:
            return await self._exchange(connection, call, packed)
        except CONNECTION as error:
            raise lost(self.endpoint, error, call.script.name) from error

    async def _exchange(self, connection: Any, call: Call[Any], packed: bytes) -> Any:
        script = call.script
        if fault.at:
            fault.at("before", script.name)
        await connection.send_packed_command([packed], check_health=False)
        if fault.at:
            fault.at("sent", script.name)
        try:
            reply = await connection.read_response(disable_decoding=True)
        except theirs.NoScriptError:
            reply = await self._load_and_exchange(connection, call, packed)
        if fault.at:
            fault.at("after", script.name)
        return reply

    async def _load_and_exchange(self, connection: Any, call: Call[Any], packed: bytes) -> Any:
        """What met NOSCRIPT has not run. A server that forgets the script again gets the whole text."""
        await connection.send_command("SCRIPT", "LOAD", call.script.text)
        await connection.read_response()
        if fault.at:
            fault.at("loaded", call.script.name)
        await connection.send_packed_command([packed], check_health=False)
        try:
            return await connection.read_response(disable_decoding=True)
        except theirs.NoScriptError:
            await connection.send_packed_command([call.packed_whole()], check_health=False)
            return await connection.read_response(disable_decoding=True)

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls in order in one round trip: for each its result, or the RedisError it ended in.

        Raises what :meth:`.transport.Transport.run_many` raises.
        """
        if not calls:
            return []
        connection = await self._take()
        try:
            replies = await self._exchange_many(connection, calls)
            for n, reply in enumerate(replies):
                if isinstance(reply, theirs.NoScriptError):
                    # Forgotten since it was loaded: it has not run.
                    try:
                        replies[n] = await self._load_and_exchange(connection, calls[n], calls[n].packed())
                    except theirs.ResponseError as error:
                        replies[n] = error
            unsent = [n for n, reply in enumerate(replies) if isinstance(reply, theirs.ReadOnlyError)]
            if unsent:
                await connection.disconnect(nowait=True)
                await self._open(connection)
                again = await self._exchange_many(connection, [calls[n] for n in unsent])
                for n, reply in zip(unsent, again, strict=True):
                    replies[n] = reply
        except CONNECTION as error:
            raise lost(self.endpoint, error, f"{len(calls)} calls") from error
        except theirs.ResponseError as error:
            raise RedisRefused(f"the scripts could not be loaded: {error}") from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._give(connection)
        return [outcome(call, reply) for call, reply in zip(calls, replies, strict=True)]

    async def _exchange_many(self, connection: Any, calls: Sequence[Call[Any]]) -> list[Any]:
        scripts = {call.script.sha: call.script for call in calls}
        try:
            await self._load(connection, scripts)
        except CONNECTION:
            await connection.disconnect(nowait=True)
            await self._open(connection)
            try:
                await self._load(connection, scripts)
            except CONNECTION as error:
                raise unavailable(self.endpoint, error) from error
        names = "+".join(call.script.name for call in calls) if fault.at else ""
        if fault.at:
            fault.at("before", names)
        await connection.send_packed_command([call.packed() for call in calls], check_health=False)
        if fault.at:
            fault.at("sent", names)
        replies = [await self._reply(connection) for _ in calls]
        if fault.at:
            fault.at("after", names)
        return replies

    async def _load(self, connection: Any, scripts: Mapping[str, Script]) -> None:
        await connection.send_command("SCRIPT", "EXISTS", *scripts)
        for known, script in zip(await connection.read_response(), scripts.values(), strict=True):
            if not known:
                await connection.send_command("SCRIPT", "LOAD", script.text)
                await connection.read_response()

    async def _reply(self, connection: Any) -> Any:
        try:
            return await connection.read_response(disable_decoding=True)
        except theirs.ResponseError as error:
            return error

    async def close(self) -> None:
        """Close every idle connection."""
        self._closed = True
        while self._idle:
            await self._idle.pop()[0].disconnect()


async def _is_stale(connection: Any) -> bool:
    # A loop that was blocked meanwhile sees in one turn that the socket was closed, and tells in the next.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    try:
        return bool(await connection.can_read())
    except CONNECTION:
        return True
