"""What ran in the last minutes or hours, by class, as Sidekiq's metrics pages show it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from ..errors import ConfigurationError
from ..store.calls import Call
from ..store.metrics import TIMES
from .deploy import marks_between

if TYPE_CHECKING:
    from ..app import App

T = TypeVar("T")
Granularity = Literal["minutely", "hourly"]

MOST_MINUTES = 480
MOST_HOURS = 72
LABELS = (
    *("20ms", "30ms", "45ms", "65ms", "100ms", "150ms", "225ms", "335ms", "500ms", "750ms", "1.1s", "1.7s"),
    *("2.5s", "3.8s", "5.75s", "8.5s", "13s", "20s", "30s", "45s", "65s", "100s", "150s", "225s", "335s"),
    "Slow",
)
"""The histogram's buckets: what took less than so long, and what took longer than all of them."""
_STRIDE_S = {"minutely": 60, "hourly": 600}


class Mark(NamedTuple):
    """A deploy: `time` is its minute as ISO 8601, `bucket` the time in the series that it belongs to."""

    time: str
    label: str
    bucket: str


@dataclass
class JobResult:
    """One class. Times are ISO 8601, UTC, of a minute's or of ten minutes' begin.

    The metrics: `p` runs, `f` those of them that failed, `ms` and `s` how long the others took.
    """

    totals: dict[str, float] = field(default_factory=dict)
    """The sum by metric."""
    series: dict[str, dict[str, float]] = field(default_factory=dict)
    """By metric, then by time; times without any are missing."""
    hist: dict[str, list[int]] = field(default_factory=dict)
    """By time, runs in each bucket of LABELS, the fastest first. Of `for_job` over minutes only."""

    def add(self, metric: str, bucket: str, value: float) -> None:
        self.totals[metric] = self.totals.get(metric, 0) + value
        series = self.series.setdefault(metric, {})
        series[bucket] = series.get(bucket, 0) + value
        if metric == "ms":
            self.add("s", bucket, value / 1000)

    def total_avg(self, metric: str = "ms") -> float:
        """A metric for each run that succeeded; 0 without any."""
        done = self.totals.get("p", 0) - self.totals.get("f", 0)
        return self.totals.get(metric, 0) / done if done else 0.0

    def series_avg(self, metric: str = "ms") -> dict[str, float]:
        """The same by time."""
        runs, failed = self.series.get("p", {}), self.series.get("f", {})
        found = {}
        for bucket, value in self.series.get(metric, {}).items():
            done = runs.get(bucket, 0) - failed.get(bucket, 0)
            found[bucket] = value / done if done else 0.0
        return found


@dataclass
class Result:
    """What a query found. `starts_at` and `ends_at` are epoch seconds."""

    granularity: Granularity
    starts_at: float
    ends_at: float
    job_results: dict[str, JobResult]
    marks: list[Mark]


class MetricsQuery:
    """Reads the metrics that workers, of Ruby too, have flushed. Every query raises RedisError.

    `now` is epoch seconds, the present without it. Keys: `j|DAY|TIME`, `h|CLASS-TIME`, `DAY-marks`; none is
    written.
    """

    def __init__(self, app: App, now: float | None = None) -> None:
        self._app = app
        self._now = now

    def top_jobs(
        self,
        class_filter: str | re.Pattern[str] | None = None,
        minutes: int | None = None,
        hours: int | None = None,
    ) -> Result:
        """All classes over the last 1 to 480 minutes (60 if nothing is said), or 1 to 72 hours.

        `class_filter`: only classes whose name contains this text, upper or lower case, or matches this
        pattern. Raises ConfigurationError for other numbers.
        """
        granularity, times, result = self._begin(minutes, hours)
        wanted = _filter(class_filter)
        metrics, ten = self._app.store.metrics, granularity == "hourly"
        for at, fields in self._read(times, lambda part: metrics.minutes(part, ten=ten)):
            bucket = bucket_of(at, granularity)
            for name, value in fields.items():
                job_class, _, metric = name.rpartition("|")
                if wanted(job_class):
                    result.job_results.setdefault(job_class, JobResult()).add(metric, bucket, value)
        return result

    def for_job(self, name: str, minutes: int | None = None, hours: int | None = None) -> Result:
        """One class over the same; over minutes with its histograms. It has a result also if it never ran."""
        granularity, times, result = self._begin(minutes, hours)
        job = result.job_results[name] = JobResult()
        metrics, ten = self._app.store.metrics, granularity == "hourly"
        for at, counts in self._read(times, lambda part: metrics.of_class(name, part, ten=ten)):
            bucket = bucket_of(at, granularity)
            for metric, value in (("ms", counts.ms), ("p", counts.runs), ("f", counts.failed)):
                if value is not None:
                    job.add(metric, bucket, value)
            if not ten:
                job.hist[bucket] = counts.buckets or [0] * len(LABELS)
        return result

    def _begin(self, minutes: int | None, hours: int | None) -> tuple[Granularity, list[float], Result]:
        if minutes is not None and hours is not None:
            raise ConfigurationError("metrics are read by minutes or by hours, not by both")
        granularity: Granularity = "minutely" if hours is None else "hourly"
        for name, value, most in (("minutes", minutes, MOST_MINUTES), ("hours", hours, MOST_HOURS)):
            if value is not None and not (type(value) is int and 1 <= value <= most):
                raise ConfigurationError(f"{name} is {value!r}: give a whole number from 1 to {most}")
        count = (minutes or 60) if hours is None else 6 * hours
        now = self._app.clock.now() if self._now is None else self._now
        times = [now - n * _STRIDE_S[granularity] for n in range(count)]
        starts_at = now - count * _STRIDE_S[granularity]
        marks = [
            Mark(stamp, label, bucket_of(at, granularity))
            for at, stamp, label in marks_between(self._app, starts_at, now)
        ]
        return granularity, times, Result(granularity, starts_at, now, {}, marks)

    def _read(
        self, times: Sequence[float], call: Callable[[Sequence[float]], Call[list[T]]]
    ) -> list[tuple[float, T]]:
        """A call answers for fewer times where there is much."""
        found: list[T] = []
        while len(found) < len(times):
            part = self._app.transport().run(call(times[len(found) : len(found) + TIMES]))
            found.extend(part)
        return list(zip(times, found, strict=True))


def bucket_of(at: float, granularity: Granularity) -> str:
    """The minute's or the ten minutes' begin, as the series name it."""
    stride = _STRIDE_S[granularity]
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at // stride * stride))


def _filter(wanted: str | re.Pattern[str] | None) -> Callable[[str], object]:
    if wanted is None:
        return lambda name: True
    pattern = re.compile(re.escape(wanted), re.IGNORECASE) if isinstance(wanted, str) else wanted
    return pattern.search
