"""`perform` of jobs with `def each_iteration`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ..clock import monotonic
from .run import PATIENCE_S, Aborted, Run, answered, checked

if TYPE_CHECKING:
    from ..iterable import IterableJobBase

T = TypeVar("T")


def perform(job: IterableJobBase[Any], *args: Any) -> None:
    run = job._prepare(args)
    if run.keeper:
        run.take(_patiently(run.keeper.load))
    pairs = job.build_enumerator(*args, cursor=run.cursor)
    if pairs is None:
        job._skipped(run)
        return
    pairs = checked(job, pairs)
    try:
        _call(job, "on_start" if run.executions == 1 else "on_resume")
        done = _iterate(job, run, pairs, args)
    except Aborted:
        done = True
    except Exception:
        run.keep()
        raise
    finally:
        if isinstance(pairs, Generator):
            pairs.close()
    if not done:
        run.cursor_text()  # one that cannot be saved fails the job, as at any other save
    _call(job, "on_stop")
    if not done:
        job._cut_short(run)
    _call(job, "on_complete")
    job._completed(run)


def _iterate(job: IterableJobBase[Any], run: Run, pairs: Iterator[Any], args: tuple[Any, ...]) -> bool:
    """Whether the loop is done; False: it was interrupted."""
    if run.cancelled_at is None:
        for pair in pairs:
            run.advance(pair)
            if run.must_save and not run.must_stop:
                _save(run)
            if run.cancelled_at is not None or run.must_stop:
                break
            began = monotonic()
            with job.around_iteration():
                _call(job, "each_iteration", run.item, *args)
            run.progressed = True
            job._judge(monotonic() - began)
        else:
            if not run.begun:
                job.logger.debug("The enumerator found nothing to iterate")
            return run.cancelled_at is None or _cancelled(job)
    return run.cancelled_at is not None and not run.lost and _cancelled(job)


def _cancelled(job: IterableJobBase[Any]) -> bool:
    _call(job, "on_cancel")
    job.logger.info("Job cancelled")
    return True


def _call(job: IterableJobBase[Any], method: str, *args: Any) -> None:
    answered(job, method, getattr(job, method)(*args))


def _save(run: Run) -> None:
    state, keeper = run.state(), run.keeper
    if keeper:
        run.saved(_patiently(lambda: keeper.save(state)))


def _patiently(ask: Callable[[], T | None]) -> T:
    pause = threading.Event()
    while (answer := ask()) is None:
        pause.wait(PATIENCE_S)
    return answer
