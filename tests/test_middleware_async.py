"""Middleware around async jobs: sync code that waits for them, errors, cancellation, context."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sidekiq_lua.errors import ConfigurationError
from sidekiq_lua.middleware import Chain

SEEN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    SEEN.clear()


class Noting:
    """Notes when it is entered and left, whatever happens inside."""

    def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any:
        name = type(self).__name__
        SEEN.append(f"{name}>")
        try:
            return next()
        finally:
            SEEN.append(f"<{name}")


class A(Noting): ...


class B(Noting): ...


class C(Noting): ...


class Async:
    async def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Awaitable[Any]]) -> Any:
        SEEN.append("Async>")
        try:
            return await next()
        finally:
            SEEN.append("<Async")


def chain(*middleware: Any) -> Chain:
    made = Chain(kind="server")
    for each in middleware:
        made.add(each)
    return made


def run_async(made: Chain, final: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(made.invoke_async("job", {"jid": "1"}, "default", final))


async def noted_final_async() -> str:
    SEEN.append("job")
    await asyncio.sleep(0)
    return "done"


@pytest.mark.parametrize(
    "middleware",
    [(A,), (A, B, C), (Async,), (A, Async), (Async, A), (A, Async, B), (A, B, Async, C), (Async, A, B)],
)
def test_sync_and_async_middleware_nest_in_any_order_around_an_async_job(middleware: tuple[type]) -> None:
    assert run_async(chain(*middleware), noted_final_async) == "done"
    inwards = [cls.__name__ for cls in middleware]
    assert [*(f"{name}>" for name in inwards), "job", *(f"<{name}" for name in reversed(inwards))] == SEEN


@pytest.mark.parametrize("middleware", [(A,), (A, Async, B), (Async, A)])
def test_an_error_of_an_async_job_passes_through_every_middleware(middleware: tuple[type]) -> None:
    async def final() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError) as raised:
        run_async(chain(*middleware), final)
    assert raised.traceback[-1].name == "final"
    assert [name for name in SEEN if name[0] == "<"] == [f"<{cls.__name__}" for cls in reversed(middleware)]


def test_a_sync_middleware_may_answer_for_an_error_of_an_async_job() -> None:
    class Rescuing:
        def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any:
            try:
                return next()
            except KeyError as error:
                return f"rescued {error}"

    async def final() -> None:
        raise KeyError("x")

    assert run_async(chain(A, Rescuing), final) == "rescued 'x'"


def test_an_error_of_a_sync_middleware_reaches_the_caller_and_its_greenlet_serves_again() -> None:
    class Failing:
        def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any:
            next()
            raise KeyError("mine")

    async def twice() -> None:
        with pytest.raises(KeyError, match="mine"):
            await chain(Failing).invoke_async("job", {}, "q", noted_final_async)
        assert await chain(A).invoke_async("job", {}, "q", noted_final_async) == "done"

    asyncio.run(twice())


def test_the_loop_goes_on_while_a_sync_middleware_waits() -> None:
    async def main() -> None:
        gate, inside = asyncio.Event(), asyncio.Event()

        async def waiting() -> str:
            inside.set()
            await gate.wait()
            return "waited"

        first = asyncio.create_task(chain(A).invoke_async("job", {}, "q", waiting))
        await inside.wait()
        assert await chain(B).invoke_async("job", {}, "q", noted_final_async) == "done"
        assert SEEN == ["A>", "B>", "job", "<B"]
        gate.set()
        assert await first == "waited"

    asyncio.run(main())


def test_many_jobs_interleave_in_their_middleware() -> None:
    class Numbered:
        def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any:
            return (job, next(), job)

    async def main() -> list[Any]:
        async def final(number: int) -> int:
            for _ in range(number % 7):
                await asyncio.sleep(0)
            return number

        made = chain(Numbered, Async, Numbered.__class__("Other", (Numbered,), {}))
        return await asyncio.gather(
            *(made.invoke_async(n, {}, "q", functools.partial(final, n)) for n in range(300))
        )

    assert asyncio.run(main()) == [(n, (n, n, n), n) for n in range(300)]


@pytest.mark.parametrize("middleware", [(A,), (A, Async, B)])
def test_cancellation_is_seen_where_the_middleware_waits(middleware: tuple[type]) -> None:
    async def main() -> None:
        inside = asyncio.Event()

        async def endless() -> None:
            inside.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(chain(*middleware).invoke_async("job", {}, "q", endless))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    assert [name for name in SEEN if name[0] == "<"] == [f"<{cls.__name__}" for cls in reversed(middleware)]


def test_a_time_limit_around_the_job_works_through_a_sync_middleware() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await chain(A).invoke_async("job", {}, "q", asyncio.Event().wait)

    asyncio.run(main())
    assert SEEN == ["A>", "<A"]


def test_a_sync_middleware_shares_the_context_of_the_job() -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")

    class Setting:
        def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any:
            SEEN.append(var.get())
            var.set("by the middleware")
            next()
            SEEN.append(var.get())

    async def final() -> None:
        SEEN.append(var.get())
        await asyncio.sleep(0)
        var.set("by the job")

    async def main() -> None:
        var.set("by the caller")
        await chain(Setting).invoke_async("job", {}, "q", final)
        SEEN.append(var.get())

    asyncio.run(main())
    assert SEEN == ["by the caller", "by the middleware", "by the job", "by the job"]


def test_contexts_of_two_jobs_do_not_mix() -> None:
    var: contextvars.ContextVar[int] = contextvars.ContextVar("var")

    class Setting:
        def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any:
            var.set(job)
            next()
            return var.get()

    async def main() -> list[Any]:
        async def final() -> None:
            await asyncio.sleep(0)

        jobs = (chain(Setting).invoke_async(n, {}, "q", final) for n in range(50))
        return await asyncio.gather(*jobs)

    assert asyncio.run(main()) == list(range(50))


def test_next_may_be_called_again() -> None:
    class Twice:
        def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any:
            return [next(), next()]

    assert run_async(chain(Twice, A), noted_final_async) == ["done", "done"]
    assert SEEN == ["A>", "job", "<A"] * 2


def test_an_abandoned_job_leaves_its_middleware() -> None:
    async def main() -> None:
        job = chain(A).invoke_async("job", {}, "q", asyncio.Event().wait)
        job.send(None)
        job.close()

    asyncio.run(main())
    assert SEEN == ["A>", "<A"]


def test_next_from_another_thread_is_refused() -> None:
    class Threading:
        def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any:
            errors: list[BaseException] = []

            def elsewhere() -> None:
                try:
                    next()
                except ConfigurationError as error:
                    errors.append(error)

            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            raise errors[0]

    with pytest.raises(ConfigurationError, match="from another thread"):
        run_async(chain(Threading), noted_final_async)


def test_an_async_middleware_that_forgets_to_await_is_an_error() -> None:
    class Forgetting:
        async def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any:
            return next()

    with pytest.raises(ConfigurationError, match="must `await next"):
        run_async(chain(Forgetting), noted_final_async)
    assert SEEN == []


def test_finished_jobs_are_not_kept_by_the_greenlets_that_ran_them() -> None:
    class Big: ...

    async def main() -> int:
        async def final() -> None:
            await asyncio.sleep(0)

        for _ in range(20):
            await chain(A).invoke_async(Big(), {}, "q", final)
        gc.collect()
        return sum(isinstance(thing, Big) for thing in gc.get_objects())

    assert asyncio.run(main()) == 0


def test_an_empty_chain_awaits_the_job() -> None:
    assert run_async(Chain(), noted_final_async) == "done"
