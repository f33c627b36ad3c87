"""A worker in this process, with short intervals; iterable jobs that tell what they do."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest
from in_process import app, log, make_app, run

from sidekiq_lua.enumerators import array_enumerator

__all__ = ["app", "log", "make_app", "run"]


class Seen:
    """What jobs did, and gates at which their items wait."""

    def __init__(self):
        self.events = []
        self.gates = {}

    def gate(self, item):
        return self.gates.setdefault(item, SimpleNamespace(came=threading.Event(), go=threading.Event()))

    def wait(self, item):
        assert self.gate(item).came.wait(10), f"{item} was not reached: {self.events}"

    def open(self):
        for gate in self.gates.values():
            gate.go.set()

    def pass_by(self, item):
        if item in self.gates:
            self.gates[item].came.set()
            assert self.gates[item].go.wait(10)

    @property
    def items(self):
        return [event for event in self.events if type(event) is int]


@pytest.fixture
def seen():
    made = Seen()
    yield made
    made.open()


@pytest.fixture(params=["sync", "async"])
def define(request, seen):
    """`define(app, n, state_flush_interval=0)`: a job class over range(n) that writes down what happens."""

    def make(app, n=5, fails=(), **body):
        left = list(fails)

        class Hooks(app.IterableJob):
            abstract = True

            def build_enumerator(self, *args, cursor):
                seen.events.append(("from", cursor))
                return array_enumerator(range(n), cursor=cursor)

            def on_start(self):
                seen.events.append("start")

            def on_resume(self):
                seen.events.append("resume")

            def on_stop(self):
                seen.events.append("stop")

            def on_cancel(self):
                seen.events.append("cancel")

            def on_complete(self):
                seen.events.append("complete")

            def do(self, item):
                seen.events.append(item)
                if item in left:
                    left.remove(item)
                    raise ValueError(item)

        def each_iteration(self, item, *args):
            seen.pass_by(item)
            self.do(item)

        async def each_iteration_async(self, item, *args):
            if item in seen.gates:
                await asyncio.to_thread(seen.pass_by, item)
            self.do(item)

        method = each_iteration if request.param == "sync" else each_iteration_async
        return type("CountJob", (Hooks,), {"each_iteration": method, **body})

    return make


@pytest.fixture
def state(redis):
    """Call it for the state of a job, by its jid."""

    def read(jid):
        return {name.decode(): value.decode() for name, value in redis.hgetall(f"it-{jid}").items()}

    return read
