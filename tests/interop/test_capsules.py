"""Ruby's Sidekiq reads the capsules of a Python worker."""

from __future__ import annotations

from typing import Any

import pytest

from sidekiq_lua import ProcessSet, Sidekiq

pytestmark = pytest.mark.interop


@pytest.fixture
def kind(sidekiq_8_1: Any) -> Any:
    """Sidekiq 8.1: older ones know no capsules."""
    return sidekiq_8_1


def test_ruby_reads_the_capsules(ruby: Any, url: str) -> None:
    app = Sidekiq(redis=url, concurrency=2, queues=["default,2", "low,1"])
    app.config.capsule("serial", queues=["one"], concurrency=1)
    runner = app.run()
    try:
        [process] = ruby.inspect("processes")["processes"]["list"]
        assert process["api_capsules"] == {
            "default": {"concurrency": 2, "mode": "weighted", "weights": {"default": 2, "low": 1}},
            "serial": {"concurrency": 1, "mode": "strict", "weights": {"one": 0}},
        }
        assert process["api_queues"] == ["default", "low", "one"]
        assert process["api_weights"] == {"default": 2, "low": 1, "one": 0}
        assert process["concurrency"] == 3
        [ours] = ProcessSet(app)
        assert (ours.capsules, ours.queues) == (process["api_capsules"], process["api_queues"])
    finally:
        runner.stop()
        app.close()
