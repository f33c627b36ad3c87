"""Fixtures for pytest, which finds them by itself where sidekiq-lua is installed. See docs/testing.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from .errors import NoTestServer

if TYPE_CHECKING:
    from .app import App
    from .payload import Payload
    from .testing.live import LiveServer
    from .testing.queues import JobQueues
    from .testing.servers import TestServer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "sidekiq_server",
        "where sidekiq_server comes from: auto, bundled, redis_url or docker",
        default="auto",
    )
    parser.addini("sidekiq_server_missing", "what a test without a server does: fail or skip", default="fail")


@pytest.fixture
def sidekiq_fake() -> Iterator[JobQueues]:
    """Keep jobs in memory, in all threads; answers `Queues`, empty at first."""
    yield from _in_mode("fake")


@pytest.fixture
def sidekiq_inline() -> Iterator[JobQueues]:
    """Run each job when it is pushed, in all threads."""
    yield from _in_mode("inline")


def _in_mode(mode: str) -> Iterator[JobQueues]:
    from .testing import Queues, Testing
    from .testing.scope import Mode, for_process

    before = Testing.server_middleware.copy()
    Queues.clear_all()
    with for_process(Mode(mode)):
        yield Queues
    Queues.clear_all()
    Testing.server_middleware.become(before)


@pytest.fixture
def assert_enqueued(sidekiq_fake: JobQueues) -> Callable[..., list[Payload]]:
    """`sidekiq_lua.testing.assert_enqueued`, in fake mode."""
    from .testing import assert_enqueued

    return assert_enqueued


@pytest.fixture
def refute_enqueued(sidekiq_fake: JobQueues) -> Callable[..., None]:
    """`sidekiq_lua.testing.refute_enqueued`, in fake mode."""
    from .testing import refute_enqueued

    return refute_enqueued


@pytest.fixture
def enqueued_jobs(sidekiq_fake: JobQueues) -> Callable[..., list[Payload]]:
    """`sidekiq_lua.testing.enqueued_jobs`, in fake mode."""
    from .testing import enqueued_jobs

    return enqueued_jobs


@pytest.fixture
def sidekiq_apps() -> list[App]:
    """The instances that `sidekiq_server` connects: the default one; override it for your own."""
    from .instance import sidekiq

    return [sidekiq]


@pytest.fixture(scope="session")
def sidekiq_server_process(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    """The server behind `sidekiq_server`: one for each test process."""
    from .testing import servers

    config: Any = request.config
    try:
        server = servers.start(config.getini("sidekiq_server"), os.environ)
    except NoTestServer as error:
        refuse = pytest.skip if config.getini("sidekiq_server_missing") == "skip" else pytest.fail
        refuse(str(error))
    yield server
    server.close()


@pytest.fixture
def sidekiq_server(
    sidekiq_server_process: TestServer, sidekiq_apps: list[App], monkeypatch: pytest.MonkeyPatch
) -> Iterator[LiveServer]:
    """A real, empty server, to which `sidekiq_apps` push, and new instances that name no server."""
    from .testing.live import LiveServer
    from .testing.scope import Mode, for_process

    live = LiveServer(sidekiq_server_process)
    live.clear()
    monkeypatch.setenv("REDIS_URL", live.url)
    monkeypatch.delenv("REDIS_PROVIDER", raising=False)
    for app in sidekiq_apps:
        live.connect(app)
    with for_process(Mode.DISABLE):
        yield live
    live.release()
