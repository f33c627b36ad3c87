"""Middleware with `yield` where `next()` belongs, as in Ruby: nothing would run, and the job seem done."""

from __future__ import annotations

from contextlib import ContextDecorator, asynccontextmanager, contextmanager
from typing import Any

import pytest

from sidekiq_lua import Chain, Sidekiq, Testing
from sidekiq_lua.errors import ConfigurationError


def plain(self, job, payload, queue, next):
    yield next()


async def awaited(self, job, payload, queue, next):
    yield await next()


def pushed(self, job_class, payload, queue, redis, next):
    yield next()


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("server", plain),
        ("server", awaited),
        ("server", staticmethod(plain)),
        ("server", contextmanager(plain)),
        ("server", asynccontextmanager(awaited)),
        ("client", pushed),
        (None, plain),
    ],
)
def test_it_is_refused_when_it_is_added(kind: Any, call: Any) -> None:
    odd = type("Odd", (), {"call": call})
    chain = Chain(kind=kind)
    for middleware in (odd, odd()):
        with pytest.raises(ConfigurationError, match=r"Odd\.call must not contain `yield`.*`next\(\)`"):
            chain.add(middleware)
    assert not chain


def test_in_the_settings() -> None:
    with pytest.raises(ConfigurationError, match=r"Odd\.call must not contain `yield`"):
        Sidekiq(server_middleware=[type("Odd", (), {"call": plain})])
    with pytest.raises(ConfigurationError, match=r"Odd\.call must not contain `yield`"):
        Testing.server_middleware.add(type("Odd", (), {"call": plain}))


def test_what_a_context_manager_decorates_is_fine() -> None:
    class Timed(ContextDecorator):
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    class Even:
        @Timed()
        def call(self, job, payload, queue, next):
            return next()

    chain = Chain(kind="server")
    chain.add(Even)
    assert chain.invoke(None, {}, "low", lambda: 5) == 5
