"""From what a caller gives to the calls that put it in Redis; shared by both clients.

normalize, client middleware, strict arguments, JSON, and then the calls `push` and `schedule`.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import InvalidJob, UnserializableArguments
from .job import JobBase
from .payload import DEFAULTS, Payload, is_number, new_jid, normalize
from .store.calls import Call
from .strict import unsafe

if TYPE_CHECKING:
    from .app import App

SLICE = 1000
SLICE_SCHEDULED = 100
SLICE_BYTES = 8_000_000
_MIN_SPREAD_S = 5
_BULK_OPTIONS = ("at", "spread_interval", "batch_size", "jid")


@dataclass(frozen=True)
class Slice:
    """Part of a bulk push: the calls to make, and each job's jid, or None where middleware stopped it."""

    calls: Sequence[Call[int]]
    jids: list[str | None]


class Enqueuer:
    """Turns items into calls for one instance."""

    def __init__(self, app: App) -> None:
        self._app = app

    def one(self, item: Mapping[str, Any], pool: Any) -> tuple[str, Call[int]] | None:
        """The jid and the call of one job, or None if client middleware stopped it.

        Raises InvalidJob or one of its subclasses.
        """
        payload = self.prepare(item, pool)
        if payload is None:
            return None
        return payload["jid"], self._calls([payload])[0]

    def prepare(self, item: Mapping[str, Any], pool: Any) -> Payload | None:
        """The whole payload of one job, checked, or None if client middleware stopped it."""
        kind, normed = self._normalize(item)
        if isinstance(kind, type):
            kind.check_args(normed["args"])
        payload = self._through_middleware(kind, normed, pool)
        if payload is not None:
            self._check(payload)
        return payload

    def bulk(self, item: Mapping[str, Any], pool: Any) -> Iterator[Slice]:
        """The slices of a bulk push, made one after the other, so that arguments may come lazily."""
        options = {name: item[name] for name in _BULK_OPTIONS if item.get(name) is not None}
        rest = {name: value for name, value in item.items() if name not in _BULK_OPTIONS}
        rows = rest.get("args")
        if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
            raise InvalidJob(f"{rest.get('class')}: bulk args must be a list of lists, one for each job")
        times = self._times(options, len(rows), str(rest.get("class")))
        if "jid" in options and len(rows) > 1:
            raise InvalidJob("jid: it cannot be given for more than one job")
        size = options.get("batch_size", SLICE_SCHEDULED if times else SLICE)
        if type(size) is not int or size < 1:
            raise InvalidJob(f"batch_size must be a number of jobs, not {size!r}")
        kind, normed = self._normalize({**rest, "args": []})
        for first in range(0, len(rows), size):
            payloads: list[Payload | None] = []
            for position in range(first, min(first + size, len(rows))):
                row = rows[position]
                if not isinstance(row, list | tuple):
                    raise InvalidJob(f"{normed['class']}: bulk args must be a list of lists, not {row!r}")
                copy = {**normed, "args": list(row), "jid": options.get("jid") or new_jid()}
                if times:
                    copy["at"] = times[position]
                if isinstance(kind, type):
                    kind.check_args(copy["args"])
                payload = self._through_middleware(kind, copy, pool)
                if payload is not None:
                    self._check(payload)
                payloads.append(payload)
            calls = self._calls([payload for payload in payloads if payload is not None])
            yield Slice(calls, [payload and payload["jid"] for payload in payloads])

    def _times(self, options: Mapping[str, Any], jobs: int, name: str) -> list[float] | None:
        at, spread = options.get("at"), options.get("spread_interval")
        if at is not None and spread is not None:
            raise InvalidJob(f"{name}: give at or spread_interval, not both")
        if at is not None:
            times = at if isinstance(at, list | tuple) else [at] * jobs
            if len(times) != jobs:
                raise InvalidJob(f"{name}: at has {len(times)} times for {jobs} jobs")
            if not all(is_number(time) for time in times):
                raise InvalidJob(f"{name}: at must be epoch seconds or a list of them, not {at!r}")
            return [float(time) for time in times]
        if spread is None:
            return None
        if not is_number(spread) or spread <= 0:
            raise InvalidJob(f"{name}: spread_interval must be a number of seconds above 0, not {spread!r}")
        # A spread below the poll interval would come out as one burst.
        now, width = self._app.clock.now(), max(spread, _MIN_SPREAD_S)
        return [now + random.random() * width for _ in range(jobs)]

    def _normalize(self, item: Mapping[str, Any]) -> tuple[type[JobBase[Any]] | str, Payload]:
        kind = item.get("class") if isinstance(item, Mapping) else None
        if isinstance(kind, type) and issubclass(kind, JobBase):
            named = {**item, "class": kind.sidekiq_name()}
            payload = normalize(named, {**DEFAULTS, **kind.get_sidekiq_options()}, self._app.stamp)
            return kind, payload
        payload = normalize(item, DEFAULTS, self._app.stamp)
        return payload["class"], payload

    def _through_middleware(
        self, kind: type[JobBase[Any]] | str, payload: Payload, pool: Any
    ) -> Payload | None:
        chain = self._app.config.client_middleware
        if not chain:
            return payload
        result = chain.invoke_client(kind, payload, payload["queue"], pool, lambda: payload)
        return result or None

    def _check(self, payload: Payload) -> None:
        mode = self._app.config.strict_args
        problem = unsafe(payload["args"]) if mode != "none" else None
        if problem:
            name = payload.get("wrapped") or payload["class"]
            message = f"{name}: {problem}. (The setting strict_args = 'warn' or 'none' turns this check off.)"
            if mode == "raise":
                raise UnserializableArguments(message)
            warnings.warn(message, stacklevel=5)

    def _calls(self, payloads: list[Payload]) -> list[Call[int]]:
        """One call for each queue, or for the schedule, and more where a call would carry over 8 MB.

        Whether jobs are scheduled is decided by the first one, as Sidekiq does.
        """
        if not payloads:
            return []
        dump, queues = self._app.codec.dump_new, self._app.store.queues
        if "at" in payloads[0]:
            entries = []
            for payload in payloads:
                stored = {k: v for k, v in payload.items() if k not in ("at", "enqueued_at")}
                entries.append((float(payload["at"]), dump(stored)))
            return [
                queues.schedule(part[i : i + SLICE_SCHEDULED])
                for part in _by_bytes(entries, [len(text) for _, text in entries])
                for i in range(0, len(part), SLICE_SCHEDULED)
            ]
        now = self._app.stamp.now()
        grouped: dict[str, list[bytes]] = {}
        for payload in payloads:
            payload["enqueued_at"] = now
            grouped.setdefault(payload["queue"], []).append(dump(payload))
        return [
            queues.push(queue, part)
            for queue, texts in grouped.items()
            for part in _by_bytes(texts, [len(text) for text in texts])
        ]


def _by_bytes(values: list[Any], sizes: list[int]) -> Iterator[list[Any]]:
    if sum(sizes) <= SLICE_BYTES:
        yield values
        return
    part: list[Any] = []
    total = 0
    for value, size in zip(values, sizes, strict=True):
        if part and total + size > SLICE_BYTES:
            yield part
            part, total = [], 0
        part.append(value)
        total += size
    yield part
