"""`perform` of jobs with `async def each_iteration`: the loop of `loop` with every step awaited."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from ..clock import monotonic
from .run import PATIENCE_S, Aborted, Run, answered, checked

if TYPE_CHECKING:
    from ..iterable import IterableJobBase

T = TypeVar("T")


async def perform(job: IterableJobBase[Any], *args: Any) -> None:
    run = job._prepare(args)
    if run.keeper:
        run.take(await _patiently(run.keeper.load))
    pairs = await _awaited(job.build_enumerator(*args, cursor=run.cursor))
    if pairs is None:
        job._skipped(run)
        return
    source = aiter(pairs) if isinstance(pairs, AsyncIterable) else _lifted(checked(job, pairs))
    try:
        await _awaited(job.on_start() if run.executions == 1 else job.on_resume())
        done = await _iterate(job, run, source, args)
    except Aborted:
        done = True
    except Exception:
        await asyncio.to_thread(run.keep)
        raise
    finally:
        close = getattr(source, "aclose", None)
        if close:
            await close()
    if not done:
        run.cursor_text()  # one that cannot be saved fails the job, as at any other save
    await _awaited(job.on_stop())
    if not done:
        job._cut_short(run)
    await _awaited(job.on_complete())
    job._completed(run)


async def _iterate(
    job: IterableJobBase[Any], run: Run, pairs: AsyncIterator[Any], args: tuple[Any, ...]
) -> bool:
    if run.cancelled_at is None:
        async for pair in pairs:
            run.advance(pair)
            if run.must_save and not run.must_stop:
                await _save(run)
            if run.cancelled_at is not None or run.must_stop:
                break
            began = monotonic()
            wrap = job.around_iteration()
            if isinstance(wrap, AbstractAsyncContextManager):
                async with wrap:
                    answered(job, "each_iteration", await job.each_iteration(run.item, *args))
            else:
                with wrap:
                    answered(job, "each_iteration", await job.each_iteration(run.item, *args))
            run.progressed = True
            job._judge(monotonic() - began)
            await asyncio.sleep(0)  # an item that waits for nothing would keep the other jobs waiting
        else:
            if not run.begun:
                job.logger.debug("The enumerator found nothing to iterate")
            return run.cancelled_at is None or await _cancelled(job)
    return run.cancelled_at is not None and not run.lost and await _cancelled(job)


async def _cancelled(job: IterableJobBase[Any]) -> bool:
    await _awaited(job.on_cancel())
    job.logger.info("Job cancelled")
    return True


async def _save(run: Run) -> None:
    state, keeper = run.state(), run.keeper
    if keeper:
        run.saved(await _patiently(lambda: keeper.save(state)))


async def _patiently(ask: Callable[[], T | None]) -> T:
    while (answer := await asyncio.to_thread(ask)) is None:  # noqa: ASYNC110 -- Redis sets no event
        await asyncio.sleep(PATIENCE_S)
    return answer


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def _lifted(pairs: Iterator[Any]) -> AsyncIterator[Any]:
    try:
        for pair in pairs:
            yield pair
    finally:
        if isinstance(pairs, Generator):
            pairs.close()
