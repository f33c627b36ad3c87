"""A worker that is told to end while Redis is away ends within its time-out."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from faults.harness import Crew
from waiting import wait_until

TIMEOUT_S = 4.0
SLACK_S = 1.0
"""For the interpreter's own end, on a machine with others."""

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def kill(server: Any) -> None:
    server.kill()


def freeze(server: Any) -> None:
    """Connections stay open, new ones are accepted, and no answer comes."""
    server._process.send_signal(signal.SIGSTOP)


def ends_within(crew: Crew, seconds: float) -> float:
    worker = crew.members[0]
    began = time.monotonic()
    assert worker.stop(60) == 0, worker.text()
    spent = time.monotonic() - began
    assert spent < seconds, f"{spent:.1f} s\n{worker.text()}"
    assert worker.text().rstrip().endswith("Bye!")
    return spent


@pytest.fixture
def away(make_server: Any, make_crew: Any, make_app: Any) -> Callable[..., tuple[Any, Crew, Any]]:
    """A worker of three queues on a server of its own."""

    def make(**settings: Any) -> tuple[Any, Crew, Any]:
        server = make_server()
        crew = make_crew(server.url, server.client())
        settings = {"timeout": TIMEOUT_S, "queues": ["default", "a", "b"], "heartbeat_ttl": 60, **settings}
        settings = {"heartbeat_interval": 10, "recovery_interval": 15, **settings}
        crew.worker(**settings)
        return server, crew, make_app(server.url)

    return make


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize("outage", [kill, freeze])
def test_an_idle_worker(away: Any, outage: Callable[[Any], None], noticed: bool) -> None:
    server, crew, app = away(heartbeat_interval=0.5 if noticed else 10)
    crew.push(app, "ok-0", "WorkJob", 0)
    wait_until(lambda: crew.ledger.count("end") == 1)
    outage(server)
    if noticed:
        wait_until(lambda: "no jobs are fetched" in crew.members[0].text(), 15)
    ends_within(crew, TIMEOUT_S + SLACK_S)


@pytest.mark.parametrize("outage", [kill, freeze])
def test_a_worker_that_could_not_acknowledge(away: Any, outage: Callable[[Any], None]) -> None:
    server, crew, app = away(timeout=TIMEOUT_S)
    crew.push(app, "ok-0", "GateJob", str(crew.folder / "gate"))
    crew.push(app, "once-0", "GateJob", str(crew.folder / "gate"), failures=1)
    wait_until(lambda: crew.ledger.count("begin") == 2)
    outage(server)
    (crew.folder / "gate").touch()
    wait_until(lambda: crew.ledger.count("end") == crew.ledger.count("fail") == 1)
    ends_within(crew, TIMEOUT_S + SLACK_S)


@pytest.mark.parametrize("outage", [kill, freeze])
def test_a_worker_whose_job_outlasts_the_time_out(away: Any, outage: Callable[[Any], None]) -> None:
    server, crew, app = away()
    crew.push(app, "ok-0", "GateJob", str(crew.folder / "gate"))
    wait_until(lambda: crew.ledger.count("begin") == 1)
    outage(server)
    # The job has its whole time-out, and is then told to end.
    assert ends_within(crew, TIMEOUT_S + 2 + SLACK_S) > TIMEOUT_S
    assert crew.ledger.count("cut") == 1
    assert "cut off: " in crew.members[0].text()
