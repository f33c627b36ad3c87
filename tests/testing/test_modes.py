"""Which mode holds where: the process, a thread, a task."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from testing_setup import make_app

from sidekiq_lua import Queues, Sidekiq, Testing
from sidekiq_lua.errors import ConfigurationError, RedisUnavailable, UnknownJobClass


@pytest.fixture
def nowhere() -> Sidekiq:
    """An instance whose server is not there: a push that is not kept fails."""
    return make_app("redis://127.0.0.1:1")


@pytest.fixture
def job(nowhere: Sidekiq) -> Any:
    class ModeJob(nowhere.Job):
        def perform(self, *args): ...

    return ModeJob


def in_thread(function: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_without_a_mode_jobs_go_to_redis(job: Any) -> None:
    assert Testing.mode() == "disable"
    assert Testing.is_disabled()
    assert not Testing.is_enabled()
    with pytest.raises(RedisUnavailable):
        job.perform_async()


def test_a_call_is_for_the_whole_process(job: Any) -> None:
    Testing.fake()
    assert in_thread(Testing.mode) == "fake"
    assert in_thread(job.perform_async)
    assert len(job.jobs()) == 1
    Testing.inline()
    assert (Testing.mode(), in_thread(Testing.mode)) == ("inline", "inline")
    assert Testing.is_inline()
    Testing.disable()
    with pytest.raises(RedisUnavailable):
        job.perform_async()


@pytest.mark.parametrize("everywhere", [True, False])
def test_a_block_is_for_its_thread(job: Any, everywhere: bool) -> None:
    Testing.inline()
    with Testing.fake(everywhere=everywhere):
        assert Testing.is_fake()
        assert in_thread(Testing.mode) == "inline"
    assert Testing.mode() == "inline"


def test_without_everywhere_nothing_happens_before_the_block() -> None:
    setting = Testing.fake(everywhere=False)
    assert Testing.mode() == "disable"
    with setting:
        assert Testing.mode() == "fake"


def test_blocks_may_be_nested_and_end_by_an_error(job: Any) -> None:
    with Testing.fake():
        with Testing.inline():
            with Testing.disable():
                assert Testing.mode() == "disable"
            assert Testing.mode() == "inline"
        with pytest.raises(LookupError), Testing.inline():
            raise LookupError
        assert Testing.mode() == "fake"
        Testing.inline()  # for the process, of which this block is not a part
        assert Testing.mode() == "fake"
    assert Testing.mode() == "inline"


def test_a_block_is_entered_once() -> None:
    with Testing.fake() as setting:
        pass
    with pytest.raises(ConfigurationError, match=r"with Testing\.fake\(\)"), setting:
        pass


def test_blocks_in_several_threads_end_in_any_order() -> None:
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    seen: dict[str, list[str]] = {"first": [], "second": []}

    def first() -> None:
        with Testing.fake():
            first_in.set()
            assert second_in.wait(10)
            seen["first"].append(Testing.mode())
        seen["first"].append(Testing.mode())
        first_out.set()

    def second() -> None:
        assert first_in.wait(10)
        with Testing.inline():
            second_in.set()
            assert first_out.wait(10)
            seen["second"].append(Testing.mode())
        seen["second"].append(Testing.mode())

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"first": ["fake", "disable"], "second": ["inline", "disable"]}
    assert Testing.mode() == "disable"


def test_each_task_has_its_own(job: Any) -> None:
    async def kept(barrier: asyncio.Barrier) -> str:
        with Testing.fake():
            await barrier.wait()
            await asyncio.create_task(push())
            return Testing.mode()

    async def push() -> None:
        job.perform_async("kept")

    async def ran(barrier: asyncio.Barrier) -> str:
        with Testing.inline():
            await barrier.wait()
            job.perform_async("ran")
            return Testing.mode()

    async def main() -> list[str]:
        barrier = asyncio.Barrier(2)
        return await asyncio.gather(kept(barrier), ran(barrier))

    assert asyncio.run(main()) == ["fake", "inline"]
    assert [payload["args"] for payload in job.jobs()] == [["kept"]]


def test_a_task_that_outlives_the_block_is_out_of_it() -> None:
    async def main() -> str:
        over = asyncio.Event()

        async def late() -> str:
            await over.wait()
            return Testing.mode()

        with Testing.fake():
            task = asyncio.create_task(late())
        over.set()
        return await task

    assert asyncio.run(main()) == "disable"


def test_an_async_job_runs_on_the_loop_of_the_async_client(nowhere: Sidekiq) -> None:
    loops: list[Any] = []

    class LoopJob(nowhere.Job):
        async def perform(self):
            loops.append(asyncio.get_running_loop())

    async def main() -> Any:
        client = nowhere.async_client()
        await client.enqueue(LoopJob)
        await client.push_bulk({"class": LoopJob, "args": [[]]})
        with Testing.fake():
            await client.enqueue(LoopJob)
            LoopJob.perform_bulk([[], []])
            await LoopJob.perform_one_async()
            await LoopJob.process_job_async({"class": "LoopJob", "args": []})
            assert await LoopJob.drain_async() == 2
            LoopJob.perform_async()
            assert await Testing.drain_all_async() == 1
        LoopJob.perform_async()
        return asyncio.get_running_loop()

    with Testing.inline():
        here = asyncio.run(main())
    assert [loop is here for loop in loops] == [True] * 7 + [False]


def test_inline_raises_what_the_job_does(nowhere: Sidekiq) -> None:
    ran: list[int] = []

    class FailJob(nowhere.Job):
        def perform(self, n):
            ran.append(n)
            if n == 2:
                raise LookupError("no row")

    with Testing.inline(), pytest.raises(LookupError, match="no row"):
        FailJob.perform_bulk([[1], [2], [3]])
    assert ran == [1, 2]


@pytest.mark.parametrize("when", [60, 0])
def test_inline_runs_scheduled_jobs_at_once(nowhere: Sidekiq, when: int) -> None:
    payloads: list[Any] = []

    class Look:
        def call(self, job, payload, queue, next):
            payloads.append(payload)
            return next()

    class LaterJob(nowhere.Job):
        def perform(self): ...

    Testing.server_middleware.add(Look)
    with Testing.inline():
        LaterJob.perform_in(when)
    assert "at" not in payloads[0]
    assert "enqueued_at" in payloads[0]


def test_inline_knows_no_class_of_another_process(nowhere: Sidekiq) -> None:
    with Testing.inline(), pytest.raises(UnknownJobClass, match="Ruby::Job"):
        nowhere.client.enqueue("Ruby::Job")


def test_perform_inline_is_the_same_in_every_mode(nowhere: Sidekiq) -> None:
    seen: list[str] = []

    class Real:
        def call(self, job, payload, queue, next):
            seen.append("the instance's middleware")
            return next()

    class NowJob(nowhere.Job):
        def perform(self):
            seen.append("ran")

    nowhere.config.server_middleware.add(Real)
    Testing.fake()
    assert NowJob.perform_inline() is True
    assert NowJob.set(sync=True).perform_async() is True
    assert seen == ["the instance's middleware", "ran"] * 2
    assert len(Queues) == 0


def test_production_is_warned() -> None:
    app = make_app("redis://127.0.0.1:1", environment="production")
    with Testing.fake(), pytest.warns(RuntimeWarning, match="in production"):
        app.client.enqueue("A")


def test_nothing_of_it_is_loaded_unless_it_is_used() -> None:
    program = (
        "import sys, sidekiq_lua\n"
        "from sidekiq_lua import AsyncClient, Client, Job\n"
        "from sidekiq_lua.errors import ConfigurationError\n"
        "class A(Job):\n    def perform(self): ...\n"
        "try:\n    A.jobs()\nexcept ConfigurationError as error:\n    print(error)\n"
        "print([name for name in sys.modules if name.startswith('sidekiq_lua.testing')])\n"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "Testing.fake()" in shown
    assert shown.splitlines()[-1] == "[]"
