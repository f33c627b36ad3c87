"""A process that forks: the child has connections of its own, and leaves the parent's alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis as redis_py
from keyspace import contents, job

HERE = Path(__file__).parents[1]
FORKER = """
import os, sys
from keyspace import STORE, job
from sidekiq_lua.store import Endpoint, Transport

transport = Transport(Endpoint(sys.argv[1], {"client_name": "forker"}), size=2)

def push(*numbers):
    return transport.run(STORE.queues.push("default", [job(n) for n in numbers]))

def me():
    return transport.command("CLIENT", "ID")

push(1)
mine = me()
read, write = os.pipe()
child = os.fork()
if child == 0:
    assert not transport.counts.news(), "the child would write its parent's counts once more"
    push(2)
    os.write(write, str(me()).encode())
    for _ in range(3):
        assert transport.run_many([STORE.queues.names()] * 5) == [("0", ["default"])] * 5
    transport.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
theirs = int(os.read(read, 100))
assert theirs != mine, "the child used its parent's connection"
assert me() == mine, "the parent's connection was lost"
push(3)
"""

SLOTS = """
import os, sys
from keyspace import STORE
from sidekiq_lua.store import Endpoint, Transport

transport = Transport(Endpoint(sys.argv[1]), size=1, wait_s=0.05)
taken = transport._take()
child = os.fork()
if child == 0:
    # A thread of the parent held the only connection; the child has no such thread.
    transport.run(STORE.queues.push("default", [b"x"]))
    os._exit(0)
os._exit(os.waitpid(child, 0)[1])
"""


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")


def run(program: str, url: str) -> tuple[int, str]:
    """In a process of its own, since this one has threads."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stderr


def test_a_child_pushes_and_its_parent_s_connection_stays_good(url: str, redis: redis_py.Redis) -> None:
    assert run(FORKER, url) == (0, "")

    assert contents(redis) == {"queues": {"default"}, "queue:default": [job(3), job(2), job(1)]}


def test_a_child_does_not_wait_for_what_its_parent_s_threads_hold(url: str, redis: redis_py.Redis) -> None:
    assert run(SLOTS, url) == (0, "")

    assert redis.llen("queue:default") == 1
