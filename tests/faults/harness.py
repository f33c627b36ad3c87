"""Whole worker processes on one server, with a ledger of every job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from faults.ledger import Audit, Keyspace, Ledger, audit
from waiting import hurry as make_due
from waiting import wait_until

from sidekiq_lua.errors import LostReply, RedisError

TESTS = Path(__file__).parents[1]
JOBS = Path(__file__).with_name("jobs.py")
COMES_BACK_S = 10.0 if "PYTEST_XDIST_WORKER" in os.environ else 2.0
"""How soon a worker consumes again; beside other tests, on a busy machine, it only must come back."""
SHORT = {
    "heartbeat_interval": 0.3,
    "heartbeat_ttl": 2,
    "recovery_interval": 0.1,
    "poll_interval_average": 0.1,
    "skip_default_job_logging": True,
}


class Crew:
    """Worker processes, clients and a ledger for one keyspace. `redis` is a client of the server itself."""

    def __init__(self, folder: Path, url: str, redis: Any) -> None:
        self.folder = folder
        self.url = url
        self.redis = redis
        self.ledger = Ledger(folder / "ledger")
        self.members: list[Member] = []
        self.settings: dict[str, Any] = SHORT
        self.fault = ""

    def break_at(self, stage: str, call: str) -> Path:
        """Have the first process that comes to this step killed there; answers the file that tells of it."""
        mark = self.folder / "struck"
        self.fault = f"{stage} {call} {mark}"
        return mark

    # -- processes ----------------------------------------------------------------------

    def worker(self, *words: str, url: str | None = None, wait: bool = True, **settings: Any) -> Member:
        """A worker with short intervals; it runs when this returns, unless `wait` is False."""
        number = len(self.members)
        config = self.folder / f"{number}.json"
        config.write_text(json.dumps({"redis": url or self.url, **self.settings, **settings}))
        command = ["-m", "sidekiq_lua", "worker", "-C", str(config), "-r", str(JOBS), *words]
        member = self.start(*command)
        return member.ready() if wait else member

    def start(self, *words: str) -> Member:
        """Any Python process that has the ledger and the fault."""
        env = {
            **os.environ,
            "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}",
            "LEDGER": str(self.ledger.path),
        }
        if self.fault:
            env["FAULT"] = self.fault
        member = Member(self.folder / f"{len(self.members)}.log", words, env)
        self.members.append(member)
        return member

    def close(self) -> None:
        for member in self.members:
            member.kill_all()
        self.ledger.close()

    # -- jobs ---------------------------------------------------------------------------

    def push(self, app: Any, jid: str, kind: str = "WorkJob", *args: Any, **options: Any) -> None:
        """Enqueue one job of tests/faults/jobs.py, and write it down. Raises RedisError."""
        options = {"retry": 3, **options}
        self.ledger.write("pushing", jid)
        try:
            app.client.push({"class": kind, "args": list(args), "jid": jid, **options})
        except LostReply:
            raise
        except RedisError:
            self.ledger.write("unpushed", jid)
            raise
        self.ledger.write("pushed", jid)

    def mixture(self, app: Any, n: int = 1) -> None:
        """Jobs that end in every way: n of each failing kind, and five times as many that go well."""
        for k in range(5 * n):
            kind = "AsyncWorkJob" if k % 2 else "WorkJob"
            self.push(app, f"ok-{k}", kind, 0.002)
        for k in range(n):
            self.push(app, f"once-{k}", "WorkJob", 0, failures=1)
            self.push(app, f"dies-{k}", "WorkJob", 0, failures=9, retry=0)
            self.push(app, f"drop-{k}", "AsyncWorkJob", 0, failures=9, retry=False)
            self.push(app, f"later-{k}", "WorkJob", 0, at=time.time() + 0.2)

    # -- what must hold -----------------------------------------------------------------

    def wait_drained(self, seconds: float = 15, *, hurry: bool = True) -> None:
        """Until no job is left to be done; retries are made due meanwhile."""

        def drained() -> bool:
            if hurry:
                make_due(self.redis)
            return Keyspace.of(self.redis).waiting == 0

        try:
            wait_until(drained, seconds)
        except AssertionError:
            raise AssertionError(f"jobs are stuck: {Keyspace.of(self.redis).places}\n{self.logs()}") from None

    def check(self) -> Audit:
        """Nothing is lost, doubled or counted wrongly now."""
        found = audit(self.ledger, self.redis)
        assert not found.problems, "\n".join([*found.problems, self.logs()])
        return found

    def logs(self) -> str:
        return "\n".join(f"--- {member.log.name}\n{member.text()}" for member in self.members)


class Member:
    """One process; what it prints is in `log`."""

    def __init__(self, log: Path, words: tuple[str, ...], env: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, *words], stdout=out, stderr=subprocess.STDOUT, cwd=log.parent, env=env
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def killed(self) -> bool:
        """Whether it ended as by `kill -9`."""
        return self.process.poll() == -signal.SIGKILL

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def ready(self) -> Member:
        wait_until(lambda: self.ended or "Starting processing" in self.text(), 20, "the worker's start")
        assert not self.ended, self.text()
        return self

    def signal(self, name: str) -> None:
        self.process.send_signal(signal.Signals[f"SIG{name}"])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """With its stand-in, which would tell the server of the death, in the middle of the next test."""
        for pid in self.children():
            with suppress(ProcessLookupError):  # it ended between the look and the shot
                os.kill(pid, signal.SIGKILL)
        self.kill()

    def children(self) -> list[int]:
        """The process ids of its children, where /proc tells them."""
        tasks = Path(f"/proc/{self.pid}/task")
        found: list[int] = []
        for file in [] if self.ended else tasks.glob("*/children"):
            with suppress(OSError):  # that thread ended since
                found += map(int, file.read_text().split())
        return found

    def stop(self, seconds: float = 20) -> int:
        """Let it stop in order; its exit code."""
        self.signal("TERM")
        return self.process.wait(seconds)
