"""The line between the supervisor and one process: a JSON object a line, both ways.

When the other end has died, however, its line is closed. So no process outlives its supervisor unnoticed,
on systems without PR_SET_PDEATHSIG as well.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

_MOST = 1_000_000


class Line:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._heard = b""
        self._lock = threading.Lock()
        self.closed = False

    @classmethod
    def pair(cls) -> tuple[Line, Line]:
        one, other = socket.socketpair()
        return cls(one), cls(other)

    def fileno(self) -> int:
        return self._socket.fileno()

    def set_blocking(self, blocking: bool) -> None:
        self._socket.setblocking(blocking)

    def set_inheritable(self) -> None:
        """Let a program that takes this process's place have it."""
        self._socket.set_inheritable(True)

    @classmethod
    def inherited(cls, fd: int) -> Line:
        """What `set_inheritable` has let through."""
        end = socket.socket(fileno=fd)
        end.set_inheritable(False)
        return cls(end)

    def say(self, **fields: Any) -> bool:
        """Send one object; False if nobody hears it any more, or does not listen."""
        text = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                self._socket.sendall(text)
        except OSError:
            return False
        return True

    def hear(self) -> Iterator[dict[str, Any]]:
        """What has come; `closed` is set when nothing more will. Waits only if the line is blocking."""
        try:
            more = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            self.closed = True
        self._heard += more
        *lines, self._heard = self._heard.split(b"\n")
        if len(self._heard) > _MOST:
            self.closed = True
        for line in lines:
            try:
                word = json.loads(line)
            except ValueError:
                continue  # its head was read by the program whose place this one took
            yield word

    def close(self) -> None:
        self._socket.close()
