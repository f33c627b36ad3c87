"""Connections that were given up without an answer, and how to end them on the server too."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis import exceptions as theirs
from redis.connection import UnixDomainSocketConnection

from ..errors import RedisRefused

_MOST = 1000
"""How many are remembered: of older ones the network has long lost what it may have held back."""


class Abandoned:
    """What was sent over them may still arrive, for TCP goes on sending after the end of a connection.

    They are known by number and address: another server may have given the number to somebody else. Over a
    Unix socket, where all have one address, nothing is late, and none is named.
    """

    def __init__(self) -> None:
        self.watched = False
        """Whether `end` will be called: who never does need not ask for names."""
        self._names: deque[tuple[bytes, bytes]] = deque(maxlen=_MOST)
        self._turn = threading.Lock()

    def learn(self, connection: Any) -> None:
        """Ask a new connection for its name. Raises what redis-py does where it breaks."""
        connection.named = None
        if not self.watched or isinstance(connection, UnixDomainSocketConnection):
            return
        with suppress(theirs.ResponseError):  # this user may not ask
            connection.send_command("CLIENT", "INFO")
            words = dict(word.partition(b"=")[::2] for word in connection.read_response().split())
            if b"id" in words and b"addr" in words:
                connection.named = words[b"id"], words[b"addr"]

    def add(self, connection: Any) -> None:
        """Give a connection up."""
        connection.disconnect()
        if getattr(connection, "named", None):
            self._names.append(connection.named)

    def end(self, command: Callable[..., Any]) -> None:
        """Nothing that was sent over them is carried out after this. Raises RedisError: to be tried again.

        Each capsule calls it when Redis is back, and waits until what another one ends is ended.
        """
        with self._turn:
            while self._names:
                name = self._names.popleft()
                try:
                    command("CLIENT", "KILL", "ID", name[0], "ADDR", name[1])
                except RedisRefused as error:
                    # A server that is busy with a script may be asked again; else this user may not.
                    if "BUSY" in str(error):
                        self._names.append(name)
                        raise
                except BaseException:
                    self._names.append(name)
                    raise
