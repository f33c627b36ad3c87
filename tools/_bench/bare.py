"""Loops over our own scripts and nothing else, to compare a worker with. Run as a process of its own:

bare.py drain|sleep|tasks|move URL NUMBER THREADS    prints its figure as JSON
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable

from _bench.marks import Pen
from sidekiq_lua.store import Endpoint, Store, Transport
from sidekiq_lua.store.owners import Owner
from sidekiq_lua.store.running import Running

BATCH = 50


def _running(transport: Transport, threads: int, queues: tuple[str, ...] = ("default",)) -> Running:
    store = Store()
    owner = Owner("bench:1:a", "0.0", queues, threads)
    transport.run(store.owners.register(owner))
    return store.running(owner.identity, owner.epoch)


def _in_threads(threads: int, loop: Callable[[], None]) -> float:
    workers = [threading.Thread(target=loop) for _ in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - began


def drain(url: str, number: int, threads: int) -> float:
    """Jobs a second of threads that fetch 50 jobs, drop them, acknowledge and fetch."""
    transport = Transport(Endpoint(url), size=threads)
    running = _running(transport, threads)

    def loop() -> None:
        done: list[tuple[str, bytes]] = []
        while True:
            done = transport.run(running.ack_and_fetch(["default"], BATCH, done, "2000-01-01")).jobs
            if not done:
                return

    return number / _in_threads(threads, loop)


def sleep(url: str, number: int, threads: int) -> float:
    """Jobs a second of threads that fetch one job, sleep 10 ms, acknowledge it and fetch the next."""
    transport = Transport(Endpoint(url), size=threads)
    running = _running(transport, threads)

    def loop() -> None:
        done: list[tuple[str, bytes]] = []
        while True:
            done = transport.run(running.ack_and_fetch(["default"], 1, done, "2000-01-01")).jobs
            if not done:
                return
            time.sleep(0.01)

    return number / _in_threads(threads, loop)


def tasks(url: str, number: int, count: int) -> float:
    """Waits of 10 ms by so many tasks of one event loop, a second: what asyncio can do without Redis."""

    async def wait() -> None:
        for _ in range(number // count):
            await asyncio.sleep(0.01)

    async def wait_all() -> None:
        await asyncio.gather(*(wait() for _ in range(count)))

    began = time.perf_counter()
    asyncio.run(wait_all())
    return number / (time.perf_counter() - began)


def move(url: str, number: int, queues: int) -> float:
    """Mark when a BLMOVE answers, `number` times: the least that an idle consumer can take. Answers 0."""
    transport = Transport(Endpoint(url), size=queues)
    names = tuple(f"q{n}" for n in range(queues))
    running = _running(transport, queues, names)
    pen = Pen()
    left = threading.Semaphore(0)

    def loop(name: str) -> None:
        connection = Endpoint(url).connect(blocking_s=60)
        connection.connect()
        request = running.blocking_move(name, 25)
        while True:
            connection.send_packed_command([request], check_health=False)
            raw = connection.read_response(disable_decoding=True)
            if raw is not None:
                pen.mark("begin", json.loads(raw)["args"][0])
                left.release()

    for name in names:
        threading.Thread(target=loop, args=(name,), daemon=True).start()
    for _ in range(number):
        left.acquire()
    return 0.0


if __name__ == "__main__":
    kind, url, number, count = sys.argv[1:]
    print(json.dumps(globals()[kind](url, int(number), int(count))))
