"""A blocking move: the connection on which a process waits for a job of one queue."""

from __future__ import annotations

from typing import Any

from redis import exceptions as theirs

from ..clock import monotonic
from ..errors import RedisUnavailable
from . import fault
from .endpoint import Endpoint
from .failures import CONNECTION, denied, lost, unavailable
from .running import Running

_GRACE_S = 3.0
"""How much later than its own time-out a server may answer before the connection counts as dead."""


class BlockingMove:
    """BLMOVE from `queue:NAME` to a running list, armed by one thread and read when its socket is readable.

    The server ends it after `timeout_s`, so that a job pushed much later can never reach the list of an
    owner that was forgotten meanwhile.
    """

    def __init__(self, endpoint: Endpoint, queue: str, timeout_s: float) -> None:
        self.queue = queue
        self.client_id = 0
        self.armed = False
        self.running: Running
        """Where the move, once armed, puts the job."""
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self.deadline = 0.0
        """When, by the monotonic clock, the server should have answered: the connection is dead then."""
        self._connection: Any = None

    def arm(self, running: Running) -> bool:
        """Send the move; whether that is on a new connection. Raises RedisUnavailable."""
        before = self._connection
        try:
            connection = self._connected()
        except theirs.RedisError as error:
            raise unavailable(self._endpoint, error) from error
        if fault.at:
            fault.at("before", "BLMOVE")
        try:
            connection.send_packed_command(
                [running.blocking_move(self.queue, self._timeout_s)], check_health=False
            )
        except CONNECTION as error:
            self.close()
            raise lost(self._endpoint, error, "BLMOVE") from error
        if fault.at:
            fault.at("sent", "BLMOVE")
        self.armed = True
        self.running = running
        self.deadline = monotonic() + self._timeout_s + _GRACE_S
        return connection is not before

    def _connected(self) -> Any:
        if self._connection is None or not self._connection.is_connected:
            self.close()
            self._connection = self._endpoint.connect(blocking_s=_GRACE_S)
            self._connection.connect()
            self._connection.send_command("CLIENT", "ID")
            self.client_id = self._connection.read_response()
        return self._connection

    def fileno(self) -> int:
        """The socket, for a selector."""
        sock: Any = self._connection._sock if self._connection else None
        return sock.fileno() if sock else -1

    def read(self) -> bytes | None:
        """The job, or None when the server's time-out has come.

        Raises RedisRefused for an error reply, and LostReply when the connection broke: the job of a
        lost reply is in the running list.
        """
        assert self._connection is not None
        self.armed = False
        try:
            reply: bytes | None = self._connection.read_response(disable_decoding=True)
        except CONNECTION as error:
            self.close()
            raise lost(self._endpoint, error, "BLMOVE") from error
        except theirs.RedisError as error:
            raise denied(error, f"BLMOVE for queue {self.queue}") from error
        if fault.at:
            fault.at("after", "BLMOVE")
        return reply

    def gave_up(self) -> RedisUnavailable:
        """The error that an overdue answer is."""
        return lost(self._endpoint, TimeoutError("no answer in time"), "BLMOVE")

    def close(self) -> None:
        """Drop the connection; the server may still carry out the move until it notices."""
        self.armed = False
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None
