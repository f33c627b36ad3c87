"""From what a caller gives to the calls that put it in Redis; shared by both clients.

normalize, client middleware, strict arguments, JSON, and then the calls `push` and `schedule`.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError, InvalidJob, UnserializableArguments
from .job import JobBase
from .log import parse_level
from .payload import DEFAULTS, Payload, is_number, new_jids, normalize, shorten, validate
from .store.calls import Call
from .strict import unsafe

if TYPE_CHECKING:
    from .app import App
    from .config import Config

SLICE = 1000
SLICE_SCHEDULED = 100
SLICE_BYTES = 8_000_000
_MIN_SPREAD_S = 5
_LEVELS = {10: "debug", 20: "info", 30: "warn", 40: "error", 50: "fatal"}
_BULK_OPTIONS = ("at", "spread_interval", "batch_size", "jid")


@dataclass(frozen=True)
class Slice:
    """Part of a bulk push: the calls to make, and each job's jid, or None where middleware stopped it."""

    calls: Sequence[Call[int]]
    jids: list[str | None]
    payloads: Sequence[Payload]
    """What the calls carry."""


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
        return payload["jid"], self.calls([payload])[0]

    def prepare(self, item: Mapping[str, Any], pool: Any) -> Payload | None:
        """The whole payload of one job, checked, or None if client middleware stopped it."""
        kind, normed = self._normalize(item)
        return self._finish(kind, normed, pool, self._app.config)

    def is_alone(self, item: Mapping[str, Any]) -> bool:
        """Whether making the payloads of a bulk runs no code of the user's, which may want a connection."""
        rows = item.get("args") if isinstance(item, Mapping) else None
        return type(rows) in (list, tuple) and not self._app.config.client_middleware

    def bulk(self, item: Mapping[str, Any], pool: Any) -> Iterator[Slice]:
        """The slices of a bulk push, made one after the other, so that arguments may come lazily."""
        for payloads in self.prepare_bulk(item, pool):
            kept = [payload for payload in payloads if payload is not None]
            jids = [None if payload is None else payload["jid"] for payload in payloads]
            # With no client middleware, those of a slice are alike.
            alike = len(kept) > 1 and not self._app.config.client_middleware
            yield Slice(self.calls(kept, alike=alike), jids, kept)

    def prepare_bulk(self, item: Mapping[str, Any], pool: Any) -> Iterator[list[Payload | None]]:
        """The payloads of a bulk push, slice by slice; None for a job that client middleware stopped."""
        if not isinstance(item, Mapping):
            raise InvalidJob(f"a bulk must be a dict with `class` and `args`, not {shorten(item)}")
        options = {name: item[name] for name in _BULK_OPTIONS if item.get(name) is not None}
        rest = {name: value for name, value in item.items() if name not in _BULK_OPTIONS}
        kind, normed = self._normalize({**rest, "args": []})
        name, rows = normed["class"], item.get("args")
        if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
            raise InvalidJob(
                f"{name}: bulk args must be a list of lists, one for each job, not {shorten(rows)}"
            )
        times = self._times(options, len(rows), name)
        if "jid" in options and len(rows) > 1:
            raise InvalidJob(f"{name}: jid cannot be given for more than one job")
        size = options.get("batch_size", SLICE_SCHEDULED if times else SLICE)
        if type(size) is not int or size < 1:
            raise InvalidJob(f"{name}: batch_size must be a number of jobs, not {size!r}")
        for first in range(0, len(rows), size):
            payloads: list[Payload | None] = []
            last = min(first + size, len(rows))
            jids = [options["jid"]] if options.get("jid") else new_jids(last - first)
            config = self._app.config
            for position in range(first, last):
                row = rows[position]
                if not isinstance(row, list | tuple):
                    raise InvalidJob(f"{name}: bulk args must be a list of lists, not {shorten(row)}")
                copy = {**normed, "args": list(row), "jid": jids[position - first]}
                if times and times[position] is not None:
                    copy["at"] = times[position]
                payloads.append(self._finish(kind, copy, pool, config))
            yield payloads

    def _times(self, options: Mapping[str, Any], jobs: int, name: str) -> list[float | None] | None:
        at, spread = options.get("at"), options.get("spread_interval")
        if at is not None and spread is not None:
            raise InvalidJob(f"{name}: give at or spread_interval, not both")
        if at is not None:
            times = at if isinstance(at, Sequence) and not isinstance(at, str | bytes) else [at] * jobs
            if len(times) != jobs:
                raise InvalidJob(f"{name}: at has {len(times)} times for {jobs} jobs")
            if not all(time is None or is_number(time) for time in times):
                raise InvalidJob(f"{name}: at must be epoch seconds or a list of them, not {shorten(at)}")
            if all(time is None for time in times):
                return None
            return [None if time is None else float(time) for time in times]
        if spread is None:
            return None
        if not is_number(spread) or spread <= 0:
            raise InvalidJob(f"{name}: spread_interval must be a number of seconds above 0, not {spread!r}")
        # A spread below the poll interval would come out as one burst.
        now, width = self._app.clock.now(), max(spread, _MIN_SPREAD_S)
        return [now + random.random() * width for _ in range(jobs)]

    def _normalize(self, item: Mapping[str, Any]) -> tuple[type[JobBase] | str, Payload]:
        kind = item.get("class") if isinstance(item, Mapping) else None
        if isinstance(kind, type) and issubclass(kind, JobBase):
            if kind.is_abstract():
                raise InvalidJob(f"{kind.__qualname__} is abstract: only its subclasses are jobs")
            named = {**item, "class": kind.sidekiq_name()}
            payload = normalize(named, {**DEFAULTS, **kind.get_sidekiq_options()}, self._app.stamp)
        else:
            payload = normalize(item, DEFAULTS, self._app.stamp)
            kind = payload["class"]
        if payload.get("log_level") is not None:
            _name_level(payload)
        return kind, payload

    def _finish(
        self, kind: type[JobBase] | str, payload: Payload, pool: Any, config: Config
    ) -> Payload | None:
        if isinstance(kind, type):
            kind.check_args(payload["args"])
        chain = config.client_middleware
        if chain:
            # What middleware appends to tags must not stay in the class's options, or in a bulk's next job.
            own = {k: v.copy() if type(v) in (list, dict) else v for k, v in payload.items()}
            passed = chain.invoke_client(kind, own, own["queue"], pool, lambda: own)
            if not passed:
                return None
            payload = _usable(passed)
        self._check(payload, config.strict_args)
        return payload

    def check_edited(self, payload: Payload) -> None:
        """Raises InvalidJob or a subclass where a push would, for a job whose arguments were changed."""
        validate(payload)
        kind = self._app.registry.find(payload["class"])
        if kind is not None:
            kind.check_args(payload["args"])
        self._check(payload, self._app.config.strict_args)

    def _check(self, payload: Payload, mode: str) -> None:
        problem = unsafe(payload["args"]) if mode != "none" else None
        if problem:
            name = payload.get("wrapped") or payload["class"]
            message = f"{name}: {problem}. (The setting strict_args = 'warn' or 'none' turns this check off.)"
            if mode == "raise":
                raise UnserializableArguments(message)
            warnings.warn(message, stacklevel=_callers_level())

    def calls(self, payloads: list[Payload], *, alike: bool = False) -> list[Call[int]]:
        """One call for each queue, one for the schedule, and more where one would carry over 8 MB.

        `alike`: they differ in their arguments, jids and times alone.
        """
        codec, queues = self._app.codec, self._app.store.queues
        now = self._app.stamp.now()
        dump: Callable[[Payload], bytes] = codec.dump_new
        if alike and not any("at" in payload for payload in payloads):
            dump = codec.dump_alike({**payloads[0], "enqueued_at": now})
        scheduled: list[tuple[float, bytes]] = []
        grouped: dict[str, list[bytes]] = {}
        for payload in payloads:
            if "at" in payload:
                stored = {k: v for k, v in payload.items() if k not in ("at", "enqueued_at")}
                scheduled.append((float(payload["at"]), dump(stored)))
            else:
                payload["enqueued_at"] = now
                grouped.setdefault(payload["queue"], []).append(dump(payload))
        calls = [
            queues.push(queue, part)
            for queue, texts in grouped.items()
            for part in _by_bytes(texts, [len(text) for text in texts])
        ]
        for part in _by_bytes(scheduled, [len(text) for _, text in scheduled]):
            calls += (
                queues.schedule(part[i : i + SLICE_SCHEDULED]) for i in range(0, len(part), SLICE_SCHEDULED)
            )
        return calls


def _name_level(payload: Payload) -> None:
    """Write the log level as Ruby names it, and leave out what is none, which Python ignores.

    A Ruby worker loses a job that has a name which its logger does not know, such as `warning`.
    """
    try:
        level = parse_level(payload["log_level"])
        payload["log_level"] = _LEVELS.get(level, level)
    except ConfigurationError:
        del payload["log_level"]


def _usable(passed: Any) -> Payload:
    """What came out of the client middleware, if that is still a job."""
    if not isinstance(passed, dict):
        raise ConfigurationError(
            "client middleware must answer what next() answers, or None to stop the push, "
            f"not {shorten(passed)}"
        )
    validate(passed)
    for name in ("queue", "jid"):
        value = passed.get(name)
        if not isinstance(value, str) or value.split() != [value]:
            raise InvalidJob(f"{passed['class']}: client middleware made {value!r} the job's {name}")
    return passed


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


def _callers_level() -> int:
    """The stack level of the user's own line, for a `warnings.warn` where this is called."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "sidekiq_lua":
        frame, level = frame.f_back, level + 1
    return level
