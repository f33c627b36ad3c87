"""Who makes the trips of an exchange."""

import sys
import threading

import pytest
from waiting import wait_until

from sidekiq_lua.store import fault
from sidekiq_lua.worker.pace import Pace


@pytest.fixture
def hold_fetcher(monkeypatch):
    """Stops the fetcher's thread in the middle of its next acknowledgement once `begun` is set, until it is
    released.
    """
    begun, held, release = threading.Event(), threading.Event(), threading.Event()

    def at(stage, name):
        mine = begun.is_set() and threading.current_thread().name.endswith("/fetcher")
        if mine and stage == "sent" and name.startswith("ack") and not held.is_set():
            held.set()
            release.wait(20)

    monkeypatch.setattr(fault, "at", at)
    yield begun, held, release
    release.set()


def test_what_ends_while_the_fetcher_is_on_a_trip_is_acknowledged(
    make_app, run, redis, hold_fetcher, monkeypatch
):
    """The only thread finds the trip under way and rests: the fetcher must look again."""
    app = make_app(concurrency=1, heartbeat_interval=10, heartbeat_ttl=60)
    begun, held, release = hold_fetcher
    gate, over = threading.Event(), threading.Event()

    class QuickJob(app.Job):
        def perform(self):
            pass

    class GateJob(app.Job):
        def perform(self):
            begun.set()  # a trip before that, on a busy machine, would be what the next job waits for
            gate.wait(20)
            over.set()

    # Several jobs are fetched at once, and wait to be acknowledged while another one runs.
    monkeypatch.setattr(Pace, "ahead", lambda pace, slots: 20)
    app.client.push_bulk({"class": QuickJob, "args": [[] for _ in range(10)]})
    app.client.push_bulk({"class": GateJob, "args": [[] for _ in range(2)]})
    run(app)
    assert held.wait(20)

    gate.set()
    assert over.wait(20)
    wait_until(lambda: threads_at_rest() == 1)
    release.set()

    wait_until(lambda: redis.get("stat:processed") == b"12")


def threads_at_rest():
    frames = sys._current_frames()
    mine = [t for t in threading.enumerate() if t.name.endswith("/processor")]
    return sum(frames[t.ident].f_code.co_qualname == "Seat.wait" for t in mine)
