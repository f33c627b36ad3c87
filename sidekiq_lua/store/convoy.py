"""Calls of several threads in one packet, so that they share a round trip and wait for each other less."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from redis import exceptions as theirs

from ..errors import LostReply, RedisUnavailable
from . import fault
from .calls import Call
from .failures import CONNECTION, lost, refused

if TYPE_CHECKING:
    from .transport import Transport

T = TypeVar("T")

_MOST_CALLS = 64
_MOST_BYTES = 65_536
"""A longer request goes on its own."""
_GRACE_S = 3.0
_ALONE = object()
"""Instead of a reply: it has not run, and may go on its own."""


class Passenger:
    """A call that waits for a packet, then for its reply."""

    __slots__ = ("call", "packed", "reply", "steers", "taken", "wake")

    def __init__(self, call: Call[Any], packed: bytes) -> None:
        self.call = call
        self.packed = packed
        self.reply: Any = _ALONE
        self.steers = False
        """Whether it is this one's turn to carry a packet."""
        self.taken = False
        self.wake = threading.Lock()
        self.wake.acquire()


class Convoy:
    """Who comes while nobody is on the way goes at once and alone. Who comes meanwhile waits; when the one
    on the way is back, the first of them carries all that wait.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._waiting: list[Passenger] = []
        self._under_way = False

    def run(self, call: Call[T]) -> T:
        """Run one call. Raises what `Transport.run` does."""
        packed = call.packed()
        if len(packed) > _MOST_BYTES:
            return self._transport.run(call)
        passenger = None
        with self._lock:
            if self._under_way:
                passenger = Passenger(call, packed)
                self._waiting.append(passenger)
            self._under_way = True
        if passenger is None:
            try:
                return self._transport.run(call)
            finally:
                self._pass_on()
        result: T = self._ride(passenger)
        return result

    def _ride(self, mine: Passenger) -> Any:
        try:
            # The time is for the case that a thread ended in the middle of this: nobody may hang for it.
            if not mine.wake.acquire(timeout=self._transport.endpoint.timeout_s + _GRACE_S):
                self._give_up(mine)
            elif mine.steers:
                self._carry(mine)
        finally:
            if not mine.taken:
                self._forget(mine)
            if mine.steers:
                self._pass_on()
        return self._outcome(mine)

    def _outcome(self, mine: Passenger) -> Any:
        call, reply, name = mine.call, mine.reply, mine.call.script.name
        if reply is _ALONE:
            return self._transport.run(call)
        counts = self._transport.counts
        counts.calls[name] += 1
        if isinstance(reply, BaseException):
            counts.failures[name] += 1
            if isinstance(reply, theirs.ResponseError):
                raise refused(reply, call.script) from reply
            raise lost(self._transport.endpoint, reply, name) from reply  # type: ignore[arg-type]
        return call.read(reply)

    def _pass_on(self) -> None:
        """Back from the way: it is the turn of the first that waits, if any does."""
        with self._lock:
            first = next((one for one in self._waiting if not one.steers), None)
            self._under_way = bool(self._waiting)
            if first is not None:
                first.steers = True
        if first is not None:
            first.wake.release()

    def _forget(self, mine: Passenger) -> None:
        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)

    def _give_up(self, mine: Passenger) -> None:
        with self._lock:
            if mine.taken:
                mine.reply = TimeoutError("the thread that carried it did not come back")
            elif not mine.steers:
                self._under_way = False

    def _carry(self, mine: Passenger) -> None:
        with self._lock:
            others = [one for one in self._waiting if not one.steers]
            crew = [mine, *others[: _MOST_CALLS - 1]]
            for passenger in crew:
                passenger.taken = True
            self._waiting = [one for one in self._waiting if not one.taken]
        try:
            self._exchange(crew)
        finally:
            for passenger in crew[1:]:
                passenger.wake.release()

    def _exchange(self, crew: list[Passenger]) -> None:
        transport = self._transport
        try:
            connection = transport._take()
        except RedisUnavailable:
            return  # each of them finds that out for itself
        try:
            names = "+".join(passenger.call.script.name for passenger in crew) if fault.at else ""
            if fault.at:
                fault.at("before", names)
            for passenger in crew:
                passenger.reply = LostReply("the thread that carried it was interrupted")
            packet = b"".join(passenger.packed for passenger in crew)  # else each is a system call
            connection.send_packed_command([packet], check_health=False)
            if fault.at:
                fault.at("sent", names)
            for n, passenger in enumerate(crew):
                try:
                    passenger.reply = connection.read_response(disable_decoding=True)
                except (theirs.NoScriptError, theirs.ReadOnlyError):
                    passenger.reply = _ALONE
                except theirs.ResponseError as error:
                    passenger.reply = error
                except CONNECTION as error:
                    passenger.reply = error
                    for other in crew[n + 1 :]:
                        other.reply = theirs.ConnectionError(str(error))
                    connection.disconnect()
                    break
            if fault.at:
                fault.at("after", names)
        except CONNECTION as error:
            connection.disconnect()
            for passenger in crew:
                passenger.reply = error
        except BaseException:
            connection.disconnect()
            raise
        finally:
            transport._give(connection)
