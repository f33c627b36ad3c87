"""What must not lose or double a job: middleware, a recovered job, foreign payloads."""

from __future__ import annotations

import json

import pytest
from waiting import hurry, wait_until

from sidekiq_lua.errors import InvalidJob


def test_middleware_that_swallows_the_interruption_loses_nothing(
    make_app, run, redis, seen, define, request, state
):
    app = make_app(concurrency=1)
    if "async" in request.node.callspec.id:

        class Swallow:
            async def call(self, job, payload, queue, next):
                try:
                    await next()
                except BaseException as error:
                    seen.events.append(type(error).__name__)

    else:

        class Swallow:
            def call(self, job, payload, queue, next):
                try:
                    next()
                except BaseException as error:
                    seen.events.append(type(error).__name__)

    app.config.server_middleware.add(Swallow)
    job = define(app)
    seen.gate(1)
    jid = job.perform_async()
    runner = run(app)
    seen.wait(1)
    runner.quiet()
    seen.open()
    wait_until(lambda: redis.llen("queue:default") == 1)
    assert seen.events[-2:] == ["stop", "Interrupted"]
    assert state(jid)["c"] == "2"


def test_a_job_that_was_recovered_meanwhile_stops_and_writes_nothing(
    app, run, redis, seen, define, log, state
):
    job = define(app, 5, state_flush_interval=0)
    seen.gate(2)
    jid = job.perform_async()
    run(app)
    seen.wait(2)
    [held] = redis.scan_iter("lua:running:*")
    redis.delete(held)  # as recovery does, which puts it in its queue elsewhere
    redis.hset(f"it-{jid}", mapping={"ex": 2, "c": "4", "rt": "9"})
    seen.open()
    wait_until(lambda: "settled elsewhere" in log.getvalue())
    assert seen.items == [0, 1, 2]
    assert state(jid) == {"ex": "2", "c": "4", "rt": "9"}
    assert not redis.exists("queue:default", "retry", "stat:processed")


def test_a_job_without_an_id_has_one_once_it_is_interrupted(app, run, redis, seen, define, state):
    define(app)
    seen.gate(1)
    redis.lpush("queue:default", b'{"class":"CountJob","args":[]}')
    runner = run(app)
    seen.wait(1)
    runner.quiet()
    seen.open()
    # A blocking move that was on its way when quiet came may take it once, and gives it back.
    jid = json.loads(wait_until(lambda: redis.lindex("queue:default", 0)))["jid"]
    assert state(jid)["c"] == "2"


@pytest.mark.parametrize("jid", [{}, {"jid": 7}], ids=["none", "number"])
def test_a_job_without_an_id_has_one_once_it_fails(app, run, redis, seen, define, jid):
    define(app, fails=[3])
    redis.lpush("queue:default", json.dumps({"class": "CountJob", "args": [], **jid}))
    run(app)
    wait_until(lambda: redis.zcard("retry"))
    hurry(redis)
    wait_until(lambda: redis.get("stat:processed") == b"2")
    assert seen.items == [0, 1, 2, 3, 3, 4]
    assert not list(redis.scan_iter("it-*"))


def test_a_cursor_that_cannot_be_saved_fails_the_job_when_it_is_interrupted(app, run, redis, seen, define):
    def build_enumerator(self, *, cursor):
        seen.events.append(("from", cursor))
        return ((n, n if n < 2 else "x" * 70_000) for n in range(cursor or 0, 5))

    job = define(app, build_enumerator=build_enumerator)
    seen.gate(1)
    job.perform_async()
    runner = run(app)
    seen.wait(1)
    runner.quiet()
    seen.open()
    wait_until(lambda: redis.zcard("retry") or redis.zcard("dead"))
    [raw] = redis.zrange("retry", 0, -1)
    assert json.loads(raw)["error_class"] == "sidekiq_lua.errors.InvalidCursor"
    assert "stop" not in seen.events
    assert not redis.exists("dead")


@pytest.mark.parametrize("jid", ["", None, 7])
def test_what_is_no_id_is_not_cancelled(app, jid):
    with pytest.raises(InvalidJob, match="cancelled by its id"):
        app.client.cancel(jid)
