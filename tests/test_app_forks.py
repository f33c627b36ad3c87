"""Instances in processes that fork."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from typing import Any

import pytest
from both_clients import app

from sidekiq_lua import Sidekiq


@pytest.mark.filterwarnings("ignore:This process.* is multi-threaded:DeprecationWarning")
def test_a_fork_connects_anew(app: Sidekiq, redis: Any) -> None:
    app.client.enqueue("A", "parent")
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                for n in range(50):
                    app.client.enqueue("A", child, n)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        children.append(pid)
    for n in range(50):
        app.client.enqueue("A", "parent", n)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4

    stored = [json.loads(raw) for raw in redis.lrange("queue:default", 0, -1)]
    assert len({payload["jid"] for payload in stored}) == len(stored) == 251
    assert app.client.enqueue("A")


FORKER = """
import os, sys, threading
from sidekiq_lua import Sidekiq

app, inside, on = Sidekiq(), threading.Event(), threading.Event()

@app.configure_client
def configure(config):
    if threading.current_thread() is thread:
        inside.set()
        on.wait(20)
    config.redis = sys.argv[1]

thread = threading.Thread(target=app.client_of, args=(None,))
thread.start()
inside.wait(20)
child = os.fork()
if not child:
    app.client.enqueue("A")
    os._exit(0)
status = os.waitpid(child, 0)[1]
on.set()
sys.exit(status)
"""


def test_a_fork_while_another_thread_runs_the_blocks(redis: Any, url: str) -> None:
    """The child has no such thread: it runs them itself."""
    subprocess.run([sys.executable, "-c", FORKER, url], check=True, timeout=30)
    assert redis.llen("queue:default") == 1


BACKGROUND = """
import os
from sidekiq_lua import Sidekiq

app = Sidekiq()

@app.configure_client
def configure(config):
    if os.fork():
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    config.concurrency = 3

assert app.config.concurrency == 3
"""


def test_a_fork_within_a_block() -> None:
    """As one that goes into the background does: the child comes out of it."""
    subprocess.run([sys.executable, "-c", BACKGROUND], check=True, timeout=30)
