"""What a job costs the server as there is more of everything."""

from __future__ import annotations

import json
from collections.abc import Callable

from sidekiq_lua.store import Endpoint, Store, Transport
from sidekiq_lua.store.owners import Owner

from .drain import drained_s
from .machine import Server, enqueue
from .rounds import Found, in_turns, medians

RAW = json.dumps(
    {"class": "NoopJob", "args": [1], "queue": "default", "jid": "0" * 24, "retry": True, "created_at": 1},
    separators=(",", ":"),
)


def _waiting(server: Server, number: int) -> dict[str, object]:
    """Jobs behind those that are run."""
    _many(server, "queue:default", number)
    return {}


def _queues(server: Server, number: int) -> dict[str, object]:
    """Queues that the worker serves; the jobs are in the last one."""
    names = [f"q{n}" for n in range(number - 1)]
    server.client.sadd("queues", "default", *names)
    return {"queues": [*names, "default"]}


def _processes(server: Server, number: int) -> dict[str, object]:
    """Other processes that beat."""
    store, transport = Store(), Transport(Endpoint(server.url))
    for n in range(number - 1):
        owner = Owner(f"host:{n}:abc", "0.0", ("default",), 10)
        transport.run(store.owners.register(owner))
        transport.run(store.processes.beat(owner.identity, [owner], 3600, {"info": "{}"}, {}))
    transport.close()
    return {}


def _scheduled(server: Server, number: int) -> dict[str, object]:
    """Jobs that are due much later."""
    for start in range(0, number, 10_000):
        part = range(start, min(start + 10_000, number))
        server.client.zadd("schedule", {f'{RAW[:-1]},"n":{n}}}': 4e9 + n for n in part})
    return {}


def _many(server: Server, key: str, number: int) -> None:
    for start in range(0, number, 10_000):
        server.client.lpush(key, *[RAW] * min(10_000, number - start))


GROWING: dict[str, tuple[Callable[[Server, int], dict[str, object]], list[int]]] = {
    "waiting jobs": (_waiting, [1_000, 100_000, 2_000_000]),
    "queues": (_queues, [1, 10, 100]),
    "processes": (_processes, [1, 50, 200]),
    "scheduled jobs": (_scheduled, [0, 100_000, 1_000_000]),
}


def growth(jobs: int, rounds: int, scale: float = 1.0) -> Found:
    """The server's microseconds per job (fetch, acknowledgement, counters) as each of four things grows."""
    found: Found = {"jobs": jobs}
    for what, (prepare, sizes) in GROWING.items():
        scaled = [max(int(size * scale), 1) if size else 0 for size in sizes]

        def cost(size: int, prepare: Callable[[Server, int], dict[str, object]] = prepare) -> float:
            with Server() as server:
                enqueue(server, "bulk", "NoopJob", jobs)
                settings = prepare(server, size)
                before = server.cpu_s()
                drained_s(server, jobs, 10, **settings)
                return (server.cpu_s() - before) / jobs * 1e6

        rates = in_turns(rounds, {f"{size:,}": (lambda size=size: cost(size)) for size in scaled})
        middle = medians(rates)
        found[f"server us per job, {what}"] = {name: round(value, 2) for name, value in middle.items()}
        smallest, *_, largest = middle.values()
        found[f"{what}: largest / smallest"] = round(largest / smallest, 3)
    return found
