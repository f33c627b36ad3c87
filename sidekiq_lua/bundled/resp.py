"""Just enough of the Redis protocol to ask a server whether it is there and to end it.

redis-py would cost the supervising process 15 MB and a library client 100 ms before its first line.
"""

from __future__ import annotations

import enum
import select
import socket
from types import TracebackType
from urllib.parse import unquote, urlsplit

OWN_NAME = "sidekiq-lua-server"
"""The client name of connections that only look after the server; no client in the sense of its idleness."""


class ErrorReply(Exception):
    """The server answered with an error; the text is the server's own."""


class Answer(enum.Enum):
    """What came back when a server was asked for a sign of life."""

    READY = "ready"
    LOADING = "loading"
    REFUSED = "refused"
    SILENT = "silent"
    ABSENT = "absent"


class Link:
    """One connection. Raises OSError where the connection fails and ErrorReply where the server says no."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(timeout_s)
            try:
                self._socket.connect(unquote(parts.path))
            except BaseException:
                self._socket.close()
                raise
        else:
            address = (parts.hostname or "localhost", parts.port or 6379)
            self._socket = socket.create_connection(address, timeout_s)
        self._reader = self._socket.makefile("rb")
        if parts.password:
            try:
                self.call("AUTH", unquote(parts.password))
            except BaseException:
                self.close()
                raise

    def call(self, *words: str) -> str:
        """Send one command and return its reply, a simple string, an integer or a bulk string, as text."""
        packed = [f"*{len(words)}\r\n".encode()]
        for word in words:
            raw = word.encode()
            packed.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
        self._socket.sendall(b"".join(packed))
        return self._reply()

    def shutdown(self) -> None:
        """Ask for an orderly end, and return when the server has hung up."""
        try:
            self.call("SHUTDOWN")
        except ConnectionError:
            return  # hanging up is how a server says yes to SHUTDOWN

    def hung_up_within(self, seconds: float) -> bool:
        """Wait, and end early if the server closes the connection."""
        readable, _, _ = select.select([self._socket], [], [], seconds)
        return bool(readable)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reply(self) -> str:
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the server closed the connection")
        kind, text = line[:1], line[1:-2].decode("utf-8", "replace")
        if kind == b"-":
            raise ErrorReply(text)
        if kind in (b"+", b":"):
            return text
        if kind == b"$" and text.isdigit():
            body = self._reader.read(int(text) + 2)
            if len(body) < int(text) + 2:
                raise ConnectionResetError("the server closed the connection")
            return body[:-2].decode("utf-8", "replace")
        raise ConnectionAbortedError("whatever listens there does not speak the Redis protocol")


def ask(url: str, timeout_s: float) -> Answer:
    """PING the server at `url`; every failure is an answer here, never an exception."""
    try:
        with Link(url, timeout_s) as link:
            link.call("PING")
    except ErrorReply as error:
        return Answer.LOADING if str(error).startswith("LOADING") else Answer.REFUSED
    except (TimeoutError, BlockingIOError):  # the latter: a Unix socket whose backlog is full
        return Answer.SILENT
    except OSError:
        return Answer.ABSENT
    return Answer.READY


def info(link: Link, *sections: str) -> dict[str, str]:
    """The fields of INFO; both servers take several sections in one call since 7.0."""
    lines = link.call("INFO", *sections).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
