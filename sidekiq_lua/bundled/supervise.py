"""The process that owns the bundled server: spawns it, and ends it when nobody has used it for a while.

Run as `python -m sidekiq_lua.bundled.supervise HOME IDLE_TIMEOUT_S WATCH_FD SERVER_FD BINARY`, with the
two locks taken by the starter and inherited here. With SERVER_FD -1 it adopts a server that runs already
and has lost its supervisor. The URL comes from `server.json`, for it may hold a password and `ps` shows
arguments.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from .home import Home, wait_until
from .resp import OWN_NAME, ErrorReply, Link, info

TIMEOUT_S = 5.0


class Supervisor:
    """Looks at the server every `step_s` seconds over one connection, which it does not count."""

    def __init__(self, home: Home, url: str, idle_timeout_s: float, child: int | None) -> None:
        self._home = home
        self._url = url
        self._idle_timeout_s = idle_timeout_s
        self._step_s = min(30.0, idle_timeout_s / 4)
        self._child = child
        self._connections = ""

    def run(self) -> None:
        """Return when the server has ended, by this process's will or not."""
        idle_s = 0.0
        link = self._connect()
        while link is not None:
            if link.hung_up_within(self._step_s):
                link.close()
                link = self._connect()
                continue
            try:
                idle_s = 0.0 if self._used(link) else idle_s + self._step_s
                if idle_s >= self._idle_timeout_s:
                    if self._retire(link):
                        link.close()
                        return
                    idle_s = 0.0
            except (OSError, ErrorReply) as error:
                # A stopped process or a full client table: no reason to end, and the next look tells more.
                note(f"looking after the server failed: {error}")
                idle_s = 0.0
                link.close()
                link = self._connect()

    def _connect(self) -> Link | None:
        """A connection, as soon as the server takes one; None once it has ended."""
        pause_s = 0.02
        while not self._ended():
            try:
                return self._greet(Link(self._url, TIMEOUT_S))
            except (OSError, ErrorReply):
                if self._child is not None and self._deleted():
                    os.kill(self._child, signal.SIGTERM)
                time.sleep(pause_s)
                pause_s = min(1.0, pause_s * 2)
        return None

    def _greet(self, link: Link) -> Link:
        try:
            link.call("CLIENT", "SETNAME", OWN_NAME)
        except BaseException:
            link.close()
            raise
        return link

    def _ended(self) -> bool:
        if self._child is None:
            return self._deleted() or self._home.free("server")
        pid, status = os.waitpid(self._child, os.WNOHANG)
        if pid and status:
            code = os.waitstatus_to_exitcode(status)
            note(f"the server ended with {code}")
        return bool(pid)

    def _deleted(self) -> bool:
        """Whether somebody has deleted the home: no new client can find this server."""
        return not self._home.path.is_dir()

    def _used(self, link: Link) -> bool:
        """Whether anybody but this process is, or since the last look has been, connected."""
        now = info(link, "clients", "stats")
        connections, before = now["total_connections_received"], self._connections
        self._connections = connections
        return int(now["connected_clients"]) > 1 or connections != before

    def _retire(self, link: Link) -> bool:
        """End the server, unless somebody is starting one or has come meanwhile."""
        if self._deleted():
            self._finish(link)
            return True
        lock = self._home.take("start")
        if lock is None:
            return False
        try:
            if self._used(link):
                return False
            pid = int(info(link, "server")["process_id"])
            self._finish(link)
            wait_until(lambda: self._home.free("server"), TIMEOUT_S)
            state = self._home.read()
            # Somebody may have deleted the directory and begun a new server in its place.
            if state is not None and state.pid == pid:
                self._home.forget()
            return True
        finally:
            os.close(lock)

    def _finish(self, link: Link) -> None:
        link.shutdown()
        if self._child is not None:
            os.waitpid(self._child, 0)


def note(text: str) -> None:
    """A line for server.log, which is where the starter has pointed the standard error."""
    sys.stderr.write(f"sidekiq-lua: {text}\n")
    sys.stderr.flush()


def spawn(binary: str, conf: Path, lock: int) -> int:
    """Start the server so that it keeps `lock` for its whole life, and let go of it here."""
    # An LC_ALL that this machine does not have makes Redis 7 refuse to start.
    environ = dict(os.environ, LC_ALL="C")
    os.set_inheritable(lock, True)
    child = os.posix_spawn(binary, [binary, str(conf)], environ, setsigmask=[])
    os.close(lock)
    return child


def main(argv: list[str]) -> None:
    path, idle_timeout_s, watch_fd, server_fd, binary = argv
    # Forked once more, so that the starter can wait for its child and is never left with a zombie.
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.set_inheritable(int(watch_fd), False)
    home = Home(Path(path))
    url = home.url()
    if url is None:
        note(f"no address in {home.state}")
        return
    child = spawn(binary, home.conf, int(server_fd)) if int(server_fd) >= 0 else None

    def end(number: int, frame: FrameType | None) -> None:
        state = home.read()
        pid = child or (state.pid if state else None)
        if pid:
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    Supervisor(home, url, float(idle_timeout_s), child).run()


if __name__ == "__main__":
    main(sys.argv[1:])
