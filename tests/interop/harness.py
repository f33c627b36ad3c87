"""Python and Ruby as two sides of one kind: each can enqueue jobs and run workers, in its own processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from waiting import T, wait_until

HERE = Path(__file__).parent
RUBY = HERE / "ruby"
SOURCES = ("SIDEKIQ_SRC", "REDIS_CLIENT_SRC", "CONNECTION_POOL_SRC")
LIST = "interop:echo"

# What a developer's shell says to Ruby must not choose another Sidekiq than the test's.
_FOREIGN = {"RUBYLIB", "RUBYOPT", "BUNDLE_GEMFILE", *SOURCES}
_BOOT_S = 20.0
_END_S = 10.0


def order(job_class: str, *args: Any, **more: Any) -> dict[str, Any]:
    """What to enqueue. `more`: count, `in_` (seconds), at (epoch seconds), bulk, options (of the payload)."""
    return {"class": job_class, "args": args, **{name.rstrip("_"): value for name, value in more.items()}}


class Worker:
    """A worker process, in Ruby or Python. `identity` is its name in Redis."""

    def __init__(self, side: Side, command: list[str], env: dict[str, str]) -> None:
        self.side = side
        self.log = side.directory / f"{side.lang}-{len(side.workers)}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=side.directory
            )
        self.pid = self._process.pid
        side.workers.append(self)

    def ready(self) -> Worker:
        """Wait until it has beaten once."""
        self.identity = self.wait_for(self._registered, "its name in `processes`", _BOOT_S)
        return self

    def _registered(self) -> str | None:
        names = [name.decode() for name in self.side.redis.smembers("processes")]
        return next((name for name in names if f":{self.pid}:" in name), None)

    def wait_for(self, predicate: Callable[[], T], what: str, timeout_s: float = 15) -> T:
        """Like wait_until, but fails at once, with its log, if the process ends."""

        def look() -> T:
            if (code := self._process.poll()) is not None:
                raise AssertionError(f"the {self.side.lang} worker ended with code {code}")
            return predicate()

        try:
            return wait_until(look, timeout_s, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None

    def beat(self, name: str) -> str:
        """A field of its process hash, such as `quiet`; empty if there is none."""
        return (self.side.redis.hget(self.identity, name) or b"").decode()

    def stop(self) -> None:
        """Send TERM and wait for a clean end."""
        self._process.send_signal(signal.SIGTERM)
        self.ended()

    def ended(self) -> None:
        """Wait until it has ended by itself; fails if that was not clean."""
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the {self.side.lang} worker does not end\n{self.text()}") from None
        assert code == 0, f"the {self.side.lang} worker ended with code {code}\n{self.text()}"

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def text(self) -> str:
        """The end of its log, with long lines cut."""
        return "\n".join(line[:300] for line in self.log.read_text("utf-8", "replace").splitlines()[-40:])


@dataclass
class Side:
    """What both languages can do. `form` is the payload format that both write: "7" or "8.1"."""

    url: str
    redis: redis.Redis
    directory: Path
    form: str
    workers: list[Worker] = field(default_factory=list)
    lang = ""

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        return {**kept, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "REDIS_URL": self.url, **more}

    def produce(self, job_class: str, *args: Any, **more: Any) -> list[str]:
        """Enqueue jobs of one class and answer their jids; see `order`."""
        return self.produce_all([order(job_class, *args, **more)])[0]

    def produce_all(self, orders: list[dict[str, Any]]) -> list[list[str]]:
        """Enqueue in one process; the jids of each order."""
        return json.loads(self._produce(json.dumps(orders, ensure_ascii=False)))

    def _produce(self, orders: str) -> str:
        raise NotImplementedError

    def start(self, *queues: str, poll_s: float = 0.1, stamp: bool = False) -> Worker:
        """Start a worker on these queues (none: default) without waiting; see Worker.ready."""
        raise NotImplementedError

    def run(self, command: list[str], env: dict[str, str], may_fail: bool = False) -> str:
        done = subprocess.run(command, env=env, cwd=self.directory, capture_output=True, timeout=40)
        assert may_fail or done.returncode == 0, (
            f"{command} ended with code {done.returncode}\n{done.stdout.decode()}\n{done.stderr.decode()}"
        )
        return done.stdout.decode()


class Python(Side):
    lang = "python"

    def _produce(self, orders: str) -> str:
        return self.run([sys.executable, str(HERE / "produce.py"), self.form, orders], self.environment())

    def start(self, *queues: str, poll_s: float = 0.1, stamp: bool = False) -> Worker:
        settings = {
            "payload_format": self.form,
            "queues": queues or ["default"],
            "concurrency": 3,
            "timeout": 0.5,
            "poll_interval_average": poll_s,
            "heartbeat_interval": 0.2,
            "heartbeat_ttl": 5,
            "environment": "test",
            "tag": "interop",
            "labels": ["python"],
        }
        config = self.directory / f"python-{len(self.workers)}.json"
        config.write_text(json.dumps(settings), "utf-8")
        options = ["-r", str(HERE / "jobs.py"), "-C", str(config)]
        return Worker(
            self, [sys.executable, "-m", "sidekiq_lua", "worker", *options], self.environment(**_stamp(stamp))
        )


class Ruby(Side):
    lang = "ruby"
    command: str = ""
    extra: dict[str, str]

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(**self.extra, **more)

    def script(self, name: str, *args: str, may_fail: bool = False) -> Any:
        """Run one of our scripts; the JSON that it prints."""
        printed = self.run(["ruby", str(RUBY / name), *args], self.environment(), may_fail)
        return json.loads(printed)

    def _produce(self, orders: str) -> str:
        return self.run(["ruby", str(RUBY / "produce.rb"), orders], self.environment())

    def control(self, command: str, *args: str | float) -> Any:
        """Act through Ruby's Data API; see control.rb."""
        return self.script("control.rb", command, *map(str, args))

    def inspect(self, *sections: str) -> dict[str, Any]:
        """What Ruby's Data API reads. Fails with Ruby's error if it cannot read a section."""
        seen = self.script("inspect.rb", *sections, may_fail=True)
        unread = {name: part for name, part in seen.items() if isinstance(part, dict) and "error" in part}
        assert not unread, f"Ruby cannot read: {unread}"
        return seen

    def start(self, *queues: str, poll_s: float = 0.1, stamp: bool = False) -> Worker:
        served = [part for name in queues or ("default",) for part in ("-q", name)]
        options = ["-r", str(RUBY / "jobs.rb"), "-c", "3", "-t", "2", "-e", "test", *served]
        return Worker(
            self,
            ["ruby", self.command, *options],
            self.environment(INTEROP_POLL=str(poll_s), **_stamp(stamp)),
        )


