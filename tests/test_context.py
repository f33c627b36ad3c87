"""Context: merged, restored, and never shared between threads, tasks and jobs; and the names of threads."""

from __future__ import annotations

import asyncio
import contextvars
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from sidekiq_lua.context import Context, task_tid, tid, use_tid


def fresh(run: Callable[[], object]) -> object:
    return contextvars.Context().run(run)


def test_it_is_empty_at_first() -> None:
    assert fresh(Context.current) == {}


def test_use_merges_and_restores() -> None:
    with Context.use(a=1, b=2):
        with Context.use(b=3, c=4):
            assert Context.current() == {"a": 1, "b": 3, "c": 4}
        assert Context.current() == {"a": 1, "b": 2}
    assert Context.current() == {}


def test_use_restores_after_an_error() -> None:
    with pytest.raises(KeyError), Context.use(a=1):
        raise KeyError("x")
    assert Context.current() == {}


def test_use_takes_any_name() -> None:
    with Context.use(self=1, cls=2, values=3):
        assert Context.current() == {"self": 1, "cls": 2, "values": 3}


def test_add_lasts_until_the_block_ends() -> None:
    with Context.use(a=1):
        Context.add("b", 2)
        Context.add("a", 3)
        assert Context.current() == {"a": 3, "b": 2}
    assert Context.current() == {}


def test_current_is_a_copy() -> None:
    Context.current()["a"] = 1
    assert Context.current() == {}
    with Context.use(a=1):
        Context.current()["a"] = 2
        assert Context.current() == {"a": 1}


def test_add_does_not_reach_a_copied_context() -> None:
    with Context.use(a=1):
        copy = contextvars.copy_context()
        copy.run(Context.add, "b", 2)
        Context.add("c", 3)
        assert copy.run(Context.current) == {"a": 1, "b": 2}
        assert Context.current() == {"a": 1, "c": 3}


def test_replace_sets_the_whole_and_reset_undoes_it() -> None:
    job = {"jid": "a"}
    with Context.use(a=1):
        token = Context.replace(job)
        assert Context.peek() is job
        Context.add("b", 2)
        assert job == {"jid": "a"}
        Context.reset(token)
        assert Context.current() == {"a": 1}


def test_threads_do_not_share_it() -> None:
    with Context.use(a=1), ThreadPoolExecutor(1) as pool:
        assert pool.submit(Context.current).result() == {}


def test_tasks_inherit_a_copy() -> None:
    async def job(name: str, both: asyncio.Barrier) -> dict[str, object]:
        Context.add("jid", name)
        await both.wait()
        return Context.current()

    async def run() -> list[dict[str, object]]:
        both = asyncio.Barrier(2)
        with Context.use(a=1):
            found = await asyncio.gather(job("x", both), job("y", both))
            return [*found, Context.current()]

    assert asyncio.run(run()) == [{"a": 1, "jid": "x"}, {"a": 1, "jid": "y"}, {"a": 1}]


def test_use_may_end_in_another_contextvars_context() -> None:
    block = Context.use(a=1)
    contextvars.copy_context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert Context.current() == {}


# -- tid --------------------------------------------------------------------------------


def test_tid_is_short_base36_and_stays() -> None:
    assert re.fullmatch("[0-9a-z]{1,8}", tid())
    assert tid() == tid()


def test_tids_of_live_threads_differ() -> None:
    names: set[str] = set()
    here = threading.Barrier(20)

    def run() -> None:
        names.add(tid())
        here.wait(30)

    threads = [threading.Thread(target=run) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names | {tid()}) == 21


def test_greenlets_in_place_of_threads_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As gevent's patch makes them: one thread of the kernel, and another number for each from get_ident."""
    idents = iter((1000, 2000, 1000))

    def get_ident() -> int:
        return next(idents)

    own = tid()
    monkeypatch.setattr(threading, "get_ident", get_ident)
    first, second, again = tid(), tid(), tid()
    assert first == again
    assert len({own, first, second}) == 3


def test_use_tid_overrides_in_its_context_only() -> None:
    own = tid()
    with use_tid("job1"), ThreadPoolExecutor(1) as pool:
        assert tid() == "job1"
        assert pool.submit(tid).result() not in {"job1", own}
        with use_tid("job2"):
            assert tid() == "job2"
        assert tid() == "job1"
    assert tid() == own


def test_task_tids_differ_and_begin_with_the_threads() -> None:
    names = {task_tid() for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch(f"{tid()}-[0-9a-z]+", name) for name in names)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_a_tid_of_its_own() -> None:
    own = tid()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, tid().encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    name = os.read(read, 100).decode()
    os.close(read)
    assert name not in {"", own}
