"""Assertions about the jobs that fake mode keeps, with messages that show the nearest ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import ConfigurationError
from ..payload import Payload, is_number, seconds, shorten
from ..timing import absolute
from . import scope
from .matching import Unknown, differences, show
from .queues import JobClass, Kept, Queues, of_class

JOBS_SHOWN = 5
_LINES_SHOWN = 10
_NEAR_S = 1.0
_ROUNDING_S = 0.001
_EPOCH_FROM = 1_000_000_000
_OTHER_CLASS = 1000


@dataclass(frozen=True)
class _Wanted:
    """What a test asks for; `...` means that it does not matter."""

    job: JobClass | str | None
    args: Any
    queue: Any
    at: Any
    fields: Mapping[str, Any]
    matching: Callable[[Payload], Any] | None

    def __post_init__(self) -> None:
        if self.matching is not None and (isinstance(self.matching, type) or not callable(self.matching)):
            raise ConfigurationError(f"matching must be a function of the payload, not {self.matching!r}")

    def __str__(self) -> str:
        named = {"args": self.args, "queue": self.queue, "at": self.at, **self.fields}
        parts = [f"{name}={show(value)}" for name, value in named.items() if value is not ...]
        if self.matching is not None:
            parts.append(f"matching={show(self.matching)}")
        return " ".join([self.name or "any job", *parts])

    @property
    def name(self) -> str:
        if self.job is None:
            return ""
        return self.job if isinstance(self.job, str) else self.job.sidekiq_name()

    def of_the_class(self, kept: Kept) -> bool:
        if self.job is None:
            return True
        if isinstance(self.job, str):
            return bool(kept.payload["class"] == self.job)
        return of_class(self.job)(kept)

    def problems(self, kept: Kept) -> list[str]:
        """Where a job differs from what is wanted, in one line each."""
        found = list(self._problems(kept.payload))
        if not found and self.matching is not None:
            found += differences(self.matching, kept.payload, "the payload")
        if not self.of_the_class(kept):
            found.insert(0, f"class: {kept.payload['class']!r}, expected {self.name!r}")
        return found

    def _problems(self, payload: Payload) -> Iterator[str]:
        if self.args is not ...:
            yield from differences(self.args, payload["args"], "args")
        if self.queue is not ...:
            yield from differences(self.queue, payload["queue"], "queue")
        if self.at is not ...:
            yield from _of_times(self.at, payload)
        for name, value in self.fields.items():
            yield from differences(value, payload.get(name), name)


def _of_times(expected: Any, payload: Payload) -> Iterator[str]:
    """Relative times count from when the job was made, so that no time passes between push and assertion."""
    found = payload.get("at")
    if found is None or not (is_number(expected) or isinstance(expected, timedelta | datetime)):
        yield from differences(expected, found, "at")
        return
    made = seconds(payload["created_at"])
    wanted = absolute(expected, made)
    relative = isinstance(expected, timedelta) or (is_number(expected) and expected < _EPOCH_FROM)
    if abs(found - wanted) > (_NEAR_S if relative else _ROUNDING_S):
        yield f"at: {_time(found)}, {found - made:+g} s, expected {_time(wanted)}, {wanted - made:+g} s"


def enqueued_jobs(
    job: JobClass | str | None = None,
    *,
    args: Any = ...,
    queue: Any = ...,
    at: Any = ...,
    matching: Callable[[Payload], Any] | None = None,
    **fields: Any,
) -> list[Payload]:
    """The payloads that match, oldest first; see `assert_enqueued`."""
    wanted = _Wanted(job, args, queue, at, fields, matching)
    return [kept.payload for kept in _kept() if not wanted.problems(kept)]


def assert_enqueued(
    job: JobClass | str | None = None,
    *,
    args: Any = ...,
    queue: Any = ...,
    at: Any = ...,
    count: int | None = None,
    matching: Callable[[Payload], Any] | None = None,
    **fields: Any,
) -> list[Payload]:
    """Fail unless a job of fake mode matches, or `count` jobs do; answers the payloads that match.

    `job`: a class (an abstract one stands for its subclasses), a name, or None for any. `args` is the list
    of arguments; each may be a value, `unittest.mock.ANY`, `pytest.approx(…)`, a type or a function that
    says yes or no. `at`: epoch seconds or a datetime, to the millisecond; seconds or a timedelta from when
    the job was made, to the second; None for a job that is not scheduled. `matching`: a function of the
    payload. Other names are fields of the payload: `retry=5`.
    """
    __tracebackhide__ = True
    wanted = _Wanted(job, args, queue, at, fields, matching)
    kept = _kept()
    tried = [(wanted.problems(one), one) for one in kept]
    found = [one.payload for problems, one in tried if not problems]
    if count == 0:
        _check_known(wanted, tried)
    if (count is None and found) or count == len(found):
        return found
    if found:
        raise AssertionError(_counted(count, wanted, found))
    times = "" if count is None else f", expected {count}"
    lines = [f"no job matches {wanted}{times}", *_nearest(wanted, tried)]
    raise AssertionError("\n".join(lines))


def refute_enqueued(
    job: JobClass | str | None = None,
    *,
    args: Any = ...,
    queue: Any = ...,
    at: Any = ...,
    matching: Callable[[Payload], Any] | None = None,
    **fields: Any,
) -> None:
    """Fail if a job of fake mode matches, or if a function raises for one that otherwise does; see
    `assert_enqueued`.
    """
    __tracebackhide__ = True
    wanted = _Wanted(job, args, queue, at, fields, matching)
    tried = [(wanted.problems(kept), kept) for kept in _kept()]
    found = [kept.payload for problems, kept in tried if not problems]
    if found:
        raise AssertionError(_counted(0, wanted, found))
    _check_known(wanted, tried)


def _kept() -> list[Kept]:
    mode = scope.current()
    if mode is not scope.Mode.FAKE:
        where = "ran as soon as they were pushed" if mode is scope.Mode.INLINE else "go to Redis"
        raise ConfigurationError(
            f"the testing mode is {mode}, so jobs {where}: "
            "use `with Testing.fake():` or the fixture sidekiq_fake"
        )
    return Queues.kept()


def _check_known(wanted: _Wanted, tried: list[tuple[list[str], Kept]]) -> None:
    """A function with a slip in it would let every "there is none" pass."""
    __tracebackhide__ = True
    for problems, kept in tried:
        if problems and all(isinstance(problem, Unknown) for problem in problems):
            lines = [f"whether a job matches {wanted} is not known", f"  {_line(kept.payload)}"]
            raise AssertionError("\n".join([*lines, *(f"    {problem}" for problem in problems)]))


def _counted(count: int | None, wanted: _Wanted, found: list[Payload]) -> str:
    many = f"{len(found)} jobs match" if len(found) != 1 else "1 job matches"
    lines = [f"{many} {wanted}, expected {count or 'none'}"]
    lines += [f"  {_line(payload)}" for payload in found[:JOBS_SHOWN]]
    return "\n".join([*lines, *_more(len(found))])


def _nearest(wanted: _Wanted, tried: list[tuple[list[str], Kept]]) -> Iterator[str]:
    if not tried:
        yield "nothing is enqueued"
        return
    of_class = [one for one in tried if wanted.of_the_class(one[1])]
    about = f"{len(tried)} enqueued"
    yield (
        f"{about}, {len(of_class)} of them {wanted.name}; the nearest first:" if wanted.name else f"{about}:"
    )

    def far(one: tuple[list[str], Kept]) -> int:
        return len(one[0]) + (0 if wanted.of_the_class(one[1]) else _OTHER_CLASS)

    for problems, kept in sorted(tried, key=far)[:JOBS_SHOWN]:
        yield f"  {_line(kept.payload)}"
        yield from (f"    {problem}" for problem in problems[:_LINES_SHOWN])
        if len(problems) > _LINES_SHOWN:
            yield f"    and {len(problems) - _LINES_SHOWN} more differences"
    yield from _more(len(tried))


def _more(jobs: int) -> list[str]:
    return [f"  and {jobs - JOBS_SHOWN} more"] if jobs > JOBS_SHOWN else []


def _line(payload: Payload) -> str:
    at = f" at={_time(payload['at'])}" if "at" in payload else ""
    return f"{payload['class']} args={shorten(payload['args'])} queue={payload['queue']!r}{at}"


def _time(at: float) -> str:
    return f"{at:.3f} ({datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC)"
