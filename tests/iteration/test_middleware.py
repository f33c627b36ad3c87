"""Middleware that puts a job off by itself, as one that limits a rate does: the job goes on where it was."""

from __future__ import annotations

import pytest
from waiting import hurry, wait_until


@pytest.fixture
def again(redis, seen):
    """Push a job again, once; by then its state is saved."""

    def push(app, payload):
        seen.events.append(redis.hget(f"it-{payload['jid']}", "c"))
        app.client.push({**payload, "at": app.clock.now() + 0.05})

    return push


def test_one_that_catches_an_error(app, run, redis, seen, define, again, request):
    if "async" in request.node.callspec.id:

        class Limit:
            async def call(self, job, payload, queue, next):
                try:
                    await next()
                except ValueError:
                    again(app, payload)
    else:

        class Limit:
            def call(self, job, payload, queue, next):
                try:
                    next()
                except ValueError:
                    again(app, payload)

    app.config.server_middleware.add(Limit)
    jid = define(app, fails=[3]).perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"2")
    assert seen.items == [0, 1, 2, 3, 3, 4]
    assert b"3" in seen.events
    assert not redis.exists(f"it-{jid}")


def test_one_that_does_not_let_it_begin(app, run, redis, seen, define, again):
    class Limit:
        def call(self, job, payload, queue, next):
            if "retry_count" not in payload or b"3" in seen.events:
                return next()
            return again(app, payload)

    app.config.server_middleware.add(Limit)
    jid = define(app, fails=[3]).perform_async()
    run(app)
    wait_until(lambda: redis.zcard("retry"))
    hurry(redis)
    wait_until(lambda: redis.get("stat:processed") == b"3")
    assert seen.items == [0, 1, 2, 3, 3, 4]
    assert not redis.exists(f"it-{jid}")
