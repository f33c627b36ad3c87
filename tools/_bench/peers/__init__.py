"""Other job engines: how each is installed, started and fed. Each runs in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..machine import ROOT, Process, Server

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Peer:
    """`argv(bin, concurrency)` starts its worker, with its own best concurrency where `best` names one."""

    name: str
    packages: tuple[str, ...]
    argv: Callable[[Path, int], list[str]]
    best: int = 10
    jobs: int = 5_000
    env: tuple[tuple[str, str], ...] = ()

    @property
    def _bin(self) -> Path:
        return home() / self.name / "bin"

    def install(self) -> None:
        """A virtual environment of its own, if it has none yet."""
        if not self.packages or (self._bin / "done").exists():
            return
        subprocess.run([sys.executable, "-m", "venv", str(self._bin.parent)], check=True)
        subprocess.run(
            [str(self._bin / "pip"), "-q", "install", *self.packages], check=True, stderr=subprocess.DEVNULL
        )
        (self._bin / "done").touch()

    def environment(self, server: Server) -> dict[str, str]:
        paths = os.pathsep.join([str(ROOT / "tools"), str(HERE)])
        return {
            **({"PYTHONPATH": paths} if self.packages else ruby()),
            **dict(self.env),
            "REDIS_URL": server.url,
            "BENCH_MARKS": str(server.dir),
            "BENCH_C": str(self.best),
        }

    def push(self, server: Server, action: str, number: int) -> float:
        """Enqueue `number` jobs, one by one or as quickly as it can; the seconds that took."""
        program = [str(self._bin / "python"), str(HERE / "client.py"), f"p_{self.name}"]
        if not self.packages:
            program = ["ruby", str(HERE / "sidekiq_jobs.rb")]
        done = subprocess.run(
            [*program, action, str(number)],
            env={**os.environ, **self.environment(server)},
            cwd=HERE,
            check=True,
            capture_output=True,
            text=True,
        )
        return float(json.loads(done.stdout.splitlines()[-1])["seconds"])

    def start(self, server: Server, log: Path | None = None) -> Process:
        env = self.environment(server)
        if log:
            env["BENCH_LOG"] = "1"
        os.chdir(HERE)
        return Process(self.argv(self._bin, self.best), env, log or server.dir / f"{self.name}.log")


def home() -> Path:
    """Where the peers are installed: $BENCH_HOME, or .bench beside the tools."""
    return Path(os.environ.get("BENCH_HOME") or ROOT / ".bench")


def ruby() -> dict[str, str]:
    """Ruby's paths for the checkouts that SIDEKIQ_SRC and its like name, if any."""
    sources = [os.environ.get(name) for name in ("SIDEKIQ_SRC", "REDIS_CLIENT_SRC", "CONNECTION_POOL_SRC")]
    if not sources[0]:
        return {}
    lib = os.pathsep.join(str(Path(source) / "lib") for source in sources if source)
    compat = ROOT / "tests" / "interop" / "ruby" / "compat31.rb"
    return {"RUBYLIB": lib, **({"RUBYOPT": f"-r{compat}"} if compat.exists() else {})}


def _sidekiq(_: Path, concurrency: int) -> list[str]:
    source = os.environ.get("SIDEKIQ_SRC")
    program = ["ruby", str(Path(source) / "bin" / "sidekiq")] if source else ["sidekiq"]
    return [*program, "-r", str(HERE / "sidekiq_jobs.rb"), "-c", str(concurrency)]


def _at(program: str, *words: str) -> Callable[[Path, int], list[str]]:
    return lambda bin, concurrency: [str(bin / program), *(word.format(c=concurrency) for word in words)]


_WARN = ("--log-level", "WARNING")
_ALONE = ("--without-gossip", "--without-mingle", "--without-heartbeat")
PEERS = {
    peer.name: peer
    for peer in (
        Peer("sidekiq", (), _sidekiq, jobs=10_000),
        Peer(
            "huey", ("huey", "redis", "hiredis"),
            _at("huey_consumer", "p_huey.huey", "-w", "{c}", "-k", "thread", "-q", "-n"), best=1,
        ),
        Peer(
            "dramatiq", ("dramatiq[redis]", "hiredis"),
            _at("dramatiq", "p_dramatiq", "-p", "1", "-t", "{c}"), best=1,
            env=(("dramatiq_queue_prefetch", "200"),),
        ),
        Peer(
            "taskiq", ("taskiq", "taskiq-redis", "hiredis", "uvloop"),
            _at("taskiq", "worker", "p_taskiq:broker", "--workers", "1", "--max-async-tasks", "{c}", *_WARN),
            jobs=4_000,
        ),
        Peer("arq", ("arq", "hiredis", "uvloop"), _at("arq", "p_arq.WorkerSettings"), best=200, jobs=4_000),
        Peer(
            "saq", ("saq[redis,hiredis]", "typing_extensions", "uvloop"),
            _at("saq", "p_saq.settings", "-q"), jobs=3_000,
        ),
        Peer(
            "celery", ("celery[redis]", "hiredis"),
            _at("celery", "-A", "p_celery", "worker", "-P", "threads", "-c", "{c}", "-l", "WARNING", *_ALONE),
            jobs=2_000,
        ),
        Peer(
            "rq", ("rq", "hiredis"),
            _at("rq", "worker", "-q", "-w", "rq.worker.SimpleWorker", "q"), best=1, jobs=500,
        ),
    )
}  # fmt: skip
