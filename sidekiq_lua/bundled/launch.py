"""Bringing the server and its supervising process to life, detached from whoever asks for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from ..errors import BundledServerError
from .binary import Binary
from .home import Home, State

LOG_LIMIT_BYTES = 1_000_000

_CONF = """\
# Written anew at every start of the bundled server.
{listen}
daemonize no
dir {data}
logfile {log}
always-show-logo no
appendonly yes
appendfsync everysec
# Commands, not an RDB image at the head of the file: whichever of Redis and Valkey starts next can read it.
aof-use-rdb-preamble no
save ""
maxmemory-policy noeviction
"""


def launch(home: Home, binary: Binary, idle_timeout_s: float) -> int:
    """Hand the locks to a new supervisor and server; answers where their part of the log begins.

    Returns before the server answers. That it has died shows in the locks: nobody holds them any more.
    """
    if home.log.exists() and home.log.stat().st_size > LOG_LIMIT_BYTES:
        home.log.replace(home.log.with_suffix(".log.1"))
    home.log.touch(0o600)
    log_end = home.log.stat().st_size
    url, listen = _address(home)
    conf = _CONF.format(listen=listen, data=_quoted(home.data), log=_quoted(home.log))
    home.write_private(home.conf, os.fsencode(conf))
    # Before the server lives: should its starter die now, the next one still finds it.
    home.write(State(url, None, None, None, idle_timeout_s))
    watch_fd, server_fd = home.take("watch"), home.take("server")
    try:
        if watch_fd is not None and server_fd is not None:
            _supervise(home, idle_timeout_s, watch_fd, server_fd, str(binary.path))
    finally:
        _close(watch_fd, server_fd)
    return log_end


def adopt(home: Home, idle_timeout_s: float) -> None:
    """Give a running server a supervisor, if it has none: its own was killed."""
    watch_fd = home.take("watch")
    try:
        if watch_fd is not None:
            _supervise(home, idle_timeout_s, watch_fd)
    finally:
        _close(watch_fd)


def _supervise(
    home: Home, idle_timeout_s: float, watch_fd: int, server_fd: int | None = None, binary: str = ""
) -> None:
    if not sys.executable:
        raise BundledServerError("this Python does not know its own executable; set REDIS_URL")
    fds = [watch_fd] if server_fd is None else [watch_fd, server_fd]
    words = [
        str(home.path),
        str(idle_timeout_s),
        str(watch_fd),
        str(-1 if server_fd is None else server_fd),
        binary,
    ]
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    with home.log.open("ab") as log:
        subprocess.run(
            # Without site-packages (-S) and without the current directory (-P): small, and safe from a
            # file there that is named like one of the standard library.
            [sys.executable, "-S", "-P", "-m", "sidekiq_lua.bundled.supervise", *words],
            cwd=home.path,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(paths)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=fds,
            start_new_session=True,
            check=False,  # the locks tell, and the log has the reason
        )


def _close(*fds: int | None) -> None:
    # Not unlocked: whoever inherited them goes on holding the locks.
    for fd in fds:
        if fd is not None:
            os.close(fd)


def _address(home: Home) -> tuple[str, str]:
    """The URL, and the lines of the configuration that make the server listen there."""
    url = home.socket_url()
    if url is not None:
        return url, f"port 0\nunixsocket {_quoted(home.socket)}\nunixsocketperm 700"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password = os.urandom(24).hex()
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    return url, f"bind 127.0.0.1\nport {port}\nrequirepass {password}"


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
