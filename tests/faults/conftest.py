"""A crew on the shared server, which was emptied just before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from faults.harness import Crew

from sidekiq_lua import Sidekiq


@pytest.fixture
def make_crew(tmp_path: Path) -> Iterator[Callable[..., Crew]]:
    """`make_crew(url, redis)`: a crew; its processes are killed when the test ends."""
    with ExitStack() as stack:

        def make(url: str, redis: redis_py.Redis) -> Crew:
            crew = Crew(tmp_path, url, redis)
            stack.callback(crew.close)
            return crew

        yield make


@pytest.fixture
def crew(make_crew: Callable[..., Crew], url: str, redis: redis_py.Redis) -> Crew:
    return make_crew(url, redis)


@pytest.fixture
def make_app() -> Iterator[Callable[[str], Any]]:
    """A client instance for a URL."""
    with ExitStack() as stack:

        def make(url: str, **settings: Any) -> Sidekiq:
            app = Sidekiq(redis=url, **settings)
            stack.callback(app.close)
            return app

        yield make


@pytest.fixture
def app(make_app: Callable[[str], Any], url: str) -> Any:
    return make_app(url)
