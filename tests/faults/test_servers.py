"""What a server can do to its clients: end, forget, fill up, refuse, hang up, change its part."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis as redis_py
from faults.harness import COMES_BACK_S, SHORT, Crew
from faults.ledger import Keyspace
from servers import Server
from waiting import wait_until

from sidekiq_lua.errors import RedisFull, RedisRefused

DURABLE = {"appendonly": "yes", "appendfsync": "always"}


SWEEPS_IN_TWO_TTLS = 2 * 2 * SHORT["heartbeat_ttl"] / SHORT["recovery_interval"]
"""As many as two processes make."""


def sweeps(redis: redis_py.Redis) -> int:
    """How often somebody has looked for dead processes."""
    return int(redis.info("commandstats").get("cmdstat_hscan", {"calls": 0})["calls"])


class Setup:
    """A server of its own, a crew and a client there."""

    def __init__(self, server: Server, crew: Crew, app: Any) -> None:
        self.server, self.crew, self.app = server, crew, app

    @property
    def redis(self) -> redis_py.Redis:
        return self.crew.redis

    def load(self, n: int, seconds: float = 0.002) -> None:
        """Short jobs."""
        for k in range(n):
            self.crew.push(self.app, f"ok-{k}", "WorkJob", seconds)

    def running(self, n: int) -> None:
        """Jobs that run until `open_gate`."""
        for k in range(n):
            self.crew.push(self.app, f"ok-gate-{k}", "GateJob", str(self.crew.folder / "gate"))
        wait_until(lambda: self.crew.ledger.count("begin") == n)

    def open_gate(self) -> None:
        (self.crew.folder / "gate").touch()

    def ended(self) -> int:
        return self.crew.ledger.count("end")

    def comes_back(self, jid: str = "ok-after") -> None:
        """The server is back: a job that is pushed now runs soon, and the worker has told of the outage."""
        worker = self.crew.members[0]
        came_back_at = time.monotonic()
        self.app.close()  # its idle connections may be dead
        self.crew.push(self.app, jid, "WorkJob", 0)
        wait_until(lambda: any(e.what == "end" and e.jid == jid for e in self.crew.ledger.read()))
        assert time.monotonic() - came_back_at < COMES_BACK_S
        wait_until(lambda: "Redis is online, " in worker.text(), 5, worker.text())


@pytest.fixture
def setup(make_server: Any, make_crew: Any, make_app: Any) -> Iterator[Callable[..., Setup]]:
    clients = []

    def make(**options: Any) -> Setup:
        server = make_server(**options)
        # A pool of one: what a test does between a kill and a restart must not meet an old connection.
        client = server.client(retry_on_error=[redis_py.ConnectionError])
        clients.append(client)
        return Setup(server, make_crew(server.url, client), make_app(server.url))

    yield make
    for client in clients:
        client.close()


@contextmanager
def again_and_again(action: Callable[[], Any]) -> Iterator[list[int]]:
    """Do something over and over in a thread meanwhile; the list holds how often."""
    done, times = threading.Event(), [0]

    def loop() -> None:
        while not done.wait(0.01):
            action()
            times[0] += 1

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield times
    finally:
        done.set()
        thread.join()


# -- it ends ------------------------------------------------------------------------------------


def test_a_server_that_is_killed_under_load_and_keeps_its_data(setup: Any) -> None:
    at = setup(**DURABLE)
    at.load(300)
    at.crew.worker(concurrency=2)
    wait_until(lambda: at.ended() > 50)
    at.server.kill()
    at.server.restart()

    at.comes_back()
    at.crew.wait_drained()

    assert not at.crew.check().extra


def test_a_server_that_forgets_everything_while_jobs_run(setup: Any) -> None:
    """What it held is lost with it; the worker is not, and does not count what nobody knows of."""
    at = setup()
    worker = at.crew.worker(concurrency=3)
    at.running(2)
    at.server.kill()
    at.server.restart()

    at.comes_back()
    at.open_gate()

    wait_until(lambda: worker.text().count("settled elsewhere") == 2, 10, worker.text())
    assert at.redis.get("stat:processed") == b"1"
    assert Keyspace.of(at.redis).places == {}
    assert worker.stop() == 0


def test_flushall_while_jobs_run(setup: Any) -> None:
    at = setup()
    worker = at.crew.worker(concurrency=3)
    at.running(2)
    at.redis.flushall()

    at.crew.push(at.app, "ok-after", "WorkJob", 0)
    wait_until(lambda: at.ended() == 1, COMES_BACK_S)
    at.open_gate()

    wait_until(lambda: worker.text().count("settled elsewhere") == 2, 10, worker.text())
    assert at.redis.get("stat:processed") == b"1"
    assert Keyspace.of(at.redis).places == {}
    assert worker.stop() == 0


# -- it hangs up --------------------------------------------------------------------------------


def test_script_flush_at_any_moment(setup: Any) -> None:
    at = setup()
    worker = at.crew.worker(concurrency=3)
    with at.server.client() as other, again_and_again(other.script_flush) as times:
        at.load(150)
        wait_until(lambda: times[0] > 30)
        at.crew.wait_drained()

    assert not at.crew.check().extra
    assert "no jobs are fetched" not in worker.text()


def test_client_kill_of_every_connection_under_load(setup: Any) -> None:
    at = setup()
    at.load(300)
    at.crew.worker(concurrency=3)
    wait_until(lambda: at.ended() > 10)
    for n in range(3):
        at.redis.client_kill_filter(_type="normal", skipme=True)
        at.comes_back(f"ok-after-{n}")
    at.crew.wait_drained()

    assert not at.crew.check().extra


# -- it refuses ---------------------------------------------------------------------------------


def test_a_full_server(setup: Any) -> None:
    """New work is refused; what runs ends and is acknowledged, heartbeats go on, and queues are drained."""
    at = setup()
    worker = at.crew.worker(concurrency=3)
    at.running(2)
    at.crew.mixture(at.app)
    (identity,) = at.redis.smembers("processes")
    at.redis.config_set("maxmemory", "1")
    beat = at.redis.hget(identity, "beat")

    with pytest.raises(RedisFull):
        at.crew.push(at.app, "ok-refused", "WorkJob", 0)
    at.open_gate()
    at.crew.wait_drained(hurry=False)
    wait_until(lambda: at.redis.hget(identity, "beat") != beat)
    # A wait for jobs that had begun before is refused once it begins anew.
    wait_until(lambda: "it is fetched by polling meanwhile" in worker.text())
    at.crew.check()

    at.redis.config_set("maxmemory", "0")
    at.crew.push(at.app, "ok-after", "WorkJob", 0)
    at.crew.wait_drained()
    assert not at.crew.check().extra
    assert "no jobs are fetched" not in worker.text()


def test_a_server_that_cannot_write_to_its_disk(setup: Any) -> None:
    """MISCONF refuses every write; running jobs end, and are acknowledged when it goes on."""
    at = setup(save="3600 1")
    worker = at.crew.worker(concurrency=3)
    at.running(2)
    target = at.server.directory / "dump.rdb"
    target.mkdir()
    (target / "x").touch()
    at.redis.bgsave()
    wait_until(lambda: at.redis.info("persistence")["rdb_last_bgsave_status"] == "err")
    with pytest.raises(RedisRefused):
        at.crew.push(at.app, "ok-refused", "WorkJob", 0)
    at.open_gate()
    wait_until(lambda: "no jobs are fetched" in worker.text() and at.ended() == 2, 10, worker.text())

    (target / "x").unlink()
    target.rmdir()
    at.redis.bgsave()
    wait_until(lambda: at.redis.info("persistence")["rdb_last_bgsave_status"] == "ok")
    at.comes_back()
    at.crew.wait_drained()
    assert not at.crew.check().extra


def test_a_server_that_becomes_a_replica_and_a_master_again(setup: Any, make_server: Any) -> None:
    at = setup(**{"repl-diskless-sync-delay": 0})
    other = make_server({"repl-diskless-sync-delay": 0}, kind=at.server.kind)
    worker = at.crew.worker(concurrency=3)
    at.running(2)
    with other.client() as promoted:
        promoted.replicaof("127.0.0.1", at.server.port)
        wait_until(lambda: promoted.info("replication").get("master_link_status") == "up")
        at.redis.wait(1, 5000)
        promoted.replicaof("NO", "ONE")
        at.redis.replicaof("127.0.0.1", other.port)
        wait_until(lambda: at.redis.info("replication").get("master_link_status") == "up")
        with pytest.raises(RedisRefused, match="replica"):
            at.crew.push(at.app, "ok-refused", "WorkJob", 0)
        at.open_gate()
        wait_until(lambda: "no jobs are fetched" in worker.text() and at.ended() == 2, 10, worker.text())
        at.redis.replicaof("NO", "ONE")

    at.comes_back()
    at.crew.wait_drained()
    assert not at.crew.check().extra


def test_a_server_that_is_busy_with_a_foreign_script(setup: Any) -> None:
    at = setup(**{"busy-reply-threshold": 10})
    worker = at.crew.worker(concurrency=3)
    at.running(2)

    def be_busy() -> None:
        with at.server.client(socket_timeout=30) as foreign, pytest.raises(redis_py.ResponseError):
            foreign.eval("while true do end", 0)

    thread = threading.Thread(target=be_busy)
    thread.start()
    at.open_gate()
    wait_until(lambda: "no jobs are fetched" in worker.text() and at.ended() == 2, 10, worker.text())
    at.redis.script_kill()
    thread.join()

    at.comes_back()
    at.crew.wait_drained()
    assert not at.crew.check().extra


@pytest.mark.slow
def test_a_server_that_evicts_heartbeats(setup: Any) -> None:
    """Every heartbeat is gone at once, also the own: nobody is taken for dead."""
    at = setup(**{"maxmemory-policy": "volatile-ttl"})
    first = at.crew.worker(concurrency=1)
    at.running(1)
    at.crew.worker()
    at.redis.config_set("maxmemory", "1")
    names = at.redis.smembers("processes")
    assert len(names) == 2
    wait_until(lambda: not at.redis.exists(*names), 10, "both heartbeats to be evicted")
    before = sweeps(at.redis)
    wait_until(lambda: sweeps(at.redis) > before + SWEEPS_IN_TWO_TTLS, 20)

    assert at.crew.ledger.count("begin") == 1
    at.open_gate()
    wait_until(lambda: at.redis.get("stat:processed") == b"1")
    at.redis.config_set("maxmemory", "0")
    at.crew.wait_drained()
    assert not at.crew.check().extra
    assert "settled elsewhere" not in first.text()
