"""Runs calls over a pool of redis-py connections. Thread-safe, fork-safe, closable."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from redis import exceptions as theirs

from ..clock import monotonic
from ..errors import LoginRefused, LostReply, RedisError, RedisUnavailable
from . import fault
from .abandoned import Abandoned
from .calls import WAIT_GRACE_S, Call, Wait
from .closing import broke_off, hang_up, is_stale
from .endpoint import Endpoint
from .failures import CONNECTION, denied, lost, moved, outcome, refused, unavailable
from .script_counts import ScriptCounts
from .scripts import Script

T = TypeVar("T")
_How = Callable[[Any, Call[Any], bytes], Any]

_IDLE_CHECK_S = 1.0


class Transport:
    """The one place that sends scripts, for synchronous callers.

    A request is never sent twice by itself, but for a read, a script the server did not know, and one
    that a read-only replica refused: none of these has run.
    """

    def __init__(self, endpoint: Endpoint, size: int = 10, wait_s: float = 1.0) -> None:
        self.endpoint = endpoint
        self.size = size
        self.counts = ScriptCounts()
        self._wait_s = wait_s
        self._closed = False
        self._forget_connections()
        _TRANSPORTS.add(self)

    def _forget_connections(self) -> None:
        self._abandoned = Abandoned()
        self._idle: deque[tuple[Any, float]] = deque()
        # Not a semaphore, which takes ten times as long.
        self._slots: SimpleQueue[None] = SimpleQueue()
        self._add_slots(self.size)

    def grow(self, size: int) -> None:
        """Allow that many connections, if it is more than before."""
        if size > self.size:
            self._add_slots(size - self.size)
            self.size = size

    def _add_slots(self, n: int) -> None:
        for _ in range(n):
            self._slots.put(None)

    # -- connections --------------------------------------------------------------------

    def _take(self) -> Any:
        if self._closed:
            raise RedisUnavailable(f"the client of {self.endpoint} was closed")
        try:
            self._slots.get(timeout=self._wait_s)
        except Empty:
            raise RedisUnavailable(
                f"no free connection to {self.endpoint} within {self._wait_s} s: all {self.size} are in use; "
                "raise pool_size"
            ) from None
        try:
            connection = self._pop_idle()
            if connection is None:
                connection = self.endpoint.connect()
                self.open(connection)
            return connection
        except BaseException:
            self._slots.put(None)
            raise

    def _pop_idle(self) -> Any:
        """A connection that is open, or None."""
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return None
            # A server that went away closed the socket: find out before a job is sent into it.
            if monotonic() - since < _IDLE_CHECK_S or not is_stale(connection):
                return connection
            connection.disconnect()

    def open(self, connection: Any) -> None:
        """Connect and log in. Raises RedisUnavailable."""
        try:
            connection.connect()
            self._abandoned.learn(connection)
        except CONNECTION as error:
            raise unavailable(self.endpoint, error) from error
        except theirs.RedisError as error:
            raise LoginRefused(f"Redis at {self.endpoint} refused the login: {error}") from error

    def _give(self, connection: Any) -> None:
        if connection.is_connected and not self._closed:
            self._idle.append((connection, monotonic()))
        else:
            connection.disconnect()
        self._slots.put(None)

    # -- calls --------------------------------------------------------------------------

    def run(self, call: Call[T]) -> T:
        """Run one call. Raises RedisUnavailable, LostReply, RedisFull, RedisRefused or ScriptError."""
        packed = call.packed()
        return self._conclude(self._take(), call, packed, self._exchange)

    def send(self, call: Call[T]) -> Sent[T]:
        """Send a call whose reply is read later. Raises RedisUnavailable or LostReply."""
        packed = call.packed()
        connection = self._take()
        try:
            self._send(connection, call, packed)
        except BaseException as error:
            self._abandoned.add(connection)
            self._give(connection)
            self.counts.calls[call.script.name] += 1
            self.counts.failures[call.script.name] += 1
            if isinstance(error, CONNECTION):
                raise lost(self.endpoint, error, call.script.name) from error
            raise
        return Sent(self, connection, call, packed)

    def _conclude(self, connection: Any, call: Call[T], packed: bytes, how: _How) -> T:
        """The result of a call that is to be exchanged, or read, on this connection; which is given back."""
        self.counts.calls[call.script.name] += 1
        try:
            try:
                reply = how(connection, call, packed)
            except theirs.ResponseError as error:
                if not moved(error):
                    raise
                reply = self._again(connection, call, packed)
            except CONNECTION as error:
                if not call.script.reads_only:
                    raise lost(self.endpoint, error, call.script.name) from error
                reply = self._again(connection, call, packed)
        except theirs.ResponseError as error:
            self.counts.failures[call.script.name] += 1
            hang_up(connection, error)
            raise refused(error, call.script) from error
        except BaseException:
            self.counts.failures[call.script.name] += 1
            self._abandoned.add(connection)
            raise
        finally:
            self._give(connection)
        return call.read(reply)

    def _again(self, connection: Any, call: Call[Any], packed: bytes) -> Any:
        connection.disconnect()
        self.open(connection)
        try:
            return self._exchange(connection, call, packed)
        except CONNECTION as error:
            self._abandoned.add(connection)
            raise lost(self.endpoint, error, call.script.name) from error

    def _exchange(self, connection: Any, call: Call[Any], packed: bytes) -> Any:
        self._send(connection, call, packed)
        return self._read(connection, call, packed)

    def _send(self, connection: Any, call: Call[Any], packed: bytes) -> None:
        if fault.at:
            fault.at("before", call.script.name)
        connection.send_packed_command([packed], check_health=False)
        if fault.at:
            fault.at("sent", call.script.name)

    def _read(self, connection: Any, call: Call[Any], packed: bytes) -> Any:
        try:
            reply = connection.read_response(disable_decoding=True)
        except theirs.NoScriptError:
            reply = self._load_and_exchange(connection, call, packed)
        if fault.at:
            fault.at("after", call.script.name)
        return reply

    def _load_and_exchange(self, connection: Any, call: Call[Any], packed: bytes) -> Any:
        """What met NOSCRIPT has not run. A server that forgets the script again gets the whole text."""
        self.counts.reloads[call.script.name] += 1
        connection.send_command("SCRIPT", "LOAD", call.script.text)
        connection.read_response()
        if fault.at:
            fault.at("loaded", call.script.name)
        connection.send_packed_command([packed], check_health=False)
        try:
            return connection.read_response(disable_decoding=True)
        except theirs.NoScriptError:
            connection.send_packed_command([call.packed_whole()], check_health=False)
            return connection.read_response(disable_decoding=True)

    def run_many(self, calls: Sequence[Call[Any]], wait: Wait | None = None) -> list[Any]:
        """Run calls in order in one round trip: for each its result, or the RedisError it ended in.

        With `wait`, one more result: how many replicas have what the calls wrote, or a RedisError.
        Raises RedisUnavailable when nothing was sent, LostReply when some may have run, and RedisRefused
        when the scripts could not be loaded.
        """
        if not calls:
            return []
        connection = self._take()
        replies: list[Any] = []
        answered: list[Any] = []
        try:
            replies = self._exchange_many(connection, calls)
            for n, reply in enumerate(replies):
                if isinstance(reply, theirs.NoScriptError):
                    # Forgotten since it was loaded: it has not run.
                    try:
                        replies[n] = self._load_and_exchange(connection, calls[n], calls[n].packed())
                    except theirs.ResponseError as error:
                        replies[n] = error
            unsent = [n for n, reply in enumerate(replies) if moved(reply)]
            if unsent:
                connection.disconnect()
                self.open(connection)
                again = self._exchange_many(connection, [calls[n] for n in unsent])
                for n, reply in zip(unsent, again, strict=True):
                    replies[n] = reply
            done = {n for n, reply in enumerate(replies) if not isinstance(reply, theirs.RedisError)}
            # It speaks for its own connection alone: not for what another server did before a failover.
            waited = self._waited(connection, wait) if wait and done and done <= set(unsent or done) else 0
            answered = replies
        except CONNECTION as error:
            self._abandoned.add(connection)
            raise lost(self.endpoint, error, f"{len(calls)} calls") from error
        except BaseException as error:
            connection.disconnect()
            broke_off(self.endpoint, error, replies)
            raise
        finally:
            self.counts.many(calls, answered)
            self._give(connection)
        outcomes = [outcome(call, reply) for call, reply in zip(calls, replies, strict=True)]
        return [*outcomes, waited] if wait else outcomes

    def _exchange_many(self, connection: Any, calls: Sequence[Call[Any]]) -> list[Any]:
        """The replies, or the exceptions that they are."""
        scripts = {call.script.sha: call.script for call in calls}
        try:
            self._load(connection, scripts)
        except CONNECTION:
            connection.disconnect()
            self.open(connection)
            try:
                self._load(connection, scripts)
            except CONNECTION as error:
                raise unavailable(self.endpoint, error) from error
        names = "+".join(call.script.name for call in calls) if fault.at else ""
        if fault.at:
            fault.at("before", names)
        connection.send_packed_command([call.packed() for call in calls], check_health=False)
        if fault.at:
            fault.at("sent", names)
        replies = [self._reply(connection) for _ in calls]
        if fault.at:
            fault.at("after", names)
        return replies

    def _waited(self, connection: Any, wait: Wait) -> int | RedisError:
        """How many replicas have what this connection wrote. Nothing is raised: the calls are done."""
        try:
            connection.send_command("WAIT", wait.replicas, wait.timeout_ms)
            confirmed: int = connection.read_response(timeout=wait.timeout_ms / 1000 + WAIT_GRACE_S)
        except CONNECTION as error:
            connection.disconnect()
            return lost(self.endpoint, error, "WAIT")
        except theirs.ResponseError as error:
            return denied(error, "WAIT")
        return confirmed

    def _load(self, connection: Any, scripts: Mapping[str, Script]) -> None:
        """NOSCRIPT in a pipeline would reorder it, so unknown scripts are loaded first."""
        connection.send_command("SCRIPT", "EXISTS", *scripts)
        for known, script in zip(connection.read_response(), scripts.values(), strict=True):
            if not known:
                self.counts.reloads[script.name] += 1
                connection.send_command("SCRIPT", "LOAD", script.text)
                connection.read_response()

    def _reply(self, connection: Any) -> Any:
        try:
            return connection.read_response(disable_decoding=True)
        except theirs.ResponseError as error:
            hang_up(connection, error)
            return error

    def command(self, name: str, *words: str | bytes | int) -> Any:
        """One plain command, for what scripts cannot do: PING, TIME, INFO, CONFIG GET, ACL.

        Raises RedisUnavailable, LostReply or RedisRefused.
        """
        connection = self._take()
        try:
            if fault.at:
                fault.at("before", name)
            connection.send_command(name, *words)
            if fault.at:
                fault.at("sent", name)
            reply = connection.read_response(disable_decoding=True)
            if fault.at:
                fault.at("after", name)
            return reply
        except CONNECTION as error:
            raise lost(self.endpoint, error, name) from error
        except theirs.ResponseError as error:
            raise denied(error, name) from error
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self._give(connection)

    def watch_abandoned(self) -> None:
        """Let each connection ask for its name, so that `end_abandoned` can end those that were given up."""
        self._abandoned.watched = True
        self._drop_idle()

    def end_abandoned(self) -> None:
        """No call that was sent without an answer is carried out after this. Raises RedisError."""
        self._abandoned.end(self.command)

    def probe(self, timeout_s: float) -> None:
        """Ask on a new connection whether the server is there; each step of that takes `timeout_s` at most.

        Idle connections are dropped: after an outage they may be dead. Raises RedisUnavailable.
        """
        self._drop_idle()
        connection = self.endpoint.connect(at_most_s=timeout_s)
        try:
            self.open(connection)
            connection.send_command("PING")
            connection.read_response()
        except CONNECTION as error:
            raise unavailable(self.endpoint, error) from error
        except theirs.ResponseError:
            return  # it answers, if not as one would wish: what it is asked next will tell
        finally:
            connection.disconnect()

    def close(self) -> None:
        """Close every idle connection; those in use close when they are given back."""
        self._closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop()[0].disconnect()


class Sent(Generic[T]):
    """A call under way. Its reply is read once, or it is abandoned; both give the connection back."""

    __slots__ = ("_call", "_connection", "_packed", "_transport")

    def __init__(self, transport: Transport, connection: Any, call: Call[T], packed: bytes) -> None:
        self._transport = transport
        self._connection = connection
        self._call = call
        self._packed = packed

    def read(self) -> T:
        """Wait for the reply. Raises what `Transport.run` does."""
        transport = self._transport
        return transport._conclude(self._connection, self._call, self._packed, transport._read)

    def abandon(self) -> LostReply:
        """Close the connection without a look at the reply; what the call came to is not known."""
        self._transport._abandoned.add(self._connection)
        self._transport._give(self._connection)
        self._transport.counts.many([self._call], [])
        return LostReply(f"{self._call.script.name} was not waited for")


_TRANSPORTS: weakref.WeakSet[Transport] = weakref.WeakSet()


def _after_fork() -> None:
    for transport in _TRANSPORTS:
        transport._forget_connections()
        transport.counts.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
