"""An idle worker costs next to nothing and starts a job at once. Run it alone: `-n 0 -m alone`."""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import takewhile
from pathlib import Path

import pytest
from waiting import wait_until

from sidekiq_lua import Sidekiq
from sidekiq_lua.store.scripts import library

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


def commands(client, seconds):
    """How often which command ran within so many seconds, as (script, command): those inside scripts too."""
    names = {script.sha: name for name, script in library().items()}
    found, script = Counter(), ""
    with client.monitor() as monitor:
        threading.Event().wait(seconds)
        client.echo("enough")
        for line in takewhile(lambda line: line["command"] != "ECHO enough", monitor.listen()):
            command, sha = [*line["command"].split(), ""][:2]
            if line["client_type"] != "lua":
                script = names[sha] if command.startswith("EVALSHA") else ""
            found[script, command] += 1
    return found


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


@pytest.mark.timeout(150)
def test_an_idle_worker_costs_next_to_nothing(idle):
    worker, server = idle
    client = server.client(socket_timeout=None)
    wait_until(lambda: client.exists("processes"))
    pids = [worker.process.pid, *children(worker.process.pid)]
    assert len(pids) == 2
    threading.Event().wait(12)  # past the start-up
    cpu, began = sum(map(cpu_s, pids)), time.monotonic()
    found = commands(client, 60)  # what is done once a minute is in it
    elapsed = time.monotonic() - began
    share = (sum(map(cpu_s, pids)) - cpu) / elapsed

    by_script, calls = Counter(), Counter()
    for (script, command), n in found.items():
        by_script[script] += n
        calls[script] += n if command.startswith("EVALSHA") else 0
    # A clock's reading comes with each beat. Looks at the schedule come at random, 5 s apart on average.
    beats = by_script["beat"] + found["", "TIME"]
    looks = by_script["due"]
    assert 5 <= calls["beat"] <= 7
    assert looks <= 2 * calls["due"]
    beyond = (found.total() - beats - looks) / elapsed + 2 / 5
    sys.stderr.write(f"idle: {beyond:.2f} commands a second beyond the heartbeat, {share:.2%} of a core\n")
    assert beats <= 10 * calls["beat"], found
    assert beyond < 1, found
    assert share < 0.003, pids
