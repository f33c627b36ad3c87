"""A process that was stopped begins no job before it knows that its jobs are still its own."""

import pytest

from sidekiq_lua.worker import lease as module
from sidekiq_lua.worker.lease import Lease


@pytest.fixture
def at(monkeypatch):
    """Sets the clock, in seconds."""

    def set_to(seconds):
        monkeypatch.setattr(module, "boottime", lambda: 1000.0 + seconds)

    set_to(0)
    return set_to


@pytest.fixture
def lease(at):
    lease = Lease()
    lease.renew(1000.0, 60)
    return lease


@pytest.mark.parametrize(("seconds", "over"), [(0, False), (56, False), (58, True), (1000, True)])
def test_it_ends_before_the_heartbeat_does(lease, at, seconds, over):
    at(seconds)
    assert lease.over is over


def test_a_beat_renews_it(lease, at):
    at(90)
    lease.renew(1089.0, 60)
    assert not lease.over


def test_without_a_heartbeat_it_has_no_end(at):
    at(1e9)
    assert not Lease().over
