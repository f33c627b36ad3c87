"""A directory, a server and a worker for the demo alone; whatever happens, they are gone when it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JOBS = ROOT / "examples" / "indexer" / "jobs.py"
MARKER = "made-by-tools-demo"
WORKER_STOPS_WITHIN_S = 15.0


class DemoFailed(Exception):
    """It cannot go on; the message is one line for the user."""


@contextmanager
def demo_only(home: Path) -> Iterator[int]:
    """`home`, made if need be, while no other demo uses it; yields the lock that says so."""
    import fcntl

    try:
        if home.exists() and not (home / MARKER).exists() and any(home.iterdir()):
            raise DemoFailed(f"{home} has files in it that are not the demo's; name another one with --home")
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(home / MARKER, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DemoFailed(f"{home} cannot be used: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
    except BlockingIOError:
        raise DemoFailed(f"another tools/demo, or the worker of one that was killed, uses {home}") from None
    finally:
        os.close(lock)


@contextmanager
def server(home: Path) -> Iterator[None]:
    """A bundled server in `home`, empty as all else there is."""
    from sidekiq_lua.bundled import BundledServer
    from sidekiq_lua.errors import SidekiqError

    # Should this process be killed, the server ends by itself after a minute.
    bundled = BundledServer(home, idle_timeout_s=60)
    try:
        bundled.stop()
        _empty(home)
        bundled.start()
        yield
    except SidekiqError as error:
        raise DemoFailed(str(error)) from error
    finally:
        bundled.stop()


def _empty(home: Path) -> None:
    for old in home.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
        elif old.name != MARKER and old.suffix != ".lock":
            old.unlink()
    (home / ".gitignore").write_text("*\n")


def surroundings(home: Path) -> None:
    """Point this process and its children to the demo's server and index, whatever the user's shell says."""
    for name in ("REDIS_PROVIDER", "APP_ENV", "RAILS_MAX_THREADS"):
        os.environ.pop(name, None)
    os.environ.update(settings(home), SIDEKIQ_ENV="development")


def settings(home: Path) -> dict[str, str]:
    """The environment variables by which the demo's server and index are found."""
    return {
        "SIDEKIQ_LUA_HOME": str(home),
        "REDIS_URL": "local:",
        "INDEXER_DB": str(home / "index.sqlite3"),
    }


class Worker:
    """A worker process."""

    def __init__(self, home: Path, lock: int) -> None:
        self.log = home / "worker.log"
        words = ["-m", "sidekiq_lua", "worker", "-r", str(JOBS), "-t", "5"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *words],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],  # should this process be killed, the next demo is told of the worker
                start_new_session=True,  # Ctrl-C is for this process, which then stops the worker
            )

    def check(self) -> None:
        """Raises DemoFailed if it has ended."""
        if self._process.poll() is not None:
            self._complain()

    def end(self) -> None:
        """Stop it; raises DemoFailed unless it ends well."""
        if self.stop():
            self._complain()

    def stop(self) -> int:
        """Ask it to end, and make it if it does not; answers its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(WORKER_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _complain(self) -> None:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        raise DemoFailed(f"the worker ended with {self._process.returncode}; the end of {self.log}: {last}")


@contextmanager
def worker(home: Path, lock: int) -> Iterator[Worker]:
    """A worker process with the jobs of examples/indexer; its log is `worker.log`."""
    process = Worker(home, lock)
    try:
        yield process
    finally:
        process.stop()
