"""A process that is stopped for longer than its heartbeat lives and wakes up, and one that stays silent."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis as redis_py
from faults.harness import SHORT, Crew, Member
from faults.ledger import Keyspace
from faults.scenarios import DEAD
from waiting import wait_until

TTL_S, SWEEP_S = SHORT["heartbeat_ttl"], SHORT["recovery_interval"]
ELSEWHERE = "settled elsewhere"


def identity(crew: Crew, worker: Member) -> bytes:
    (name,) = (name for name in crew.redis.smembers("processes") if f":{worker.pid}:".encode() in name)
    return name


def stop_until_dead(crew: Crew, worker: Member) -> None:
    """SIGSTOP, until its heartbeat has expired."""
    name = identity(crew, worker)
    worker.signal("STOP")
    wait_until(lambda: not crew.redis.exists(name), 10, "the heartbeat's end")


def begun(crew: Crew) -> int:
    """How many runs of the TurnJob know which one they are: a process may be stopped from now on."""
    return len(list(crew.folder.glob("gateinside*")))


def gates(crew: Crew, *turns: int) -> None:
    for turn in turns:
        (crew.folder / f"gate{turn}").touch()


def test_a_zombie_that_fetches_its_own_recovered_job_disturbs_nothing(
    crew: Crew, app: Any, redis: redis_py.Redis
) -> None:
    """Both runs are in one process and of the same bytes: the first must not settle the second."""
    crew.push(app, "ok-1", "TurnJob", str(crew.folder / "gate"))
    zombie = crew.worker(concurrency=2)
    wait_until(lambda: begun(crew) == 1)
    crew.worker("-q", "other")
    stop_until_dead(crew, zombie)
    wait_until(lambda: redis.llen("queue:default") == 1, 10, "the job to be recovered")

    zombie.signal("CONT")
    wait_until(lambda: begun(crew) == 2, 10, "the job to run again")
    gates(crew, 1)
    wait_until(lambda: ELSEWHERE in zombie.text(), 10, zombie.text())

    assert Keyspace.of(redis).inside("lua:running:") == 1
    assert redis.get("stat:processed") is None
    gates(crew, 2)
    crew.wait_drained()
    assert crew.check().extra == {("ok-1", 0): 1}
    assert zombie.text().count(ELSEWHERE) == 1


@pytest.mark.parametrize(
    ("jid", "options"),
    [
        ("ok-1", {}),
        pytest.param("once-1", {"failures": 1}, marks=pytest.mark.slow),
        pytest.param("dies-1", {"failures": 9, "retry": 0}, marks=pytest.mark.slow),
        pytest.param("drop-1", {"failures": 9, "retry": False}, marks=pytest.mark.slow),
    ],
    ids=["ack", "retry", "bury", "drop"],
)
def test_what_a_zombie_settles_does_not_count(
    crew: Crew, app: Any, redis: redis_py.Redis, jid: str, options: dict[str, Any]
) -> None:
    """Its job runs elsewhere by now, and that run is not disturbed."""
    crew.push(app, jid, "TurnJob", str(crew.folder / "gate"), **options)
    zombie = crew.worker(concurrency=1)
    wait_until(lambda: begun(crew) == 1)
    crew.worker()
    stop_until_dead(crew, zombie)
    wait_until(lambda: begun(crew) == 2, 10, "the job to run elsewhere")

    gates(crew, 1)
    zombie.signal("CONT")
    wait_until(lambda: ELSEWHERE in zombie.text(), 10, zombie.text())

    space = Keyspace.of(redis)
    assert [place.key.partition(":")[0] for place in space.places[jid]] == ["lua"]
    assert (space.processed, space.failed) == (0, 0)
    gates(crew, 2, 3)
    crew.wait_drained()
    assert crew.check().extra == {(jid, 0): 1}
    assert zombie.text().count(ELSEWHERE) == 1


@pytest.mark.slow
def test_what_a_zombie_gives_back_at_its_end_stays_where_it_runs(
    crew: Crew, app: Any, redis: redis_py.Redis
) -> None:
    crew.push(app, "ok-1", "TurnJob", str(crew.folder / "gate"))
    zombie = crew.worker(concurrency=1, timeout=0.1)
    wait_until(lambda: begun(crew) == 1)
    crew.worker()
    stop_until_dead(crew, zombie)
    wait_until(lambda: begun(crew) == 2, 10, "the job to run elsewhere")

    zombie.signal("TERM")
    zombie.signal("CONT")
    wait_until(lambda: zombie.ended, 15)

    assert "Pushed 0 jobs back" in zombie.text()
    assert redis.llen("queue:default") == 0
    gates(crew, 2)
    crew.wait_drained()
    crew.check()


# -- lists of the silent ------------------------------------------------------------------------


def test_a_job_that_a_blocking_move_brings_to_a_stopped_process(
    crew: Crew, app: Any, redis: redis_py.Redis
) -> None:
    """The server serves whoever waits, alive or not: the job runs elsewhere once that one counts as dead."""
    stopped = crew.worker()
    wait_until(lambda: redis.info("clients")["blocked_clients"] == 1)
    stopped.signal("STOP")
    crew.push(app, "ok-1", "WorkJob", 0)
    assert Keyspace.of(redis).inside("lua:running:") == 1

    crew.worker()
    crew.wait_drained()

    stopped.signal("CONT")
    assert stopped.stop() == 0
    assert not crew.check().extra


def test_jobs_that_were_fetched_ahead_do_not_begin_in_a_zombie(
    crew: Crew, app: Any, redis: redis_py.Redis
) -> None:
    """They have run elsewhere by then; nor do those that an answer on its way brings."""
    for n in range(3000):
        crew.push(app, f"ok-{n}", "WorkJob", 0)
    zombie = crew.worker(concurrency=5)

    def held() -> int:
        return sum(redis.llen(key) for key in redis.keys("lua:running:*"))

    def stopped_with_many() -> bool:
        # Five run. How many more are taken depends on how long the last ones took, on a busy machine too.
        if held() > 12:
            zombie.signal("STOP")
            if held() > 12:
                return True
            zombie.signal("CONT")
        return False

    wait_until(stopped_with_many)
    stopped_at = time.monotonic()
    stop_until_dead(crew, zombie)
    crew.worker()
    crew.wait_drained()

    zombie.signal("CONT")
    assert zombie.stop() == 0
    begun_before = {(e.jid, e.run) for e in crew.ledger.read() if e.pid == zombie.pid and e.at < stopped_at}
    # Its threads may have been stopped between the decision and the job's first line.
    assert len(set(crew.check().extra) - begun_before) <= 5


def test_an_owner_is_remembered_for_as_long_as_something_may_still_come(
    crew: Crew, app: Any, redis: redis_py.Redis
) -> None:
    """Its lists were empty when its death was seen, and then a job arrives there."""
    app.transport().run(app.store.owners.register(DEAD))
    running = app.store.keys.running(DEAD.identity, DEAD.epoch, "default")
    redis.sadd(app.store.keys.fallen(DEAD.identity), "")
    crew.worker()

    def sweeps() -> int:
        return int(redis.info("commandstats").get("cmdstat_smembers", {"calls": 0})["calls"])

    wait_until(lambda: sweeps() > 5, 10, "some sweeps")

    crew.push(app, "ok-1", "WorkJob", 0, queue="elsewhere")
    redis.lmove("queue:elsewhere", running, "RIGHT", "LEFT")

    crew.wait_drained()
    assert not crew.check().extra


@pytest.mark.alone
@pytest.mark.slow
def test_a_death_that_nobody_sees_costs_a_ttl_and_a_sweep(
    crew: Crew, app: Any, redis: redis_py.Redis, record_property: Any
) -> None:
    """The worker and its stand-in die together, as with their machine."""
    victim = crew.worker()
    crew.push(app, "ok-1", "TurnJob", str(crew.folder / "gate"))
    wait_until(lambda: begun(crew) == 1)
    crew.worker()
    gates(crew, 2)
    beat_at = redis.hget(identity(crew, victim), "beat")
    wait_until(lambda: redis.hget(identity(crew, victim), "beat") != beat_at, 5, "a fresh beat")

    assert victim.children(), "this test needs /proc"
    victim.kill_all()
    died_at = time.monotonic()
    wait_until(lambda: begun(crew) == 2, 15)
    took = time.monotonic() - died_at

    record_property("recovered after (s)", round(took, 2))
    # A heartbeat that has just gone out lives for the whole TTL, and keys expire by the millisecond.
    assert TTL_S - 0.5 < took < TTL_S + SWEEP_S + 1
    crew.wait_drained()
    crew.check()
