"""Runs calls over redis-py asyncio connections: one that all single calls share, and a pool for pipelines."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from redis import exceptions as theirs

from ..clock import monotonic
from ..errors import LoginRefused, RedisError, RedisUnavailable
from . import fault
from .calls import WAIT_GRACE_S, Call, Wait, pack
from .closing import broke_off
from .endpoint import Endpoint
from .failures import CONNECTION, denied, lost, moved, outcome, refused, unavailable
from .lane import Lane
from .script_counts import ScriptCounts
from .scripts import Script

T = TypeVar("T")

_IDLE_CHECK_S = 1.0


@dataclass(eq=False)
class _Attempt:
    """A shared connection that is being made. Who waited for the one before may still be counted there."""

    task: asyncio.Task[Lane]
    waiters: int = 0


class AsyncTransport:
    """The asyncio twin of :class:`.transport.Transport`, with the same promises.

    Raises RedisError when it is used from a second event loop.
    """

    def __init__(
        self, endpoint: Endpoint, size: int = 10, wait_s: float = 1.0, counts: ScriptCounts | None = None
    ) -> None:
        self.endpoint = endpoint
        self.size = size
        self.counts = counts or ScriptCounts()
        self._wait_s = wait_s
        self._closed = False
        self._idle: deque[tuple[Any, float]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots: asyncio.Semaphore
        self._shared: Lane | None = None
        self._connecting: _Attempt | None = None

    def _check(self) -> None:
        if self._closed:
            raise RedisUnavailable(f"the client of {self.endpoint} was closed")
        if self._loop is None:
            self._loop, self._slots = asyncio.get_running_loop(), asyncio.Semaphore(self.size)
        else:
            self._check_loop(self._loop)

    def _check_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not asyncio.get_running_loop():
            raise RedisError(
                "this AsyncClient belongs to another event loop: make one AsyncClient for each loop"
            )

    async def _take(self) -> Any:
        self._check()
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
            raise LoginRefused(f"Redis at {self.endpoint} refused the login: {error}") from error

    async def _give(self, connection: Any) -> None:
        if connection.is_connected and not self._closed:
            self._idle.append((connection, monotonic()))
        else:
            await connection.disconnect(nowait=True)
        self._slots.release()

    # -- one call -----------------------------------------------------------------------

    async def _lane(self) -> Lane:
        """The connection that all single calls share, made when it is first needed or was lost."""
        self._check()
        if self._shared is not None and self._shared.usable:
            if self._shared.idle_s < _IDLE_CHECK_S:
                return self._shared
            # A loop that was blocked meanwhile sees in one turn that the socket was closed.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if self._shared.usable:
                return self._shared
        attempt = self._connecting
        # An eager task may have ended before it was known here.
        if attempt is None or attempt.task.done():
            attempt = self._connecting = _Attempt(asyncio.ensure_future(self._connect_lane()))
        attempt.waiters += 1
        try:
            return await asyncio.shield(attempt.task)
        except asyncio.CancelledError:
            if attempt.waiters == 1:
                attempt.task.cancel()
                if self._connecting is attempt:
                    # Who asks next, perhaps this very task, must not wait for what is being cancelled.
                    self._connecting = None
            raise
        finally:
            attempt.waiters -= 1

    async def _connect_lane(self) -> Lane:
        connection = self.endpoint.connect_async()
        try:
            await self._open(connection)
            self._shared = Lane(connection, self.endpoint.timeout_s)
            return self._shared
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            if self._connecting and self._connecting.task is asyncio.current_task():
                self._connecting = None

    async def run(self, call: Call[T]) -> T:
        """Run one call. Raises RedisUnavailable, LostReply, RedisFull, RedisRefused or ScriptError."""
        packed = call.packed()
        lane = await self._lane()
        self.counts.calls[call.script.name] += 1
        try:
            try:
                reply = await self._exchange(lane, call, packed)
            except theirs.ResponseError as error:
                if not moved(error):
                    raise
                lane.leave()
                reply = await self._again(call, packed)
            except CONNECTION as error:
                if not call.script.reads_only:
                    raise lost(self.endpoint, error, call.script.name) from error
                reply = await self._again(call, packed)
        except theirs.ResponseError as error:
            self.counts.failures[call.script.name] += 1
            raise refused(error, call.script) from error
        except RedisError:
            self.counts.failures[call.script.name] += 1
            raise
        except asyncio.CancelledError:
            # Perhaps because no answer comes here: whoever calls next shall not wait for it too.
            lane.leave()
            raise
        return call.read(reply)

    async def _again(self, call: Call[Any], packed: bytes) -> Any:
        lane = await self._lane()
        try:
            return await self._exchange(lane, call, packed)
        except CONNECTION as error:
            raise lost(self.endpoint, error, call.script.name) from error

    async def _exchange(self, lane: Lane, call: Call[Any], packed: bytes) -> Any:
        name = call.script.name
        if fault.at:
            fault.at("before", name)
        try:
            reply = await lane.ask(packed, name)
        except theirs.NoScriptError:
            # It has not run. A server that forgets the script again gets the whole text.
            self.counts.reloads[name] += 1
            await lane.ask(pack("SCRIPT", "LOAD", call.script.text))
            if fault.at:
                fault.at("loaded", name)
            try:
                reply = await lane.ask(packed, name)
            except theirs.NoScriptError:
                reply = await lane.ask(call.packed_whole(), name)
        if fault.at:
            fault.at("after", name)
        return reply

    # -- many calls ---------------------------------------------------------------------

    async def _load_and_exchange(self, connection: Any, call: Call[Any], packed: bytes) -> Any:
        """What met NOSCRIPT has not run. A server that forgets the script again gets the whole text."""
        self.counts.reloads[call.script.name] += 1
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

    async def run_many(self, calls: Sequence[Call[Any]], wait: Wait | None = None) -> list[Any]:
        """Run calls in order in one round trip: for each its result, or the RedisError it ended in.

        Raises what :meth:`.transport.Transport.run_many` raises.
        """
        if not calls:
            return []
        connection = await self._take()
        replies: list[Any] = []
        answered: list[Any] = []
        try:
            replies = await self._exchange_many(connection, calls)
            for n, reply in enumerate(replies):
                if isinstance(reply, theirs.NoScriptError):
                    # Forgotten since it was loaded: it has not run.
                    try:
                        replies[n] = await self._load_and_exchange(connection, calls[n], calls[n].packed())
                    except theirs.ResponseError as error:
                        replies[n] = error
            unsent = [n for n, reply in enumerate(replies) if moved(reply)]
            if unsent:
                await connection.disconnect(nowait=True)
                await self._open(connection)
                again = await self._exchange_many(connection, [calls[n] for n in unsent])
                for n, reply in zip(unsent, again, strict=True):
                    replies[n] = reply
            done = {n for n, reply in enumerate(replies) if not isinstance(reply, theirs.RedisError)}
            # It speaks for its own connection alone: not for what another server did before a failover.
            here = done <= set(unsent or done)
            waited = await self._waited(connection, wait) if wait and done and here else 0
            answered = replies
        except CONNECTION as error:
            raise lost(self.endpoint, error, f"{len(calls)} calls") from error
        except BaseException as error:
            await connection.disconnect(nowait=True)
            broke_off(self.endpoint, error, replies)
            raise
        finally:
            self.counts.many(calls, answered)
            await self._give(connection)
        outcomes = [outcome(call, reply) for call, reply in zip(calls, replies, strict=True)]
        return [*outcomes, waited] if wait else outcomes

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

    async def _waited(self, connection: Any, wait: Wait) -> int | RedisError:
        """How many replicas have what this connection wrote. Nothing is raised: the calls are done."""
        try:
            await connection.send_command("WAIT", wait.replicas, wait.timeout_ms)
            limit_s = wait.timeout_ms / 1000 + WAIT_GRACE_S
            confirmed: int | None = await connection.read_response(timeout=limit_s)
            if confirmed is None:
                # So redis-py tells of a time-out that it was given; the reply is still to come.
                raise theirs.TimeoutError("Timeout reading from socket")
        except CONNECTION as error:
            await connection.disconnect(nowait=True)
            return lost(self.endpoint, error, "WAIT")
        except theirs.ResponseError as error:
            return denied(error, "WAIT")
        return confirmed

    async def _load(self, connection: Any, scripts: Mapping[str, Script]) -> None:
        await connection.send_command("SCRIPT", "EXISTS", *scripts)
        for known, script in zip(await connection.read_response(), scripts.values(), strict=True):
            if not known:
                self.counts.reloads[script.name] += 1
                await connection.send_command("SCRIPT", "LOAD", script.text)
                await connection.read_response()

    async def _reply(self, connection: Any) -> Any:
        try:
            return await connection.read_response(disable_decoding=True)
        except theirs.ResponseError as error:
            return error

    async def close(self) -> None:
        """Close every idle connection, and the shared one as soon as what was asked there is answered.

        Raises RedisError on another event loop, unless the one that they belong to has ended.
        """
        if self._loop is not None and self._loop.is_closed():
            # Nothing of that loop can be closed any more but by the garbage collector.
            self._shared = None
            self._idle.clear()
        elif self._loop is not None:
            self._check_loop(self._loop)
        self._closed = True
        if self._shared is not None:
            await self._shared.close()
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
