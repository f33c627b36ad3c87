"""StatsD, over a real UDP socket."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from waiting import wait_until

from sidekiq_lua import Sidekiq
from sidekiq_lua.contrib.statsd import CountPushes, MeasureJobs, Statsd
from sidekiq_lua.errors import ConfigurationError, Interrupted


@pytest.fixture
def ear() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(10)
        yield ear


def heard(ear: socket.socket) -> list[str]:
    """The lines of one datagram, times as N."""
    return re.sub(r":[\d.]+\|ms", ":N|ms", ear.recv(65_536).decode()).split("\n")


def test_a_worker_s_jobs(ear: socket.socket, url: str, redis: Any) -> None:
    statsd = Statsd(*ear.getsockname(), tags=["env:test"])
    app = Sidekiq(redis=url, queues=["default", "low"], log_level="fatal")
    app.config.server_middleware.use(MeasureJobs, statsd)
    app.config.client_middleware.use(CountPushes, statsd)

    class GoodJob(app.Job):  # type: ignore[misc]
        def perform(self) -> None:
            pass

    class BadJob(app.Job):  # type: ignore[misc]
        async def perform(self) -> None:
            raise ValueError

    GoodJob.perform_async()
    assert heard(ear) == ["sidekiq.jobs.pushed:1|c|#env:test,worker:GoodJob,queue:default"]
    BadJob.set(queue="low", retry=False).perform_async()
    assert heard(ear) == ["sidekiq.jobs.pushed:1|c|#env:test,worker:BadJob,queue:low"]
    runner = app.run()
    try:
        found = sorted([heard(ear), heard(ear)])
    finally:
        runner.stop()
    statsd.close()
    app.close()

    bad, good = "|#env:test,worker:BadJob,queue:low", "|#env:test,worker:GoodJob,queue:default"
    jobs = "sidekiq.jobs"
    assert found == [
        [f"{jobs}.count:1|c{bad}", f"{jobs}.failure:1|c{bad}", f"{jobs}.perform:N|ms{bad}"],
        [f"{jobs}.count:1|c{good}", f"{jobs}.success:1|c{good}", f"{jobs}.perform:N|ms{good}"],
    ]  # fmt: skip


def test_a_push_that_is_stopped_is_not_counted(ear: socket.socket, url: str) -> None:
    statsd = Statsd(*ear.getsockname())
    app = Sidekiq(redis=url)
    app.config.client_middleware.use(CountPushes, statsd)

    class Stop:
        def call(self, job_class: Any, payload: Any, queue: str, redis: Any, next: Any) -> None:
            if payload["args"]:
                next()
            return None

    class EchoJob(app.Job):  # type: ignore[misc]
        def perform(self) -> None:
            pass

    app.config.client_middleware.use(Stop)
    assert EchoJob.perform_async() is None
    statsd.send({"count": "1|c"}, "Last", "default")

    assert heard(ear) == ["sidekiq.jobs.count:1|c|#worker:Last,queue:default"]
    statsd.close()
    app.close()


def test_without_tags_the_class_is_in_the_name(ear: socket.socket) -> None:
    statsd = Statsd(*ear.getsockname(), prefix="", tags=None)
    statsd.send({"count": "1|c"}, "Billing::Charge Job", "default")

    assert heard(ear) == ["jobs.Billing__Charge_Job.count:1|c"]
    statsd.close()


def test_hostile_names_cannot_add_metrics(ear: socket.socket) -> None:
    statsd = Statsd(*ear.getsockname())
    statsd.send({"count": "1|c"}, "A\nevil:1|c|#x", "q,worker:B")

    assert heard(ear) == ["sidekiq.jobs.count:1|c|#worker:A_evil:1_c__x,queue:q_worker:B"]
    statsd.close()


def test_nobody_listens(ear: socket.socket) -> None:
    address = ear.getsockname()
    ear.close()
    statsd = Statsd(*address)
    statsd.send({"count": "1|c"}, "A", "q")
    statsd.close()
    statsd.send({"count": "1|c"}, "A", "q")

    wait_until(lambda: statsd.dropped >= 1)


def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match=r"no StatsD at no\.such\.host\.invalid:8125"):
        Statsd("no.such.host.invalid")


def test_an_iterable_job_that_makes_room_has_not_failed(ear: socket.socket) -> None:
    statsd = Statsd(*ear.getsockname())

    def leave() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        MeasureJobs(statsd).call(None, {"class": "J"}, "default", leave)
    assert heard(ear)[1].startswith("sidekiq.jobs.success:1|c")
    statsd.close()
