"""Jobs that write down what happens to them, and a worker that kills itself where FAULT says.

LEDGER names the ledger's file. FAULT is a stage, a call and a file, as in "sent fetch /tmp/mark": the first
process that comes to that step of that call, and so makes the file, ends there as by `kill -9`.
"""

import asyncio
import os
import random
import signal
import threading
import time
from pathlib import Path

from faults.ledger import Ledger, run_of

from sidekiq_lua import Job, sidekiq
from sidekiq_lua.errors import Shutdown
from sidekiq_lua.store import fault

ledger = Ledger(os.environ["LEDGER"])


class Planned(Exception):
    """A failure that belongs to the job."""


class Recorder:
    """Server middleware: writes down each run, and fails the first runs of a job, as many as it asks for."""

    def call(self, job, payload, queue, next):
        jid, run = payload["jid"], run_of(payload)
        ledger.write("begin", jid, run)
        try:
            next()
            if run < payload.get("failures", 0):
                raise Planned
        except (Shutdown, asyncio.CancelledError):
            ledger.write("cut", jid, run)
            raise
        except BaseException:
            ledger.write("fail", jid, run)
            raise
        ledger.write("end", jid, run)


@sidekiq.configure_server
def configure(config):
    config.server_middleware.add(Recorder)
    # Sidekiq's jitter is up to ten seconds.
    random.randrange = lambda limit: 0


class Tried(Job):
    abstract = True
    sidekiq_options = {"retry": 3}

    def sidekiq_retry_in(count, error, payload):
        return 1


class WorkJob(Tried):
    def perform(self, seconds):
        time.sleep(seconds)


class AsyncWorkJob(Tried):
    async def perform(self, seconds):
        await asyncio.sleep(seconds)


class GateJob(Tried):
    """Runs until a file is there."""

    def perform(self, gate):
        pause = threading.Event()
        while not Path(gate).exists():
            pause.wait(0.005)


class TurnJob(Tried):
    """Its n-th run, by the ledger, makes a file `…inside` + n and waits for one that ends in n."""

    def perform(self, gate):
        turn = sum(entry.what == "begin" and entry.jid == self.jid for entry in ledger.read())
        Path(f"{gate}inside{turn}").touch()
        GateJob().perform(f"{gate}{turn}")


class ParentJob(Tried):
    """Enqueues a job, as jobs do; a second run enqueues a second one."""

    def perform(self, jid):
        push(sidekiq.client, f"{jid}-{os.getpid()}", WorkJob, 0)


def push(client, jid, kind, *args, **options):
    """Enqueue a job and write down that it is tried, and that it has gone well."""
    ledger.write("pushing", jid)
    client.push({"class": kind, "args": list(args), "jid": jid, **options})
    ledger.write("pushed", jid)


def strike(stage, call):
    if (stage, call) != step:
        return
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


if "FAULT" in os.environ:
    *step, mark = os.environ["FAULT"].split()
    step = tuple(step)
    fault.at = strike
