"""The worker of a soak run and its load: short and failing jobs, threads and tasks, scheduled ones, bulks."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from waiting import wait_until

from sidekiq_lua import Sidekiq

ROOT = Path(__file__).resolve().parents[2]
BATCH = 20

JOBS = """
import asyncio, random, time
from sidekiq_lua import Job, sidekiq

random.randrange = lambda limit: 0

class Planned(Exception):
    pass

class Work(Job):
    sidekiq_options = {"retry": 1}
    def sidekiq_retry_in(count, error, payload):
        return 1
    def perform(self, kind, text):
        time.sleep(random.random() / 200)
        if kind == "dies" or (kind == "once" and self.retry_count is None):
            raise Planned(text[:20])
        if kind == "parent":
            AsyncWork.perform_async("ok", text)

class AsyncWork(Job):
    sidekiq_options = {"retry": 1}
    async def perform(self, kind, text):
        await asyncio.sleep(random.random() / 200)
        if kind == "dies":
            raise Planned(text[:20])

class Counter:
    def call(self, job, payload, queue, next):
        job.retry_count = payload.get("retry_count")
        next()

@sidekiq.configure_server
def configure(config):
    config.server_middleware.add(Counter)
"""
KINDS = [(60, "ok"), (20, "parent"), (10, "once"), (2, "dies"), (8, "later")]


class Load:
    """`rate` jobs a second in small bulks; `runs` counts what was pushed, as the worker will run it."""

    def __init__(self, folder: Path, url: str, rate: float) -> None:
        self._rate = rate
        self._app = Sidekiq(redis=url)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._push, name="load")
        self._log = folder / "log"
        (folder / "soak_jobs.py").write_text(JOBS)
        self._command = [
            *(sys.executable, "-m", "sidekiq_lua", "worker", "-r", str(folder / "soak_jobs.py")),
            *("-q", "high,3", "-q", "default,1", "-c", "10"),
        ]
        config = folder / "soak.yml"
        config.write_text(
            f"redis: {url}\nheartbeat_interval: 1\nheartbeat_ttl: 10\nrecovery_interval: 1\n"
            "poll_interval_average: 1\ndead_max_jobs: 1000\nskip_default_job_logging: true\n"
        )
        self._command += ["-C", str(config)]
        self.failure: BaseException | None = None
        self.runs = 0

    def start(self) -> None:
        with self._log.open("wb") as out:
            self.worker = subprocess.Popen(
                self._command, stdout=out, stderr=subprocess.STDOUT, cwd=self._log.parent,
                env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "SIDEKIQ_ENV": "production"},
            )  # fmt: skip
        wait_until(lambda: "Starting processing" in self.text(), 20, "the worker's start")
        self._thread.start()

    def text(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def _push(self) -> None:
        began, pushed = time.monotonic(), 0
        try:
            while not self._stop.wait(max(began + pushed / self._rate - time.monotonic(), 0)):
                (kind,) = random.choices([name for _, name in KINDS], [weight for weight, _ in KINDS])
                rows = [[kind, "x" * random.randrange(10, 2000)] for _ in range(BATCH)]
                item = {"class": random.choice(["Work", "AsyncWork"]), "args": rows, "retry": 1}
                item["queue"] = random.choice(["high", "default"])
                if kind in ("parent", "once"):
                    item["class"] = "Work"
                if kind == "later":
                    item["at"] = [time.time() + random.random() * 10 for _ in rows]
                self._app.client.push_bulk(item)
                pushed += BATCH
                self.runs += BATCH * (2 if kind in ("parent", "once", "dies") else 1)
        except BaseException as error:
            self.failure = error

    def finish(self, redis: Any) -> list[str]:
        """Let the worker do what is left, and stop it; answers what is wrong."""
        self._stop.set()
        self._thread.join()
        problems = [f"the load failed: {self.failure!r}"] if self.failure else []
        try:
            wait_until(lambda: int(redis.get("stat:processed") or 0) >= self.runs, 60, "all runs")
        except AssertionError as error:
            problems += [str(error), *self._look(redis)]
        counted = int(redis.get("stat:processed") or 0)
        if counted != self.runs:
            problems.append(f"{self.runs} runs were due, {counted} are counted")
        self.worker.send_signal(signal.SIGTERM)
        code = self.worker.wait(30)
        if code:
            problems.append(f"the worker ended with {code}")
        return problems

    def _look(self, redis: Any) -> list[str]:
        """What is known of a worker that does not go on: its jobs, heartbeat, threads and log."""
        self.worker.send_signal(signal.SIGTTIN)
        self._stop.wait()
        threading.Event().wait(2)
        keys = [*redis.keys("queue:*"), *redis.keys("lua:running:*")]
        beats = {name: redis.hgetall(name) for name in redis.smembers("processes")}
        clients = [(c["id"], c["cmd"], c["idle"], c["flags"]) for c in redis.client_list()]
        return [str({key: redis.llen(key) for key in keys}), str(beats), str(clients), self.text()[-20_000:]]

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if hasattr(self, "worker"):
            self.worker.kill()
            self.worker.wait()
        self._app.close()
