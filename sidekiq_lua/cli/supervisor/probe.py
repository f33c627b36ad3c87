"""The supervisor's HTTP answers to probes: no threads, since a process that forks should have none."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ...clock import monotonic
from ...errors import ConfigurationError
from .errands import Errands, Page

Answer = tuple[int, Mapping[str, Any]]
"""HTTP status, and what the body's JSON holds."""

_PATIENCE_S = 5.0
_AT_ONCE = 16
_LONGEST_HEAD = 8192
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


@dataclass(eq=False)
class _Visit:
    socket: socket.socket
    until: float = field(default_factory=lambda: monotonic() + _PATIENCE_S)
    heard: bytes = b""


class Probe:
    """Answers GET and HEAD for the paths of `routes` on HOST:PORT, whenever `serve` is called.

    Raises ConfigurationError where nothing can listen there. `errands` answers for paths of its own. `fd`: a
    socket that listens already.
    """

    def __init__(
        self, address: str, routes: Mapping[str, Callable[[], Answer]], errands: Errands,
        fd: int | None = None,
    ) -> None:  # fmt: skip
        self._routes = routes
        self._errands = errands
        self._visits: dict[int, _Visit] = {}
        host, _, port = address.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        if fd is not None:
            self._listener = socket.socket(fileno=fd)
            self._listener.set_inheritable(False)
        else:
            try:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                self._listener = socket.create_server((host, int(port)), family=family, backlog=_AT_ONCE)
            except (OSError, ValueError, OverflowError) as error:
                why = error.strerror if isinstance(error, OSError) and error.strerror else error
                raise ConfigurationError(
                    f"health: nothing can listen on {address}: {why}; choose another HOST:PORT"
                ) from None
        self._listener.setblocking(False)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._listener.getsockname()[1]}"

    @property
    def pids(self) -> set[int]:
        """Processes that answer for this one."""
        return self._errands.under_way

    def filenos(self) -> list[int]:
        """What to watch for something to read: nobody new while there are as many as can be served."""
        door = [self._listener.fileno()] if len(self._visits) < _AT_ONCE else []
        return [*door, *self._visits]

    def leave_listening(self) -> int:
        """Let a program that takes this process's place go on with the socket; answers its number."""
        self._listener.set_inheritable(True)
        return self._listener.fileno()

    def close(self) -> None:
        for visit in self._visits.values():
            visit.socket.close()
        self._visits.clear()
        self._listener.close()

    def serve(self) -> None:
        """Take who has come, answer who has asked, and send away who only waits."""
        self._errands.bury()
        while len(self._visits) < _AT_ONCE:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                break
            visitor.setblocking(False)
            self._visits[visitor.fileno()] = _Visit(visitor)
        for fd, visit in list(self._visits.items()):
            if self._hear(visit) or monotonic() > visit.until:
                visit.socket.close()
                del self._visits[fd]

    def _hear(self, visit: _Visit) -> bool:
        """Whether this visit is over."""
        try:
            more = visit.socket.recv(_LONGEST_HEAD)
        except BlockingIOError:
            return False
        except OSError:
            return True
        visit.heard += more
        if b"\r\n\r\n" not in visit.heard and b"\n\n" not in visit.heard:
            return not more or len(visit.heard) > _LONGEST_HEAD
        method, _, rest = visit.heard.partition(b"\n")[0].decode("latin-1").strip().partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        write = partial(_http, with_body=method != "HEAD")
        fields: Mapping[str, Any]
        if method not in ("GET", "HEAD"):
            status, fields = 405, {"status": "only GET and HEAD are answered"}
        elif path in self._routes:
            status, fields = self._routes[path]()
        elif path not in self._errands.routes:
            status, fields = (
                404,
                {"status": "not found", "paths": sorted({*self._routes, *self._errands.routes})},
            )
        elif self._errands.go(path, visit.socket, write):
            return True
        else:
            status, fields = 503, {"status": "too many ask at once"}
        try:
            visit.socket.sendall(write((status, "application/json", json.dumps(fields).encode() + b"\n")))
            visit.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return True  # who asked has gone
        return True


def _http(page: Page, with_body: bool) -> bytes:
    status, kind, body = page
    head = (
        f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode()
    return head + body if with_body else head


def wait_for(filenos: list[int], seconds: float) -> set[int]:
    """Which of these can be read, within so many seconds."""
    poll = select.poll()
    for fd in filenos:
        poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(max(seconds, 0) * 1000)}
