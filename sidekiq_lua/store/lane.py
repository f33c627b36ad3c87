"""One asyncio connection that many tasks share: requests go out as they come, replies come back in order."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

import hiredis
from redis import exceptions as theirs

from ..clock import monotonic
from . import fault
from .closing import is_last

_READ = 1 << 16
_FULL = 1 << 20
"""Bytes that wait to be sent before a task must wait too."""
_TURN_S = 0.05
"""Longer than a turn of an event loop that has not much to do."""


class Lane:
    """A connection of redis-py's, logged in, from which only this object reads.

    A task that is cancelled leaves its place in the line to nobody: its reply is read and dropped.
    """

    def __init__(self, connection: Any, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._reader: asyncio.StreamReader = connection._reader
        self._writer: asyncio.StreamWriter = connection._writer
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._error: Exception | None = None
        self._leaving = False
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._overdue: asyncio.Future[Any] | None = None
        self._asked_at = monotonic()
        self._task = self._loop.create_task(self._read())

    @property
    def usable(self) -> bool:
        gone = self._reader.at_eof() or self._writer.is_closing()
        return self._error is None and not self._leaving and not gone

    @property
    def idle_s(self) -> float:
        """For how many seconds nobody has asked."""
        return monotonic() - self._asked_at

    async def ask(self, packed: bytes, name: str = "") -> Any:
        """The reply to one request. Raises redis-py's exceptions, as its connections do."""
        if self._error is not None:
            raise self._error
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._asked_at = monotonic()
        self._waiting.append((reply, self._asked_at))
        self._writer.write(packed)
        if fault.at:
            fault.at("sent", name)
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._look)
        if self._writer.transport.get_write_buffer_size() > _FULL:
            # A server that cannot read it answers, and closes before all is written: its answer counts.
            with suppress(OSError):
                await self._writer.drain()
        return await reply

    async def _read(self) -> None:
        replies = hiredis.Reader(
            protocolError=theirs.InvalidResponse, replyError=self._connection._parser.parse_error
        )
        try:
            while data := await self._reader.read(_READ):
                replies.feed(data)
                while (reply := replies.gets()) is not False:
                    self._answer(reply)
            self._fail(theirs.ConnectionError("Connection closed by server"))
        except asyncio.CancelledError:
            self._fail(theirs.ConnectionError("the connection was closed"))
            raise
        except (OSError, theirs.RedisError, hiredis.HiredisError) as error:
            self._fail(theirs.ConnectionError(str(error)))
        finally:
            self._writer.transport.abort()
            await self._connection.disconnect()

    def _answer(self, reply: Any) -> None:
        future, _ = self._waiting.popleft()
        if not future.done():
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)
        if isinstance(reply, theirs.ResponseError) and is_last(reply):
            self._leaving = True
        if self._leaving and not self._waiting:
            self._task.cancel()

    def _look(self) -> None:
        """Has the oldest request waited too long? Its reply may come yet: nobody can ask here any more."""
        self._watch = None
        if not self._waiting:
            return
        oldest, since = self._waiting[0]
        left = since + self._timeout_s - monotonic()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look)
        elif self._overdue is not oldest:
            # A loop that was blocked meanwhile looks here before it reads what has long been there.
            self._overdue = oldest
            self._watch = self._loop.call_later(_TURN_S, self._look)
        else:
            self._fail(theirs.TimeoutError("Timeout reading from socket"))
            self._task.cancel()

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(self._error)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def leave(self) -> None:
        """Let nobody ask here any more; it closes once what was asked has been answered."""
        self._leaving = True
        if not self._waiting:
            self._task.cancel()

    async def close(self) -> None:
        """Leave, and wait until it is closed."""
        self.leave()
        await asyncio.wait([self._task])
