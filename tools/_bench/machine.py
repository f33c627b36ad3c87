"""A server for one run, worker processes, and what they cost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from sidekiq_lua.bundled.binary import find_binary

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
JOBS = HERE / "jobs.py"
PATH = os.pathsep.join([str(ROOT), str(ROOT / "tools")])
_TICK = os.sysconf("SC_CLK_TCK")


class Server:
    """A server without persistence: on a Unix socket, or on a free TCP port for those who cannot use one."""

    def __init__(self, tcp: bool = False) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="slb-", dir="/tmp"))
        self._socket = self.dir / "s"
        port = _free_port() if tcp else 0
        self.url = f"redis://127.0.0.1:{port}/0" if tcp else f"unix://{self._socket}"
        options = ["--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(self._socket)]
        self._process = subprocess.Popen(
            [str(find_binary().path), *options, "--save", "", "--appendonly", "no", "--dir", str(self.dir)],
            stdout=subprocess.DEVNULL,
        )
        self.client = redis.Redis(unix_socket_path=str(self._socket), socket_timeout=120)
        wait(self._answers, 10, "the server starts")

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            sys.exit("tools/bench: the server did not start")
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_s(self) -> float:
        """CPU seconds that the server has used."""
        info: dict[str, Any] = self.client.info("cpu")
        return float(info["used_cpu_user"] + info["used_cpu_sys"])

    def commands(self) -> int:
        """Commands run so far; those inside scripts count too."""
        info: dict[str, Any] = self.client.info("stats")
        return int(info["total_commands_processed"])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(ready: Callable[[], Any], seconds: float, what: str, pause_s: float = 0.005) -> Any:
    """Look until `ready` answers something true. Ends the program after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > deadline:
            sys.exit(f"tools/bench: waited {seconds:g} s until {what}")
        time.sleep(pause_s)
    return found


class Process:
    """A command with its descendants: CPU, memory, an end."""

    def __init__(self, argv: list[str], env: dict[str, str], log: Path) -> None:
        self._log = log.open("ab")
        self.log = log
        self._process = subprocess.Popen(
            argv, env={**os.environ, **env}, stdout=self._log, stderr=self._log, start_new_session=True
        )
        self.pid = self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def tree(self) -> list[int]:
        """The pids of the process and its descendants."""
        found, waiting = [], [self.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    waiting += map(int, children.read_text().split())
        return found

    def cpu_s(self) -> float:
        """User and system seconds of the tree."""
        ticks = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
        return ticks / _TICK

    def rss_mb(self) -> list[float]:
        """Resident memory of each process of the tree, in MB, the first one's first."""
        sizes = []
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmRSS:"):
                        sizes.append(int(line.split()[1]) / 1024)
        return sizes

    def stop(self) -> None:
        pids = self.tree()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


def worker(server: Server, concurrency: int = 10, log: Path | None = None, **settings: Any) -> Process:
    """`sidekiq-lua worker` with our jobs; job logging is off unless a log is named."""
    quiet = {} if log else {"skip_default_job_logging": True, "log_level": "warn"}
    config = server.dir / f"worker-{os.urandom(3).hex()}.json"
    config.write_text(json.dumps({"concurrency": concurrency, "timeout": 2, **quiet, **settings}))
    argv = [sys.executable, "-m", "sidekiq_lua", "worker", "-e", "production", "-r", str(JOBS)]
    env = {"REDIS_URL": server.url, "PYTHONPATH": PATH, "BENCH_MARKS": str(server.dir)}
    return Process([*argv, "-C", str(config)], env, log or server.dir / "worker.log")


@contextlib.contextmanager
def running(*processes: Process) -> Iterator[None]:
    """Stops them at the end, and shows the log of one that ended by itself."""
    try:
        yield
    finally:
        for process in processes:
            ended = not process.alive()
            process.stop()
            if ended:
                sys.stderr.write(process.log.read_text(errors="replace")[-2000:])


def enqueue(server: Server, *words: object) -> dict[str, Any]:
    """Run jobs.py as a client in a process of its own; what it measured."""
    env = {**os.environ, "REDIS_URL": server.url, "PYTHONPATH": PATH, "BENCH_MARKS": str(server.dir)}
    done = subprocess.run(
        [sys.executable, str(JOBS), *map(str, words)], env=env, check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
