"""Answers that may take a while, such as figures read from Redis: each from a process forked for it alone."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping

Page = tuple[int, str, bytes]
"""HTTP status, content type and body."""

_AT_ONCE = 4
_LONGEST_S = 10


class Errands:
    """Serves `routes`. `leave` is called in the new process first: it lets go of what is the supervisor's.

    The supervisor goes on at once, so neither Redis nor an answer that hangs can hold it up; a process that
    takes 10 s is ended. The calling process must have one thread. `held`: signals that are not for them.
    """

    def __init__(
        self, routes: Mapping[str, Callable[[], Page]], leave: Callable[[], None], log: logging.Logger,
        held: Iterable[str],
    ) -> None:  # fmt: skip
        self.routes = routes
        self._leave = leave
        self._log = log
        self._held = [signal.Signals[f"SIG{name}"] for name in held]
        self.under_way: set[int] = set()
        """The processes, until they are buried."""

    def go(self, path: str, visitor: socket.socket, write: Callable[[Page], bytes]) -> bool:
        """Let a visitor have the page that `write` puts into HTTP; False if too many are under way."""
        self.bury()
        if len(self.under_way) >= _AT_ONCE:
            return False
        former = signal.pthread_sigmask(signal.SIG_BLOCK, self._held)
        try:
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
            self._log.error("no process can be started for %s: %s", path, error)
            return False
        if not pid:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_LONGEST_S)
            try:
                self._run(path, visitor, write)
            finally:
                os._exit(0)
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
        self.under_way.add(pid)
        return True

    def _run(self, path: str, visitor: socket.socket, write: Callable[[Page], bytes]) -> None:
        ours = visitor.dup()
        try:
            self._leave()
            page = self.routes[path]()
        except Exception as error:
            self._log.exception("the answer to %s failed", path)
            page = 500, "text/plain", f"failed: {type(error).__name__}: {error}\n".encode()
        try:
            ours.setblocking(True)
            ours.sendall(write(page))
            ours.shutdown(socket.SHUT_WR)
        except OSError:
            self._log.debug("who asked for %s has gone", path)

    def bury(self) -> None:
        """Forget those that have ended."""
        for pid in list(self.under_way):
            try:
                ended, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # somebody's code has waited for every child there is
                ended = pid
            if ended:
                self.under_way.discard(pid)

    def end(self) -> None:
        """End those that are under way."""
        self.bury()
        for pid in self.under_way:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.under_way.clear()
