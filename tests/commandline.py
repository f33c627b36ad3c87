"""The command line as a user has it: a process of its own, in a directory of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from waiting import wait_until

ROOT = Path(__file__).parents[1]
READY = "Starting processing"

JOBS = """
    import time

    from sidekiq_lua import Job, sidekiq

    def note(text):
        sidekiq.transport().command("RPUSH", "notes", text)

    class Note(Job):
        def perform(self, text):
            note(text)

    class Gate(Job):
        def perform(self, seconds):
            note("inside")
            until = time.monotonic() + seconds
            while not sidekiq.transport().command("LPOP", "gate") and time.monotonic() < until:
                time.sleep(0.01)
            note("through")
"""
"""A job that notes a text in the list `notes`, and one that waits there until something is in `gate`."""


SCRIPT = """
import sys
from sidekiq_lua.cli.main import main
sys.exit(main())
"""
"""The command as pip installs it; unlike `python -m`, it does not put the current directory on the path."""


class CommandLine:
    """Runs `sidekiq-lua` in `directory` against the server at `url`."""

    def __init__(self, directory: Path, url: str | None, stack: ExitStack) -> None:
        self.directory = directory
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PYTHONPATH": str(ROOT),
            "SIDEKIQ_LUA_HOME": str(directory / "home"),
        }
        if url:
            self.env["REDIS_URL"] = url
        self._stack = stack
        self.command = [sys.executable, str(self.write("bin/sidekiq-lua", SCRIPT))]

    def write(self, name: str, text: str) -> Path:
        """A file in the directory."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    def run(self, *args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command that ends by itself."""
        return subprocess.run(
            [*self.command, *args],
            cwd=self.directory,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def on_terminal(self, *args: str, after: str, answer: str) -> tuple[int, str]:
        """Run a command on a terminal of 80 by 24, and type `answer` once `after` is shown.

        The exit code, and all that was shown. "\x03" is Ctrl-C, which input() can miss just before it waits;
        "\x04" is Ctrl-D.
        """
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        process = subprocess.Popen(
            [*self.command, *args], cwd=self.directory, env=self.env, start_new_session=True,
            stdin=theirs, stdout=theirs, stderr=theirs,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        self._stack.callback(process.kill)
        shown = b""
        with os.fdopen(ours, "rb", buffering=0) as screen:
            while part := _read(screen):
                shown += part
                if answer and after.encode() in shown:
                    os.write(ours, answer.encode())
                    answer = ""
        return process.wait(20), shown.decode().replace("\r\n", "\n")

    def start(self, *args: str, ready: str = READY, stdout: int | None = None, **env: str) -> Running:
        """Start one that goes on, and wait for a line of its output; it is killed when the test ends."""
        started = Running([*self.command, *args], self.directory, {**self.env, **env}, stdout)
        self._stack.callback(started.kill)
        if ready:
            started.wait_for(ready)
        return started


def _read(screen: Any) -> bytes:
    """What is on the terminal next; nothing when the last who held it has ended."""
    try:
        return bytes(screen.read(4096))
    except OSError:  # Linux's way to say so
        return b""


class Running:
    """A command that goes on; its output is collected in a file."""

    def __init__(self, command: list[str], directory: Path, env: dict[str, str], stdout: int | None) -> None:
        self.directory = directory
        self._output = directory / f"output-{len(list(directory.glob('output-*')))}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=directory, env=env, stdin=subprocess.DEVNULL,
                stdout=output if stdout is None else stdout, stderr=output,
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self._output.read_text("utf-8")

    def wait_for(self, text: str) -> None:
        """Until `text` was printed; fails if the process ends before."""

        def printed() -> bool:
            ended = self.process.poll() is not None
            if text in self.output:
                return True
            assert not ended, f"it ended with {self.process.returncode} before {text!r}:\n{self.output}"
            return False

        wait_until(printed, 40, f"{text!r} in the output")

    def signal(self, name: str) -> None:
        self.process.send_signal(signal.Signals[f"SIG{name}"])

    def end(self, seconds: float = 20) -> int:
        """The exit code, which must come by itself."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def make_cli(tmp_path: Path) -> Iterator[Callable[[str | None], CommandLine]]:
    """A command line for the server at a URL, or for none."""
    with ExitStack() as stack:

        def make(url: str | None) -> CommandLine:
            return CommandLine(tmp_path, url, stack)

        yield make


@pytest.fixture
def cli(make_cli: Callable[[str | None], CommandLine], url: str) -> CommandLine:
    """A command line for the shared server."""
    return make_cli(url)


@pytest.fixture
def nowhere(make_cli: Callable[[str | None], CommandLine]) -> CommandLine:
    """A command line for a server that is not there."""
    return make_cli("redis://127.0.0.1:1/0")


def notes(redis: Any) -> list[str]:
    """What jobs have noted."""
    return [text.decode() for text in redis.lrange("notes", 0, -1)]


def push(redis: Any, name: str, *args: Any, queue: str = "default") -> None:
    """A job as any client would push it."""
    job = {"class": name, "args": args, "queue": queue, "jid": os.urandom(12).hex(), "retry": True}
    redis.sadd("queues", queue)
    redis.lpush(f"queue:{queue}", json.dumps({**job, "created_at": 1, "enqueued_at": 1}))


def heartbeat(redis: Any) -> dict[str, str]:
    (identity,) = redis.smembers("processes")
    return {name.decode(): value.decode() for name, value in redis.hgetall(identity).items()}
