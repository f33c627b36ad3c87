"""perform_inline: the job runs here and now, through both chains and through JSON."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from both_clients import app

from sidekiq_lua import Context, Sidekiq
from sidekiq_lua.errors import (
    ConfigurationError,
    PayloadTooLarge,
    SignatureMismatch,
    UnserializableArguments,
)

Seen = list[Any]


@pytest.fixture
def seen() -> Seen:
    return []


@pytest.fixture(params=["def", "async def"])
def job(app: Sidekiq, seen: Seen, request: pytest.FixtureRequest) -> Any:
    """A job that notes its arguments, in both kinds."""

    def note(job: Any, args: Any) -> None:
        seen.append(args)
        if args and args[0] == "fail":
            raise LookupError("no such row")

    if request.param == "def":

        class ThisJob(app.Job):
            def perform(self, *args):
                note(self, args)

        return ThisJob

    class ThatJob(app.Job):
        async def perform(self, *args):
            await asyncio.sleep(0)
            note(self, args)

    return ThatJob


@pytest.fixture(params=[False, True], ids=["no loop", "on a running loop"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Call a function where no event loop runs, or on one that does."""

    def without(function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    def within(function: Callable[..., Any], *args: Any) -> Any:
        async def main() -> Any:
            return function(*args)

        return asyncio.run(main())

    return within if request.param else without


def test_it_runs_and_nothing_is_written(job: Any, call: Any, seen: Seen, dump: Any) -> None:
    assert call(job.perform_inline, 1, "x") is True
    assert call(job.set(queue="low").perform_inline, 2) is True
    assert call(job.set(sync=True).perform_async, 3) is True
    assert seen == [(1, "x"), (2,), (3,)]
    assert dump() == {}


def test_it_needs_no_server() -> None:
    app = Sidekiq(redis="redis://127.0.0.1:1")

    class HereJob(app.Job):
        def perform(self): ...

    assert HereJob.perform_inline() is True


def test_its_errors_come_out_as_they_are(job: Any, call: Any, seen: Seen) -> None:
    with pytest.raises(LookupError, match="no such row"):
        call(job.perform_inline, "fail")
    assert seen == [("fail",)]


@pytest.mark.parametrize(
    ("args", "error"),
    [([{1}], UnserializableArguments), (["x" * 500], PayloadTooLarge), ([1, 2, 3], SignatureMismatch)],
)
def test_what_a_push_would_refuse_is_refused(app: Sidekiq, args: list[Any], error: type[Exception]) -> None:
    app.config.payload_limit = 400
    ran = []

    class TwoJob(app.Job):
        def perform(self, a, b=1):
            ran.append(a)

    with pytest.raises(error):
        TwoJob.perform_inline(*args)
    assert ran == []


def test_arguments_go_through_json(app: Sidekiq, seen: Seen) -> None:
    app.config.strict_args = "none"

    class ThisJob(app.Job):
        def perform(self, a):
            seen.append((a, self.jid))

    mine = {"k": [1]}
    ThisJob.set(jid="mine").perform_inline(mine)
    ThisJob.set(jid="mine").perform_inline((1, {2: 3}))
    assert seen == [({"k": [1]}, "mine"), ([1, {"2": 3}], "mine")]
    assert seen[0][0] is not mine


def test_both_chains_are_around_it(app: Sidekiq, job: Any, call: Any, seen: Seen) -> None:
    class ClientSide:
        def call(self, job_class, payload, queue, redis, next):
            seen.append(("client", job_class, queue, redis))
            payload["args"] = ["changed"]
            return next()

    class ServerSide:
        def call(self, instance, payload, queue, next):
            seen.append(("server", type(instance), queue, payload["args"], instance.jid == payload["jid"]))
            next()
            seen.append("done")

    app.config.client_middleware.add(ClientSide)
    app.config.server_middleware.add(ServerSide)
    assert call(job.set(queue="low").perform_inline, 1) is True

    assert seen == [
        ("client", job, "low", None),
        ("server", job, "low", ["changed"], True),
        ("changed",),
        "done",
    ]


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_middleware_that_stops_it_gives_none(
    app: Sidekiq, job: Any, call: Any, seen: Seen, side: str
) -> None:
    class ClientSide:
        def call(self, job_class, payload, queue, redis, next): ...

    class ServerSide:
        def call(self, instance, payload, queue, next):
            return True

    chain = getattr(app.config, f"{side}_middleware")
    chain.add(ClientSide if side == "client" else ServerSide)
    assert call(job.perform_inline, 1) is None
    assert seen == []


def test_an_async_middleware_serves_async_jobs_only(app: Sidekiq, seen: Seen) -> None:
    class Async:
        async def call(self, job, payload, queue, next):
            seen.append("before")
            await next()

    class SlowJob(app.Job):
        async def perform(self): ...

    class QuickJob(app.Job):
        def perform(self): ...

    app.config.server_middleware.add(Async)
    assert SlowJob.perform_inline() is True
    assert seen == ["before"]
    with pytest.raises(ConfigurationError, match=r"Async\.call is `async def`"):
        QuickJob.perform_inline()


COLOUR: ContextVar[str] = ContextVar("colour", default="none")


def test_contexts_reach_into_it(app: Sidekiq, call: Any, url: str) -> None:
    class ThisJob(app.Job):
        async def perform(self):
            found.append((COLOUR.get(), Context.current(), app.via.get()))

    found: Seen = []

    def with_contexts() -> None:
        COLOUR.set("red")
        with Context.use(request_id="abc"), app.client.via(url):
            ThisJob.perform_inline()

    call(with_contexts)
    assert found == [("red", {"request_id": "abc"}, url)]


def test_the_instance(app: Sidekiq, seen: Seen) -> None:
    class ThisJob(app.Job):
        def perform(self):
            seen.append((self.interrupted(), self.logger is app.logger, len(self.jid)))

    ThisJob.perform_inline()
    assert seen == [(False, True, 24)]


@pytest.mark.parametrize("chained", [False, True])
def test_a_coroutine_that_nobody_awaits_is_an_error(app: Sidekiq, chained: bool) -> None:
    """A plain decorator around `async def` makes it look like `def`."""

    def plain(function: Any) -> Any:
        return lambda self: function(self)

    class Through:
        def call(self, job, payload, queue, next):
            return next()

    class OddJob(app.Job):
        @plain
        async def perform(self): ...

    if chained:
        app.config.server_middleware.add(Through)
    with pytest.raises(ConfigurationError, match="a coroutine"):
        OddJob.perform_inline()


@pytest.mark.parametrize("chained", [False, True])
def test_a_coroutine_that_an_async_job_answers_is_an_error(app: Sidekiq, chained: bool) -> None:
    """An `await` was forgotten."""

    class Through:
        async def call(self, job, payload, queue, next):
            return await next()

    class OddJob(app.Job):
        async def perform(self):
            return self.work()

        async def work(self): ...

    if chained:
        app.config.server_middleware.add(Through)
    with pytest.raises(ConfigurationError, match="a coroutine"):
        OddJob.perform_inline()


@pytest.mark.parametrize("wrap", [staticmethod, lambda f: classmethod(lambda cls, a: f(a))])
def test_perform_may_be_static(app: Sidekiq, seen: Seen, wrap: Any) -> None:
    job: Any = type("StaticJob", (app.Job,), {"perform": wrap(seen.append)})
    assert job.perform_inline(1) is True
    assert seen == [1]


def test_a_job_that_exits_says_so(app: Sidekiq, call: Any) -> None:
    class LeavingJob(app.Job):
        async def perform(self):
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        call(LeavingJob.perform_inline)
