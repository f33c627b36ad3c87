"""Where a job can be, for commands: `queue:NAME`, `held:CLASS`, `scheduled`, `retry`, `dead`, `running`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from ..api.record import JobRecord
    from ..api.sets import JobSet
    from ..instance import Sidekiq

SETS = ("scheduled", "retry", "dead")


class Found(NamedTuple):
    """A job, where it is, and since or until when (epoch seconds); `process` runs it."""

    place: str
    record: JobRecord
    at: float | None
    process: str | None = None


class Filters(NamedTuple):
    """Which jobs are meant; see `api.filters.Filter`. None: any."""

    job_class: str | None = None
    tag: str | None = None
    text: str | None = None

    @property
    def given(self) -> bool:
        return any(value is not None for value in self)

    def __str__(self) -> str:
        words = ("class", "tag", "text")
        return ", ".join(
            f"{word} {value}" for word, value in zip(words, self, strict=True) if value is not None
        )


def place_of(*names: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """The check of an argument or option that takes a place; `queue:` and `held:` stand for any of these."""
    kinds = {"queue:": "queue:NAME", "held:": "held:CLASS"}
    *others, last = (kinds.get(name, name) for name in names)

    def check(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        if value is None or (value in names and value not in kinds):
            return value
        if any(name in kinds and value.startswith(name) and value != name for name in names):
            return value
        raise click.BadParameter(f"{value!r} is not one of {', '.join(others)} and {last}", context)

    return check


def every(app: Sidekiq) -> list[str]:
    """All places that there are now, but for `running`."""
    from ..instance import PausedClass, Queue

    queues = [f"queue:{queue.name}" for queue in Queue.all(app)]
    return [*queues, *(f"held:{found.name}" for found in PausedClass.all(app)), *SETS]


def job_set(app: Sidekiq, name: str) -> JobSet:
    """The set of a place."""
    from ..instance import DeadSet, RetrySet, ScheduledSet

    return {"scheduled": ScheduledSet, "retry": RetrySet, "dead": DeadSet}[name](app)


def records(app: Sidekiq, place: str, filters: Filters) -> Iterator[Found]:
    """The jobs of a place for which the filters hold. Raises ConfigurationError for an empty filter."""
    from ..api.filters import Filter
    from ..instance import PausedClass, Queue, WorkSet

    chosen = filters._asdict()
    kind, _, name = place.partition(":")
    if kind in SETS:
        for entry in job_set(app, place).select(**chosen):
            yield Found(place, entry, entry.score)
    elif kind == "queue":
        for job in Queue(name, app).select(**chosen):
            yield Found(place, job, _enqueued(job))
    elif kind == "held":
        wanted = Filter(**chosen)
        yield from (Found(place, job, _enqueued(job)) for job in PausedClass(name, app) if wanted(job))
    else:
        wanted = Filter(**chosen)
        for process, _, work in WorkSet(app):
            if wanted(work.job):
                yield Found(place, work.job, work.began, process)


def find(app: Sidekiq, place: str, jid: str) -> Found | None:
    """The job of this jid in a place, or None."""
    from ..instance import Queue

    kind, _, name = place.partition(":")
    if kind in SETS:
        entry = job_set(app, place).find_job(jid)
        return Found(place, entry, entry.score) if entry else None
    if kind == "queue":
        job = Queue(name, app).find_job(jid)
        return Found(place, job, _enqueued(job)) if job else None
    return next((found for found in records(app, place, Filters()) if found.record.jid == jid), None)


def find_each(app: Sidekiq, jids: Iterable[str], places: Sequence[str]) -> list[Found]:
    """The jobs of these jids, each in the first of the places that has it. Raises SidekiqError for one
    that is in none of them; the message says where else it is."""
    from ..errors import SidekiqError

    found = []
    for jid in dict.fromkeys(jids):
        one = next(filter(None, (find(app, place, jid) for place in places)), None)
        if one is None:
            where = " or ".join(places) if len(places) <= len(SETS) else "any place"
            raise SidekiqError(f"there is no job {jid!r} in {where}{_elsewhere(app, jid, places)}")
        found.append(one)
    return found


def _elsewhere(app: Sidekiq, jid: str, but: Sequence[str]) -> str:
    for place in [*every(app), "running"]:
        if place not in but and (found := find(app, place, jid)):
            return f": it runs in {found.process}" if found.process else f": it is in {place}"
    return ""


def checked(app: Sidekiq, place: str | None) -> list[str]:
    """The place that was asked for, or every one. Raises SidekiqError for an unknown queue."""
    if place is None:
        return every(app)
    if place.startswith("queue:"):
        known_queue(app, place.removeprefix("queue:"))
    return [place]


def known_queue(app: Sidekiq, name: str) -> str:
    """The name, if there is such a queue. Raises SidekiqError.

    There is one if it has had a job since it was cleared last, if it is paused, or if a process serves it.
    """
    from ..errors import SidekiqError
    from ..instance import ProcessSet, Queue

    names = {queue.name for queue in Queue.all(app)}
    if name in names or Queue(name, app).paused:
        return name
    names.update(queue for process in ProcessSet(app, clean=False) for queue in process.queues)
    if name in names:
        return name
    near = get_close_matches(name, names, 3) or sorted(names)[:10]
    hint = f", but there are: {', '.join(near)}" if near else ""
    raise SidekiqError(f"there is no queue {name!r}{hint}")


def _enqueued(record: JobRecord) -> float | None:
    at = record.enqueued_at or record.created_at
    return at.timestamp() if at else None
