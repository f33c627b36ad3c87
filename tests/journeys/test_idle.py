"""An idle worker costs next to nothing and starts a job at once. Run it alone: `-n 0 -m alone`."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from waiting import wait_until

from sidekiq_lua import Sidekiq

pytestmark = [pytest.mark.slow, pytest.mark.alone]

QUEUES = ["critical", "default", "low"]
DEFAULTS = {
    "heartbeat_interval": 10,
    "heartbeat_ttl": 60,
    "recovery_interval": 15,
    "poll_interval_average": None,
    "queues": QUEUES,
    "skip_default_job_logging": True,
}


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid):
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def commands(client):
    """Commands the server has run; those inside scripts count too."""
    return sum(entry["calls"] for entry in client.info("commandstats").values())


@pytest.fixture
def idle(start_worker, make_server):
    server = make_server()
    worker = start_worker("idle", url=server.url, **DEFAULTS)
    return worker, server


def test_latency_of_an_idle_worker(idle):
    """p99 from the enqueueing call to the job's first line; the best of five rounds, on a shared machine."""
    _, server = idle
    app = Sidekiq(redis=server.url)
    client = server.client()
    pause = threading.Event()
    p99s = []
    for _ in range(5):
        client.delete("latencies")
        for n in range(200):
            item = {"class": "StampJob", "args": [time.time()], "queue": random.choice(QUEUES)}
            app.client.push(item)
            wait_until(lambda n=n: client.llen("latencies") == n + 1)
            pause.wait(random.uniform(0.005, 0.03))
        p99s.append(sorted(float(one) for one in client.lrange("latencies", 0, -1))[197])
        if p99s[-1] < 0.005:
            break
    app.close()
    assert min(p99s) < 0.005, p99s


@pytest.mark.timeout(120)
def test_an_idle_worker_costs_next_to_nothing(idle):
    worker, server = idle
    client = server.client()
    wait_until(lambda: client.exists("processes"))
    pids = [worker.process.pid, *children(worker.process.pid)]
    assert len(pids) == 2
    pause = threading.Event()
    pause.wait(12)  # past the start-up
    before, cpu, began = commands(client), sum(map(cpu_s, pids)), time.time()
    pause.wait(30)  # three heartbeats and two sweeps for orphans
    elapsed = time.time() - began
    a_second = (commands(client) - before - 1) / elapsed
    share = (sum(map(cpu_s, pids)) - cpu) / elapsed
    sys.stderr.write(f"idle: {a_second:.2f} commands a second, {share:.2%} of a core\n")
    assert a_second < 2
    assert share < 0.01
