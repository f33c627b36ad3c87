"""Whole worker processes, started by the command line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

JOBS = Path(__file__).with_name("jobs.py")
SHORT = {
    "heartbeat_interval": 0.3,
    "heartbeat_ttl": 2,
    "recovery_interval": 0.2,
    "poll_interval_average": 0.2,
}


class Worker:
    """One `sidekiq-lua worker` process; its output is in `log`."""

    def __init__(self, folder, url, name, settings, arguments, report_url=None):
        self.name = name
        self.log = folder / f"{name}.log"
        config = folder / f"{name}.json"
        config.write_text(json.dumps({"redis": url, **SHORT, **settings}))
        command = [
            sys.executable,
            "-m",
            "sidekiq_lua",
            "worker",
            "-C",
            str(config),
            "-r",
            str(JOBS),
            *arguments,
        ]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "WORKER_NAME": name, "REPORT_URL": report_url or url},
            )

    def ready(self):
        wait_until(lambda: self.ended or b"Starting processing" in self.log.read_bytes(), 20, self.text())
        assert not self.ended, self.text()
        return self

    @property
    def ended(self):
        return self.process.poll() is not None

    def text(self):
        return self.log.read_text()

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=15):
        if not self.ended:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        return self.process.wait(timeout)


@pytest.fixture
def start_worker(tmp_path, url, server):
    """`start_worker("a", concurrency=5)`: a worker that runs, on the shared server.

    With `url` on another one; its jobs report to `report_url`, or there.
    """
    workers = []
    shared = {url: server.url}  # what jobs write down is no part of the worker's role

    def start(name, *arguments, url=url, report_url=None, **settings):
        worker = Worker(tmp_path, url, name, settings, arguments, report_url or shared.get(url))
        workers.append(worker)
        return worker.ready()

    yield start
    for worker in workers:
        if not worker.ended:
            worker.process.kill()
        worker.process.wait()


@pytest.fixture
def reports(redis):
    """What the jobs wrote down, oldest first: (worker, event, argument, epoch seconds)."""
    return lambda: [tuple(json.loads(line)) for line in redis.lrange("reports", 0, -1)]
