"""The directory of the bundled server: its paths, its state file and the locks that keep it single.

Three locks, each an flock on a file of that name, so that the kernel lets go of them when a holder dies:

- `start.lock`: whoever decides that a server starts or ends, while deciding. Also guards `server.json`.
- `server.lock`: the server itself, which inherits it. Free means that no server writes to `data/`.
- `watch.lock`: the supervising process, for as long as it lives.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from ..clock import monotonic
from ..errors import BundledServerError

if sys.platform != "win32":
    import fcntl

SOCKET_PATH_BYTES = 103
"""The longest path that every supported system takes: macOS has 104 bytes for it with the final zero."""

STEP_S = 0.02


class State(NamedTuple):
    """What `server.json` says; `pid` is None until the server has answered for the first time."""

    url: str
    pid: int | None
    version: str | None
    started_at: int | None
    idle_timeout_s: float


class Home:
    """Paths and locks under one directory. Creates nothing before `prepare`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data"
        self.log = path / "server.log"
        self.conf = path / "server.conf"
        self.state = path / "server.json"
        self.socket = path / "server.sock"

    def url(self) -> str | None:
        """Where the server listens: on its Unix socket, else where the state file says."""
        socket_url = self.socket_url()
        state = None if socket_url else self.read()
        return state.url if state else socket_url

    def socket_url(self) -> str | None:
        """The URL of the Unix socket, None where the path is too long for one."""
        if len(os.fsencode(self.socket)) > SOCKET_PATH_BYTES:
            return None
        return f"unix://{quote(os.fsencode(self.socket))}"

    def prepare(self) -> None:
        """Create the directories for this user alone; raises BundledServerError where that is impossible."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            about = self.path.stat()
            if about.st_uid != os.geteuid():
                raise BundledServerError(f"{self.path} belongs to another user; set SIDEKIQ_LUA_HOME")
            if about.st_mode & 0o022:
                raise BundledServerError(f"{self.path} is writable by others; run: chmod 700 {self.path}")
            self.data.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise BundledServerError(f"the bundled server cannot use {self.path}: {error}") from error

    def read(self) -> State | None:
        """The state file; one that is missing or makes no sense counts as none."""
        try:
            found = json.loads(self.state.read_text())
            return State(**found)
        except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError, TypeError):
            return None

    def write(self, state: State) -> None:
        """Replace the state file as a whole, readable by this user alone: a TCP URL holds a password."""
        self.write_private(self.state, (json.dumps(state._asdict(), indent=2) + "\n").encode())

    def write_private(self, path: Path, content: bytes) -> None:
        """Put a file in its place in one move, mode 0600."""
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        draft.replace(path)

    def forget(self) -> None:
        """Remove the state file."""
        self.state.unlink(missing_ok=True)

    def take(self, name: str) -> int | None:
        """Take the lock `name` and return its descriptor, or None where somebody holds it."""
        return self._lock(name, fcntl.LOCK_EX)

    def free(self, *names: str) -> bool:
        """Whether nobody holds any of the locks."""
        for name in names:
            # Shared, so that two who only look do not mistake each other for a holder.
            fd = self._lock(name, fcntl.LOCK_SH)
            if fd is None:
                return False
            os.close(fd)
        return True

    def _lock(self, name: str, how: int) -> int | None:
        path = self.path / f"{name}.lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise BundledServerError(f"the bundled server cannot use {path}: {error}") from error
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError as error:
            os.close(fd)
            raise BundledServerError(f"the bundled server cannot lock {path}: {error}") from error
        return fd

    @contextmanager
    def deciding(self, patience_s: float) -> Iterator[None]:
        """Hold `start.lock`; raises BundledServerError if others hold it for longer than `patience_s`."""
        taken: list[int] = []

        def try_once() -> bool:
            fd = self.take("start")
            taken.extend([] if fd is None else [fd])
            return fd is not None

        if not wait_until(try_once, patience_s):
            raise BundledServerError(
                f"another process has been starting or stopping the bundled server in {self.path}"
                f" for over {patience_s:g} seconds"
            )
        try:
            yield
        finally:
            # Unlocked by name: a fork meanwhile has a copy of the descriptor, and closing ours is not enough.
            fcntl.flock(taken[0], fcntl.LOCK_UN)
            os.close(taken[0])


def home_path(environ: Mapping[str, str]) -> Path:
    """SIDEKIQ_LUA_HOME, else `~/.sidekiq-lua`, absolute."""
    named = environ.get("SIDEKIQ_LUA_HOME")
    try:
        path = Path(named).expanduser() if named else Path.home() / ".sidekiq-lua"
    except RuntimeError as error:
        raise BundledServerError(f"no home directory: {error}; set SIDEKIQ_LUA_HOME") from error
    return path.absolute()


def wait_until(condition: Callable[[], bool], patience_s: float) -> bool:
    """Try every 20 ms, at least once; False if it never came true."""
    deadline = monotonic() + patience_s
    while not condition():
        if monotonic() >= deadline:
            return False
        time.sleep(STEP_S)
    return True
