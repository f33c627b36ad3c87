"""The connection breaks in the middle of a call: nothing is lost, stuck, doubled or counted twice.

A proxy stands between the processes and the server and lets the first request of the case meet its fate.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
from faults.harness import COMES_BACK_S, SHORT, Crew
from faults.scenarios import (
    Scenario,
    cut_off,
    disconnected,
    enqueueing,
    idle,
    orphaned,
    stopping,
    working,
)
from proxy import Fate, Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua.store.scripts import library

TIMEOUT_S = 1.0
"""How long processes wait for a reply here; three seconds is the default. One that starts gives up where the
machine stands still for as long.
"""
TTL_S = 4
"""Long enough for a heartbeat to live until one is answered after a time-out."""

CALLS: dict[Scenario, list[str]] = {
    working: [
        *("beat", "TIME", "fetch", "ack_and_fetch", "retry", "bury", "drop", "due", "promote", "owners"),
        *("alive", "BLMOVE"),
    ],
    idle: ["admit"],
    stopping: ["ack", "leave"],
    cut_off: ["requeue"],
    orphaned: ["fallen", "held", "recover"],
    disconnected: ["held"],
    enqueueing("one"): ["push"],
    enqueueing("later"): ["schedule"],
    enqueueing("async-bulk-wide"): ["push"],
}

FATES = (Fate.CUT_REQUEST, Fate.CUT_REPLY, Fate.DESERT, Fate.SWALLOW, Fate.HOLD)

QUICK = {
    *("fetch CUT_REPLY", "ack_and_fetch CUT_REPLY", "ack CUT_REPLY", "retry CUT_REPLY", "bury CUT_REQUEST"),
    *("promote HOLD", "requeue CUT_REPLY", "recover SWALLOW", "admit CUT_REPLY", "push CUT_REPLY"),
    *("BLMOVE CUT_REPLY", "beat SWALLOW"),
}
"""What runs by default; the rest is slow only by its number."""


@pytest.fixture
def proxy(server: Server, redis: redis_py.Redis) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def crew(proxy: Proxy, make_crew: Any, redis: redis_py.Redis) -> Crew:
    """A crew whose processes all go through the proxy; the test itself does not.

    Fixtures end in reverse order: the proxy is the first argument, so that it outlives its clients.
    """
    for script in library().values():
        redis.script_load(script.text)
    made = make_crew(f"{proxy.url}?socket_timeout={TIMEOUT_S}", redis)
    made.settings = {**SHORT, "heartbeat_ttl": TTL_S}
    return made


def words_of(call: str) -> bytes:
    """Bytes that only requests of this call contain: `announce` names every script too."""
    if call not in library():
        return call.encode()
    script = library()[call]
    command = b"EVALSHA_RO" if script.reads_only else b"EVALSHA"
    return command + b"\r\n$40\r\n" + script.sha.encode()


def _cases() -> list[Any]:
    seen: set[str] = set()
    cases = []
    for number, (scenario, calls) in enumerate(CALLS.items()):
        for call in calls:
            for fate in FATES:
                name = f"{call} {fate.name}"
                marks = [] if name in QUICK - seen else [pytest.mark.slow]
                seen.add(name)
                cases.append(pytest.param(scenario, call, fate, id=f"{number} {name}", marks=marks))
    return cases


@pytest.mark.parametrize(("scenario", "call", "fate"), _cases())
def test_a_call_without_an_answer_costs_nothing(
    proxy: Proxy, crew: Crew, app: Any, scenario: Scenario, call: str, fate: Fate
) -> None:
    proxy.on(words_of(call), fate)
    scenario(crew, app)
    wait_until(lambda: proxy.met, 15, f"{call} to be made")

    if all(member.ended for member in crew.members):
        crew.worker("-q", "default", "-q", "low")
    crew.wait_drained()

    audit = crew.check()
    cut = {(entry.jid, entry.run) for entry in crew.ledger.read() if entry.what == "cut"}
    assert set(audit.extra) <= cut, "a job ran twice without need"
    assert not audit.poisoned
    assert "settled elsewhere" not in crew.logs()


ALONE = [pytest.mark.slow, pytest.mark.alone]


@pytest.mark.parametrize("call", ["admit", "ack_and_fetch", pytest.param("BLMOVE", marks=ALONE)])
def test_after_a_cut_the_worker_consumes_again_at_once_and_tells_of_it(
    proxy: Proxy, crew: Crew, app: Any, call: str
) -> None:
    worker = crew.worker()
    wait_until(lambda: crew.redis.info("clients")["blocked_clients"] == 1)
    proxy.on(words_of(call), Fate.CUT_REPLY)
    crew.push(app, "ok-1", "WorkJob", 0)
    wait_until(lambda: proxy.met)
    cut_at = time.monotonic()

    crew.push(app, "ok-2", "WorkJob", 0)
    crew.wait_drained(COMES_BACK_S)

    assert time.monotonic() - cut_at < COMES_BACK_S
    wait_until(lambda: "Redis is online, " in worker.text(), 5, worker.text())
    assert worker.text().count("no jobs are fetched") == 1
    assert not crew.check().extra


@pytest.mark.alone
@pytest.mark.slow
def test_a_server_that_is_not_heard_of_for_a_while(
    proxy: Proxy, make_crew: Any, app: Any, redis: redis_py.Redis
) -> None:
    """Every packet is swallowed, on every connection, with the default time-outs; then the network heals.

    It heals just after the worker has asked in vain once more, which is the worst moment.
    """
    crew = make_crew(proxy.url, redis)
    worker = crew.worker()
    wait_until(lambda: redis.info("clients")["blocked_clients"] == 1)
    proxy.silence()
    crew.push(app, "ok-1", "WorkJob", 0)
    wait_until(lambda: "no jobs are fetched" in worker.text(), 15, worker.text())
    seen = proxy.connections
    wait_until(lambda: proxy.connections > seen + 2)

    proxy.heal()
    healed_at = time.monotonic()
    crew.wait_drained()

    assert time.monotonic() - healed_at < COMES_BACK_S
    wait_until(lambda: "Redis is online, " in worker.text(), 5, worker.text())
    assert not crew.check().extra


@pytest.mark.alone
@pytest.mark.slow
def test_an_idle_worker_whose_connections_died_in_silence(
    proxy: Proxy, make_crew: Any, app: Any, redis: redis_py.Redis
) -> None:
    """It waits for jobs on a dead connection; its heartbeat notices, long before the wait would end."""
    crew = make_crew(proxy.url, redis)
    worker = crew.worker(heartbeat_ttl=60, heartbeat_interval=2)
    wait_until(lambda: redis.info("clients")["blocked_clients"] == 1)
    proxy.silence()
    wait_until(lambda: "the heartbeat failed" in worker.text(), 15, worker.text())

    proxy.heal()
    healed_at = time.monotonic()
    crew.push(app, "ok-1", "WorkJob", 0)
    crew.wait_drained()

    assert time.monotonic() - healed_at < COMES_BACK_S
    assert not crew.check().extra
