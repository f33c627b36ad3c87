"""Calls on what was run, minute by minute. Keys: `j|DAY|TIME`, `h|CLASS-TIME`, `lua:metrics:*`, `*-marks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from .calls import Call
from .keys import Keys
from .scripts import library

SHORT_TTL_S = 8 * 3600
LONG_TTL_S = 3 * 86_400
MARK_TTL_S = 90 * 86_400
LOCK_TTL_S = 60
TIMES = 60
"""The most minutes, or times of ten minutes, that one call reads."""
FIELDS = 1000
"""Once so many fields are read, `read` reads no more hashes."""
BUCKETS = 26
_READ = [word for i in range(BUCKETS) for word in ("GET", "u16", f"#{i}")]


class Counted(Protocol):
    """What ran of one class: `ms` is of the runs that succeeded, `buckets` has their number by bucket."""

    @property
    def name(self) -> str: ...
    @property
    def runs(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def ms(self) -> int: ...
    @property
    def buckets(self) -> Mapping[int, int]: ...


class Flushed(NamedTuple):
    """`added` is False if it was added before; `problem` is an error's text where a part was left out."""

    added: bool
    problem: str


class JobCounts(NamedTuple):
    """One class in one minute or ten; None where nothing was written, no `buckets` without a histogram."""

    runs: int | None
    failed: int | None
    ms: int | None
    buckets: list[int]


class Metrics:
    """What ran, and when something was deployed."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        scripts = library()
        self._flush = scripts["flush_metrics"].call
        self._read = scripts["read_hashes"].call
        self._job = scripts["job_metrics"].call
        self._mark = scripts["mark_deploy"].call

    def flush(self, token: str, number: int, at: float, counts: Sequence[Counted]) -> Call[Flushed]:
        """Add what at most 50 classes ran to the minute of epoch seconds `at`.

        `token` names the process, `number` this batch of it.
        """
        keys = self._keys
        rest: list[str | int] = []
        for count in counts:
            rest += _words(count)
        return self._flush(
            done=keys.flushed(token),
            minute=keys.minute(at),
            ten=keys.ten_minutes(at),
            histograms=[keys.histogram(class_field(count.name), at) for count in counts],
            number=number,
            short=SHORT_TTL_S,
            long=LONG_TTL_S,
            rest=rest,
            read=lambda reply: Flushed(reply[0] == 1, reply[1].decode("utf-8", "replace")),
        )

    def minutes(self, times: Sequence[float], *, ten: bool) -> Call[list[dict[str, int]]]:
        """The fields `CLASS|p`, `CLASS|f`, `CLASS|ms` of at most TIMES minutes, or tens of them; the last
        ones are missing where there are many fields."""
        name = self._keys.ten_minutes if ten else self._keys.minute
        return self._read(
            hashes=[name(at) for at in times],
            fields=FIELDS,
            read=lambda reply: [{f: int(v) for f, v in _pairs(hash_).items()} for hash_ in reply],
        )

    def of_class(self, name: str, times: Sequence[float], *, ten: bool) -> Call[list[JobCounts]]:
        """One class at at most TIMES times; of minutes, with the histograms."""
        keys = self._keys
        field = class_field(name)
        if ten:
            places = [keys.ten_minutes(at) for at in times]
        else:
            places = [key for at in times for key in (keys.minute(at), keys.histogram(field, at))]

        def read(reply: list[Any]) -> list[JobCounts]:
            return [
                JobCounts(_number(runs), _number(failed), _number(ms), buckets)
                for runs, failed, ms, buckets in reply
            ]

        return self._job(
            places=places,
            pairs=int(not ten),
            runs=f"{field}|p",
            failed=f"{field}|f",
            ms=f"{field}|ms",
            words=_READ,
            read=read,
        )

    def mark(self, stamp: str, label: str) -> Call[bool]:
        """Mark a deploy at a minute, `YYYY-MM-DDTHH:MM:00Z`; False where `mark_deploy.lua` leaves it."""
        keys = self._keys
        return self._mark(
            lock=keys.deploy_lock(label),
            marks=keys.marks(stamp[:10]),
            stamp=stamp,
            label=label,
            lock_ttl=LOCK_TTL_S,
            ttl=MARK_TTL_S,
            read=lambda reply: reply == 1,
        )

    def marks(self, days: Sequence[str]) -> Call[list[dict[str, str]]]:
        """The marks of days, `YYYY-MM-DD`: labels by minute. The last days are missing if there are many."""
        return self._read(
            hashes=[self._keys.marks(day) for day in days],
            fields=FIELDS,
            read=lambda reply: [_pairs(hash_) for hash_ in reply],
        )


def class_field(name: str) -> str:
    """A class's name as the keys have it: `|` divides fields."""
    return name.replace("|", "_")


def _words(count: Counted) -> list[str | int]:
    """The words of one class for `flush_metrics.lua`."""
    field = class_field(count.name)
    pairs: list[str | int] = [f"{field}|p", count.runs]
    if count.failed:
        pairs += (f"{field}|f", count.failed)
    if count.buckets:
        pairs += (f"{field}|ms", count.ms)
    bits = [word for i, n in count.buckets.items() for word in ("INCRBY", "u16", f"#{i}", n)]
    return [len(pairs), *pairs, len(bits), *bits]


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def _pairs(reply: list[bytes]) -> dict[str, str]:
    texts = [part.decode("utf-8", "replace") for part in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))
