"""Starting, finding and stopping the bundled server."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from ..clock import monotonic
from ..errors import BundledServerError
from .binary import find_binary
from .home import STEP_S, Home, State, home_path, wait_until
from .launch import adopt, launch
from .resp import OWN_NAME, Answer, ErrorReply, Link, ask, info

PATIENCE_S = 60.0
PING_TIMEOUT_S = 1.0


class Status(NamedTuple):
    """What is known of the bundled server. `clients` counts connections, but for our own to look after it."""

    running: bool
    url: str | None
    pid: int | None
    version: str | None
    started_at: int | None
    clients: int | None
    home: Path
    data: Path
    log: Path


def refuse_in_production(environment: str) -> None:
    """Raises BundledServerError where `environment` is production."""
    if environment == "production":
        raise BundledServerError(
            "the bundled server is refused in production; set REDIS_URL to the Redis or Valkey server to use"
        )


class BundledServer:
    """One server for all processes of this user that share `home`.

    `home` defaults to SIDEKIQ_LUA_HOME, else `~/.sidekiq-lua`. The server outlives its starter and stops
    by itself after `idle_timeout_s` seconds without clients; of several starters, the first one's counts.
    """

    def __init__(self, home: Path | None = None, idle_timeout_s: float = 600) -> None:
        self.idle_timeout_s = idle_timeout_s
        self._home = Home((home or home_path(os.environ)).absolute())

    @property
    def home(self) -> Path:
        return self._home.path

    @property
    def data(self) -> Path:
        """Where the append-only file is."""
        return self._home.data

    @property
    def log(self) -> Path:
        return self._home.log

    def running(self, wait_s: float = 0) -> str | None:
        """The URL, if the server answers a PING now; else None, whatever the state file says.

        With `wait_s`, a server that somebody is just starting is waited for; raises BundledServerError if
        that takes longer. Never starts one.
        """
        if sys.platform == "win32":
            return None
        found = self._answering()
        if found or not wait_s or not os.access(self.home, os.W_OK | os.X_OK):
            return found
        with self._home.deciding(wait_s):
            return self._answering()

    def start(self) -> str:
        """The URL of the server, which is started if need be.

        Raises BundledServerError if no server binary is here, if the home directory is unfit, on Windows,
        and with the end of `server.log` if the server dies.
        """
        _refuse_on_windows()
        self._home.prepare()
        with self._home.deciding(PATIENCE_S):
            return self._start()

    def stop(self) -> bool:
        """End the server in order; True when it is gone, False if none ran.

        Raises BundledServerError if it refuses (a full disk, say) or is still there after 60 seconds.
        """
        _refuse_on_windows()
        if not self.home.is_dir():
            return False
        with self._home.deciding(PATIENCE_S):
            ran = not self._home.free("server")
            if ran:
                self._end()
            self._home.forget()
            return ran

    def status(self) -> Status:
        """A snapshot; all but the paths is None where no server answers."""
        places = (self.home, self.data, self.log)
        nothing = Status(False, None, None, None, None, None, *places)
        url = self.running()
        if url is None:
            return nothing
        try:
            with Link(url, PING_TIMEOUT_S) as link:
                link.call("CLIENT", "SETNAME", OWN_NAME)
                about = _about(url, self.idle_timeout_s, link)
                clients = link.call("CLIENT", "LIST").splitlines()
        except (OSError, ErrorReply):
            return nothing  # it went away between the two questions
        others = [client for client in clients if f" name={OWN_NAME} " not in client]
        return Status(True, url, about.pid, about.version, about.started_at, len(others), *places)

    def _answering(self) -> str | None:
        url = self._home.url()
        return url if url and ask(url, PING_TIMEOUT_S) is Answer.READY else None

    # -- with start.lock held -------------------------------------------------------------

    def _start(self) -> str:
        deadline = monotonic() + PATIENCE_S
        log_end: int | None = None
        while True:
            url = self._home.url()
            answer = ask(url, PING_TIMEOUT_S) if url else Answer.ABSENT
            if url and answer is Answer.READY:
                return self._register(url)
            # While it loads, it is at work on its data, however long that takes.
            if answer is Answer.LOADING:
                deadline = monotonic() + PATIENCE_S
            elif self._home.free("server", "watch"):
                if log_end is not None:
                    raise BundledServerError(f"the bundled server died; {self._log_tail(log_end)}")
                log_end = launch(self._home, find_binary(), self.idle_timeout_s)
            elif monotonic() > deadline:
                raise BundledServerError(
                    f"the bundled server in {self.home} runs but has not answered for {PATIENCE_S:g} seconds"
                    f"; see {self.log}, and end it by hand"
                )
            time.sleep(STEP_S)

    def _register(self, url: str) -> str:
        """Write down what answers, and see that it has a supervisor."""
        known = self._home.read()
        idle_timeout_s = known.idle_timeout_s if known else self.idle_timeout_s
        with Link(url, PATIENCE_S) as link:
            self._home.write(_about(url, idle_timeout_s, link))
        adopt(self._home, idle_timeout_s)
        return url

    def _end(self) -> None:
        url = self._home.url()
        try:
            if url is None:
                raise ConnectionError("its address is lost")
            with Link(url, PATIENCE_S) as link:
                link.shutdown()
        except ErrorReply as error:
            raise BundledServerError(f"the bundled server will not stop: {error}; see {self.log}") from error
        except OSError as error:
            raise BundledServerError(
                f"the bundled server in {self.home} cannot be reached: {error}; end it by hand"
            ) from error
        if not wait_until(lambda: self._home.free("server", "watch"), PATIENCE_S):
            raise BundledServerError(f"the bundled server is still there after {PATIENCE_S:g} seconds")

    def _log_tail(self, start: int) -> str:
        with self.log.open("rb") as file:
            file.seek(start)
            lines = deque(file.read().decode("utf-8", "replace").splitlines(), maxlen=6)
        return "\n".join([f"the end of {self.log}:", *lines])


def _about(url: str, idle_timeout_s: float, link: Link) -> State:
    fields = info(link, "server")
    name, version = "Redis", fields["redis_version"]
    if "valkey_version" in fields:
        name, version = "Valkey", fields["valkey_version"]
    started_at = int(fields["server_time_usec"]) // 1_000_000 - int(fields["uptime_in_seconds"])
    return State(url, int(fields["process_id"]), f"{name} {version}", started_at, idle_timeout_s)


def _refuse_on_windows() -> None:
    if sys.platform == "win32":
        raise BundledServerError("the bundled server needs Linux or macOS; set REDIS_URL on Windows")
