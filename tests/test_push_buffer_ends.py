"""What `push_buffer` keeps where a process ends in other ways than most, and where a signal comes."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

CHILD = """
import multiprocessing, sys
from sidekiq_lua import Sidekiq, push_buffer

def work():
    for n in range(3):
        app.client.push({"class": "A", "args": [], "jid": f"j{n}"})

push_buffer.FLUSH_S = 0.2
app = Sidekiq(redis=sys.argv[1], reliable_push=True, push_buffer=10)
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
"""


def test_the_end_of_a_child_of_multiprocessing(make_server: Any) -> None:
    """Such a child ends without atexit."""
    server = make_server()
    server.kill()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, server.url], capture_output=True, text=True, timeout=30
    )
    lost = re.findall(r"(?:were not sent and are lost|may be in Redis or not): (.*)", done.stdout)
    assert sorted(", ".join(lost).split(", ")) == ["j0", "j1", "j2"], done


FORKS = """
import os, sys, time
from sidekiq_lua import Sidekiq, push_buffer

push_buffer.FLUSH_S = 0.2
app = Sidekiq(redis=sys.argv[1])
other = Sidekiq(redis=sys.argv[2], reliable_push=True, push_buffer=10)

class ForkJob(app.Job):
    def perform(self):
        if not os.fork():
            other.client.push({"class": "A", "args": [], "jid": "kept"})
            return
        os.wait()
        app.transport().command("SET", "ended", "1")

ForkJob.perform_async()
runner = app.run()
while not app.transport().command("EXISTS", "ended"):
    time.sleep(0.02)
runner.stop()
"""


def test_the_end_of_a_process_that_a_job_has_forked(url: str, make_server: Any) -> None:
    """It ends where it comes out of `perform`."""
    server = make_server()
    server.kill()
    done = subprocess.run(
        [sys.executable, "-c", FORKS, url, server.url], capture_output=True, text=True, timeout=30
    )
    assert "1 jobs of the push buffer were not sent and are lost: kept" in done.stdout, done


LATE = """
import atexit, sys

@atexit.register
def last():
    try:
        print("pushed", app.client.enqueue("A"))
    except RedisUnavailable as error:
        print("refused")

from sidekiq_lua import Sidekiq
from sidekiq_lua.errors import RedisUnavailable

app = Sidekiq(redis=sys.argv[1], reliable_push=True, push_buffer=10)
"""


def test_a_push_after_the_end_is_not_kept(make_server: Any) -> None:
    """Nobody would send it."""
    server = make_server()
    server.kill()
    done = subprocess.run(
        [sys.executable, "-c", LATE, server.url], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "refused\n", done


HANDLER = """
import signal, sys
from collections import deque
from sidekiq_lua import Sidekiq, push_buffer

class Interrupted(deque):
    def extend(self, parcels):
        if not self:
            super().extend(parcels)
            signal.raise_signal(signal.SIGUSR1)
        else:
            super().extend(parcels)

push_buffer.FLUSH_S = 0.0
app = Sidekiq(redis=sys.argv[1], reliable_push=True, push_buffer=10)
app.outbox()._buffer._parcels = Interrupted()
signal.signal(signal.SIGUSR1, lambda *_: app.client.enqueue("A"))
app.client.enqueue("A")
assert app.outbox().kept == 2, app.outbox().kept
"""


def test_a_signals_handler_may_push(make_server: Any) -> None:
    server = make_server()
    server.kill()
    subprocess.run([sys.executable, "-c", HANDLER, server.url], check=True, timeout=20)


ANYWHERE = """
import signal, sys
from sidekiq_lua import Sidekiq, push_buffer

push_buffer.FLUSH_S = 0.0
app = Sidekiq(redis=sys.argv[1], reliable_push=True, push_buffer=10_000)
signal.signal(signal.SIGUSR1, lambda *_: app.client.enqueue("A"))
app.client.enqueue("A")
left = pushed = 1

def trace(frame, event, arg):
    global left
    left -= event == "line"
    if left == 0:
        sys.settrace(None)
        signal.raise_signal(signal.SIGUSR1)
    return trace

for n in range(1, 10_000):
    left = n
    sys.settrace(trace)
    app.client.enqueue("A")
    sys.settrace(None)
    pushed += 1
    if left > 0:
        break
    pushed += 1
assert n > 50, n
assert app.outbox().kept == pushed, (app.outbox().kept, pushed)
"""


def test_a_signal_may_come_anywhere_in_a_push_that_is_kept(make_server: Any) -> None:
    server = make_server()
    server.kill()
    subprocess.run([sys.executable, "-c", ANYWHERE, server.url], check=True, timeout=30)
