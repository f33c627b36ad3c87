"""The process that stands in for a worker's heartbeat."""

import json
import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from sidekiq_lua.payload import crash_key
from sidekiq_lua.worker.marks import SLOT, Marks, read_marks

pytestmark = pytest.mark.own_keys

PARENT = """
import sys, threading
sys.path[:0] = {path!r}
from sidekiq_lua import Sidekiq
app = Sidekiq(redis={url!r}, heartbeat_interval=0.2, heartbeat_ttl=3, recovery_interval=60, concurrency=2)
import redis
client = redis.Redis.from_url({url!r})

class {name}(app.Job):
    def perform(self, *args):
        {body}

runner = app.run()
client.set("identity", runner.identity)
threading.Event().wait()
"""


@pytest.fixture
def parent(url, tmp_path):
    """A worker in a process of its own that runs one kind of job."""
    started = []

    def start(name, body):
        code = PARENT.format(url=url, path=sys.path, name=name, body=body)
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-c", code], stdout=log)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def push(redis, name, *args, jid="j1"):
    redis.lpush("queue:default", json.dumps({"class": name, "args": args, "jid": jid, "retry": False}))


def test_the_heartbeat_survives_a_job_that_holds_the_gil(parent, redis):
    """A call into C, as one of a regular expression is, for twice as long as the heartbeat lives."""
    parent("StuckJob", "client.set('begun', 1); import ctypes; ctypes.PyDLL(None).sleep(6)")
    push(redis, "StuckJob")
    identity = wait_until(lambda: redis.get("identity"), 15)
    wait_until(lambda: redis.get("begun"), 15)

    def ended():
        assert redis.exists(identity), "the heartbeat has expired"
        return redis.get("stat:processed")

    wait_until(ended, 60, "the call to end")


def test_a_death_ends_the_heartbeat_and_names_what_was_running(parent, redis):
    process = parent("HangJob", "client.rpush('begun', self.jid); threading.Event().wait()")
    for n in range(4):
        push(redis, "HangJob", jid=f"j{n}")
    identity = wait_until(lambda: redis.get("identity"), 15).decode()
    wait_until(lambda: redis.llen("begun") == 2)
    process.kill()
    fallen = wait_until(lambda: redis.smembers(f"lua:fallen:{identity}"))
    assert fallen == {b"", b"j0", b"j1"}
    assert not redis.exists(identity)
    assert 0 < redis.ttl(f"lua:fallen:{identity}") <= 86_400


def test_a_stopped_process_is_not_kept_alive(parent, redis):
    process = parent("NoJob", "pass")
    identity = wait_until(lambda: redis.get("identity"), 15)
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: not redis.exists(identity))
    assert not list(redis.scan_iter("lua:fallen:*"))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks up children in /proc")
def test_signals_that_are_for_the_worker_do_not_end_it(parent, redis):
    process = parent("NoJob", "pass")
    identity = wait_until(lambda: redis.get("identity"), 15).decode()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    (standin,) = children.read_text().split()
    status = Path(f"/proc/{standin}/status")

    def ignores(number):
        ignored = status.read_text().split("SigIgn:")[1].split()[0]
        return int(ignored, 16) >> number - 1 & 1

    wait_until(lambda: ignores(signal.SIGHUP))
    for name in ("HUP", "INT", "TERM", "TSTP", "TTIN", "USR1", "USR2"):
        os.kill(int(standin), signal.Signals[f"SIG{name}"])
    process.kill()
    wait_until(lambda: redis.exists(f"lua:fallen:{identity}"))


def test_an_orderly_end_is_no_death(app, run, redis):
    runner = run(app)
    runner.stop()
    assert not list(redis.scan_iter("lua:fallen:*"))
    assert redis.exists(runner.identity)


def test_marks_name_what_runs():
    marks = Marks(2)
    reader = mmap.mmap(marks.fd, marks.size, prot=mmap.PROT_READ)
    first, second = marks.begin("one"), marks.begin("two" * 20)
    assert marks.begin("three") is None
    assert read_marks(reader) == ["one", "two" * 20]
    marks.end(first)
    marks.end(None)
    assert read_marks(reader) == ["two" * 20]
    assert marks.begin("four") == first
    assert sorted(read_marks(reader)) == ["four", "two" * 20]
    marks.end(second)
    marks.close()
    with pytest.raises(OSError):
        os.fstat(marks.fd)


@pytest.mark.parametrize("jid", [None, 5, "", "é", "x" * SLOT, "a\nb"])
def test_a_job_without_a_usable_jid_goes_by_its_bytes(jid):
    assert crash_key({"jid": jid}, b"raw") == crash_key(None, b"raw")
    assert len(crash_key(None, b"raw")) == 40
    assert crash_key({"jid": "abc"}, b"raw") == "abc"
