"""Fixtures of the interop tests: two sides, `python` and `ruby`, on one server that was just emptied."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from interop import harness
from interop.harness import LIST, Python, Ruby, RubyKind, Side


def _kind_or_skip(found: RubyKind | str) -> RubyKind:
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def debian() -> RubyKind:
    """Debian's Sidekiq, 6.4. CI installs it, so there its absence is a failure."""
    found = harness.installed()
    if isinstance(found, str) and os.environ.get("CI") == "true":
        pytest.fail(found)
    return _kind_or_skip(found)


@pytest.fixture(scope="session")
def checkout() -> RubyKind:
    """The Sidekiq that SIDEKIQ_SRC names, 8.1.7."""
    return _kind_or_skip(harness.checkout())


@pytest.fixture
def sidekiq_8(checkout: RubyKind) -> RubyKind:
    """For what older ones do not have."""
    if checkout.form != "8.1":
        pytest.skip(f"SIDEKIQ_SRC is Sidekiq {checkout.form}; name one of 8.1.7, as docs/interop.md says")
    return checkout


@pytest.fixture
def sidekiq_8_1(sidekiq_8: RubyKind) -> RubyKind:
    """For what 8.0 does not have either."""
    if sidekiq_8.version < (8, 1):
        pytest.skip("SIDEKIQ_SRC is Sidekiq 8.0; name one of 8.1.7, as docs/interop.md says")
    return sidekiq_8


@pytest.fixture(params=["debian", "checkout"])
def kind(request: pytest.FixtureRequest) -> RubyKind:
    """Tests that use `ruby` run with both versions; a module may override this."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def ruby(kind: RubyKind, url: str, redis: Any, tmp_path: Any) -> Iterator[Ruby]:
    side = Ruby(url, redis, tmp_path, kind.form)
    side.command, side.extra = kind.command, kind.extra
    yield side
    _end(side)


@pytest.fixture
def python(kind: RubyKind, url: str, redis: Any, tmp_path: Any) -> Iterator[Python]:
    side = Python(url, redis, tmp_path, kind.form)
    yield side
    _end(side)


def _end(side: Side) -> None:
    for worker in side.workers:
        worker.kill()


@pytest.fixture
def events(redis: Any) -> Any:
    """Call it for the events that jobs have reported, oldest first: `events(jid=…, event="perform")`."""

    def read(**wanted: Any) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in redis.lrange(LIST, 0, -1)]
        return [event for event in found if all(event.get(name) == value for name, value in wanted.items())]

    return read


@pytest.fixture
def entry(redis: Any) -> Any:
    """Call it for the one member of a set with this jid, as (bytes, score); None if there is none."""

    def find(name: str, jid: str) -> tuple[bytes, float] | None:
        found = [member for member in redis.zrange(name, 0, -1, withscores=True) if jid.encode() in member[0]]
        assert len(found) < 2, f"{name} has {len(found)} entries of {jid}: {found}"
        return found[0] if found else None

    return find


@pytest.fixture
def due_now(redis: Any, entry: Any) -> Any:
    """Call it to make a retry or scheduled job due, as the time would."""

    def rewind(name: str, jid: str) -> None:
        raw, _ = entry(name, jid)
        redis.zadd(name, {raw: time.time()}, xx=True)

    return rewind


@pytest.fixture
def settled(redis: Any) -> Any:
    """Call it for whether nothing is left to do: no queued, running, scheduled or retried job."""

    def look() -> bool:
        waiting = [*redis.scan_iter("queue:*"), *redis.scan_iter("lua:running:*")]
        return not waiting and redis.exists("retry", "schedule") == 0

    return look


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Skips are easy to overlook and say how to run the tests; figures are what a run is for."""
    reasons = {
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if "tests/interop/" in report.nodeid and isinstance(report.longrepr, tuple)
    }
    figures = [
        f"{name}: {value}"
        for report in terminalreporter.stats.get("passed", [])
        if "tests/interop/" in report.nodeid
        for name, value in report.user_properties
    ]
    if reasons or figures:
        terminalreporter.section("interop with Ruby")
        for reason in sorted(reasons):
            terminalreporter.write_line(f"SKIPPED: {reason}", yellow=True, bold=True)
        for figure in figures:
            terminalreporter.write_line(figure)
