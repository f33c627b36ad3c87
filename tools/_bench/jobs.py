"""The jobs that workers run, and a client that enqueues them:

jobs.py one|threads|tasks|bulk|latency CLASS NUMBER [MORE]    prints a JSON object with its seconds
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
import time

from _bench.machine import wait
from _bench.marks import Pen
from sidekiq_lua import AsyncClient, Client, Job, sidekiq

pen = Pen()


class NoopJob(Job):
    def perform(self, n: int) -> None:
        pass


class AsyncNoopJob(Job):
    async def perform(self, n: int) -> None:
        pass


class MarkJob(Job):
    def perform(self, n: int) -> None:
        pen.mark("begin", n)


class AsyncMarkJob(Job):
    async def perform(self, n: int) -> None:
        pen.mark("begin", n)


class SleepJob(Job):
    def perform(self, n: int) -> None:
        time.sleep(0.01)


class AsyncSleepJob(Job):
    async def perform(self, n: int) -> None:
        await asyncio.sleep(0.01)


def one(kind: str, number: int) -> None:
    push = globals()[kind].perform_async
    for n in range(number):
        push(n)


def threads(kind: str, number: int, count: str) -> None:
    each = number // int(count)
    crew = [threading.Thread(target=one, args=(kind, each)) for _ in range(int(count))]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()


async def _tasks(kind: str, number: int, count: int) -> None:
    client = AsyncClient()

    async def push(each: int) -> None:
        for n in range(each):
            await client.push({"class": kind, "args": [n]})

    await asyncio.gather(*(push(number // count) for _ in range(count)))
    await client.close()


def tasks(kind: str, number: int, count: str) -> None:
    asyncio.run(_tasks(kind, number, int(count)))


def bulk(kind: str, number: int, at: str = "") -> None:
    due = {"at": float(at)} if at else {}
    Client().push_bulk({"class": kind, "args": [[n] for n in range(number)], **due})


def latency(kind: str, number: int, queues: str) -> None:
    """One by one, with pauses of 20 to 60 ms, into one of the queues.

    The first push of a process reads all scripts, and the end of one delays what runs beside it:
    neither is measured.
    """
    names = [f"q{n}" for n in range(int(queues))]
    sidekiq.client.push({"class": kind, "args": [0], "queue": "unheard"})
    for n in range(number):
        time.sleep(random.uniform(0.02, 0.06))
        at = time.monotonic_ns()
        sidekiq.client.push({"class": kind, "args": [n], "queue": random.choice(names)})
        pen.mark("sent", n, at)
    wait(lambda: pen.count("begin") >= number, 20, "every job has begun")


if __name__ == "__main__":
    action, name, number, *more = sys.argv[1:]
    sidekiq.redis_pool.command("PING")
    began, cpu = time.perf_counter(), time.process_time()
    globals()[action](name, int(number), *more)
    print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}))