def _stamp(wanted: bool) -> dict[str, str]:
    return {"INTEROP_STAMP": "1"} if wanted else {}


@dataclass(frozen=True)
class RubyKind:
    """A Sidekiq: its command, the environment by which Ruby loads it, the form of its payloads."""

    command: str
    extra: dict[str, str]
    form: str
    version: tuple[int, ...]


def installed() -> RubyKind | str:
    """The Sidekiq that Ruby finds by itself, as Debian's package; else why there is none."""
    command = shutil.which("sidekiq")
    if command is None or shutil.which("ruby") is None:
        return "no Ruby Sidekiq is installed: apt-get install ruby-sidekiq, then tools/test -n 0 -m interop"
    return _kind(command, {})


def checkout() -> RubyKind | str:
    """The Sidekiq that the variables of SOURCES name; else how to name one."""
    missing = [name for name in SOURCES if not os.environ.get(name)]
    if missing:
        return (
            f"set {', '.join(missing)} to checkouts (Sidekiq's of v8.1.7), as docs/interop.md says, "
            "then tools/test -n 0 -m interop"
        )
    sources = [Path(os.environ[name]).resolve() for name in SOURCES]
    extra = {
        "RUBYLIB": os.pathsep.join(str(source / "lib") for source in sources),
        "RUBYOPT": f"-r{RUBY / 'compat31.rb'}",
    }
    return _kind(str(sources[0] / "bin" / "sidekiq"), extra)


def _kind(command: str, extra: dict[str, str]) -> RubyKind:
    env = {name: value for name, value in os.environ.items() if name not in _FOREIGN} | extra
    script = "require 'sidekiq'; print Sidekiq::VERSION, ' ', $LOADED_FEATURES.grep(/sidekiq\\.rb$/).first"
    asked = subprocess.run(["ruby", "-e", script], env=env, capture_output=True, text=True)
    assert asked.returncode == 0, f"Ruby cannot load Sidekiq with {extra}:\n{asked.stderr}"
    version, path = asked.stdout.split(" ", 1)
    first = extra.get("RUBYLIB", "").split(os.pathsep)[0]
    assert path.startswith(first), f"Ruby loads {path}, not what is in {first}"
    numbers = tuple(map(int, version.split(".")[:2]))
    return RubyKind(command, extra, "8.1" if numbers >= (8,) else "7", numbers)
