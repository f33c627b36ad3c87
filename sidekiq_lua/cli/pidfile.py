"""`--pidfile`: one process at a time holds the file, by a lock that its death releases."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ..errors import ConfigurationError


class PidFile:
    """Holds `path` until `release`. Raises ConfigurationError where a live process holds it, or it cannot be.

    The lock tells who lives, not the number in the file, which after a crash may be another process's. What
    is forked lets go of it: a job's processes may outlive a worker that was killed.
    """

    def __init__(self, path: str | Path, fd: int | None = None) -> None:
        self._path = Path(path).absolute()
        self._owner = os.getpid()
        self.fd = self._take() if fd is None else self._keep(fd)
        """`fd`: held already, by this process before it became what it is now (exec)."""
        os.set_inheritable(self.fd, False)
        os.register_at_fork(after_in_child=self._let_go)

    def _keep(self, fd: int) -> int:
        if self._is_there(fd):
            return fd
        # The path leads to another release by now, where whoever reads the file will look for it.
        try:
            new = self._take()
        except ConfigurationError:
            return fd
        os.close(fd)
        return new

    def _take(self) -> int:
        while True:
            try:
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise ConfigurationError(
                    f"--pidfile {self._path}: {error.strerror or error}; name a file in a "
                    "directory that exists and may be written to"
                ) from None
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(fd)
                raise ConfigurationError(
                    f"--pidfile {self._path}: held by a worker that runs, pid {holder}; stop it first, "
                    "or name another file"
                ) from None
            if self._is_there(fd):
                self._write(fd)
                return fd
            os.close(fd)  # its last holder has just removed it

    def _write(self, fd: int) -> None:
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{self._owner}\n".encode(), 0)
        except OSError as error:
            os.close(fd)
            raise ConfigurationError(
                f"--pidfile {self._path}: {error.strerror or error}; it cannot be written"
            ) from None

    def _is_there(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self._path.stat())
        except OSError:  # it is gone, or a directory on the way to it is closed to us
            return False

    def release(self) -> None:
        """Remove the file, if it is still this process's; empty it where that is not allowed."""
        if os.getpid() != self._owner:
            return
        if self._is_there(self.fd):
            try:
                self._path.unlink(missing_ok=True)
            except OSError:  # it was made for this user, in a directory of another one
                os.ftruncate(self.fd, 0)
        self._let_go()

    def _let_go(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
