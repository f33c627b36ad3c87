"""Situations in which workers and clients make their calls. Each begins with an empty server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.harness import Crew
from waiting import wait_until

from sidekiq_lua.payload import Codec
from sidekiq_lua.store.owners import Owner

Scenario = Callable[[Crew, Any], None]
PUSHER = str(Path(__file__).with_name("pusher.py"))
DEAD = Owner("elsewhere:1:abc", "0.0", ("default",), 5)


def working(crew: Crew, app: Any) -> None:
    """Two processes start into a full queue."""
    crew.redis.sadd("processes", "gone:1:x")
    crew.mixture(app)
    for _ in range(2):
        crew.worker(wait=False)


def idle(crew: Crew, app: Any) -> None:
    """Jobs come while two processes wait for some."""
    pair(crew)
    crew.mixture(app)


def stopping(crew: Crew, app: Any) -> None:
    """A process is told to stop while jobs run; they end in time."""
    _stop_amid_jobs(crew, app, 20)
    (crew.folder / "gate").touch()


def cut_off(crew: Crew, app: Any) -> None:
    """A process is told to stop while jobs run, and they do not end in time."""
    _stop_amid_jobs(crew, app, 0.1)
    wait_until(lambda: crew.members[0].ended, 10)
    (crew.folder / "gate").touch()


def orphaned(crew: Crew, app: Any) -> None:
    """Two processes find the jobs of a third, which was seen to die."""
    app.transport().run(app.store.owners.register(DEAD))
    crew.redis.sadd(app.store.keys.fallen(DEAD.identity), "", "ok-0")
    payload = {"class": "WorkJob", "args": [0], "queue": "default", "retry": 3}
    raws = [Codec().dump({**payload, "jid": f"ok-{n}"}) for n in range(150)]
    for n in range(150):
        crew.ledger.write("pushed", f"ok-{n}")
    crew.redis.lpush(app.store.keys.running(DEAD.identity, DEAD.epoch, "default"), *raws)
    for _ in range(2):
        crew.worker(wait=False)


def disconnected(crew: Crew, app: Any) -> None:
    """Two processes lose all their connections."""
    pair(crew)
    crew.redis.client_kill_filter(_type="normal", skipme=True)
    crew.mixture(app)


def enqueueing(way: str) -> Scenario:
    """A client process is broken off; then a worker starts."""

    def scenario(crew: Crew, app: Any) -> None:
        client = crew.start(PUSHER, way, crew.url)
        client.process.wait(20)

    return scenario


def enqueueing_inside(crew: Crew, app: Any) -> None:
    """A job enqueues another."""
    crew.push(app, "ok-parent", "ParentJob", "ok-child")
    for _ in range(2):
        crew.worker(wait=False)


def pair(crew: Crew) -> None:
    """Two processes that wait for jobs."""
    for worker in [crew.worker(wait=False) for _ in range(2)]:
        worker.ready()
    wait_until(lambda: crew.redis.info("clients")["blocked_clients"] == 2)


def _stop_amid_jobs(crew: Crew, app: Any, timeout_s: float) -> None:
    for n in range(2):
        crew.push(app, f"ok-{n}", "GateJob", str(crew.folder / "gate"))
    worker = crew.worker(concurrency=3, timeout=timeout_s)
    wait_until(lambda: crew.ledger.count("begin") == 2)
    worker.signal("TERM")
    wait_until(lambda: worker.ended or "Pausing to allow" in worker.text())
