"""An instance for the tests of testing."""

from __future__ import annotations

import io
from typing import Any

from both_clients import Fixed

from sidekiq_lua import Sidekiq, SidekiqLogger


def make_app(url: str, **settings: Any) -> Sidekiq:
    """Its clock stands still, and its worker, if one is run, does not wait for long."""
    return Sidekiq(
        **{
            "redis": url,
            "clock": Fixed(),
            "heartbeat_interval": 0.2,
            "poll_interval_average": 0.05,
            "logger": SidekiqLogger(io.StringIO()),
            **settings,
        }
    )
