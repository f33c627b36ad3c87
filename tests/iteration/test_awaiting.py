"""What is `async def` is awaited, or refused: an item that is called and not awaited is lost."""

from __future__ import annotations

import functools

import pytest
from waiting import wait_until

from sidekiq_lua.enumerators import array_enumerator
from sidekiq_lua.errors import ConfigurationError


def plain(method):
    """A decorator that hides that a method is `async def`."""

    @functools.wraps(method)
    def wrapper(*args):
        return method(*args)

    return wrapper


def build_enumerator(self, *, cursor):
    return array_enumerator(range(3), cursor=cursor)


async def waits(self, *item):
    raise AssertionError("nobody awaits this")


async def forgets(self, item):
    return waits(self, item)


def define(app, **body):
    return type("CountJob", (app.IterableJob,), {"build_enumerator": build_enumerator, **body})


@pytest.mark.parametrize("method", [plain(waits), forgets], ids=["sync", "async"])
def test_an_item_that_nobody_awaits_fails_the_job(app, run, redis, method):
    define(app, each_iteration=method).perform_async()
    run(app)
    [raw] = wait_until(lambda: redis.zrange("retry", 0, -1))
    assert b"CountJob.each_iteration answered a coroutine, so it did not run" in raw
    assert not list(redis.scan_iter("lua:running:*"))


@pytest.mark.parametrize("hook", ["on_start", "on_stop", "on_complete"])
def test_a_hook_that_nobody_awaits_fails_the_job(app, hook):
    job = define(app, each_iteration=lambda self, item: None, **{hook: plain(waits)})
    with pytest.raises(ConfigurationError, match=rf"CountJob\.{hook} answered a coroutine"):
        job.perform_inline()


@pytest.mark.parametrize("hook", ["on_start", "on_resume", "on_stop", "on_cancel", "on_complete"])
def test_a_job_that_does_not_await_has_no_async_hooks(app, hook):
    def yields(self):
        yield

    with pytest.raises(ConfigurationError, match=f"{hook} is `async def`, so each_iteration must be so too"):
        define(app, each_iteration=lambda self, item: None, **{hook: waits})
    with pytest.raises(ConfigurationError, match=f"{hook} must not contain `yield`"):
        define(app, each_iteration=waits, **{hook: yields})
