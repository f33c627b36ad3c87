"""One job as it lies in Redis, for people and programs to look at."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import InvalidJob
from ..payload import Payload, is_number, seconds
from .iteration import IterableJobQuery, IterationState
from .unwrap import display_args, display_class

if TYPE_CHECKING:
    from ..app import App


class JobRecord:
    """A job that waits in a queue, or the like. It is what was read; the job may be elsewhere by now.

    Text that is no JSON object has an empty `item`, and itself as its only argument.
    """

    def __init__(self, app: App, value: bytes, queue: str | None = None) -> None:
        self._app = app
        self._queue = queue
        self.value = value
        """The exact bytes in Redis; each action finds the job by them."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.klass} {self.jid}>"

    def __getitem__(self, name: str) -> Any:
        """Any field of the payload; None if it has none of that name."""
        return self.item.get(name)

    @cached_property
    def item(self) -> Payload:
        """The payload as a dict."""
        return self._app.codec.look(self.value)

    @property
    def queue(self) -> str | None:
        """The queue it waits in, or is meant for."""
        return self._queue if self._queue is not None else _text(self["queue"])

    @property
    def klass(self) -> str | None:
        """The name of the class that runs it; for an ActiveJob, that of the adapter."""
        return _text(self["class"])

    @property
    def jid(self) -> str | None:
        return _text(self["jid"])

    @property
    def bid(self) -> str | None:
        """The id of its batch."""
        return _text(self["bid"])

    @property
    def args(self) -> list[Any]:
        """The arguments."""
        args = self["args"]
        if isinstance(args, list):
            return args
        return [] if self.item else [self.value.decode("utf-8", "backslashreplace")]

    @property
    def tags(self) -> list[Any]:
        tags = self["tags"]
        return tags if isinstance(tags, list) else []

    @property
    def display_class(self) -> str | None:
        """The class for people: `display_class`, or what an ActiveJob wraps, or the class."""
        return display_class(self.item)

    @property
    def display_args(self) -> list[Any]:
        """The arguments for people: without the envelope of an ActiveJob, and without encrypted bytes."""
        return display_args(self.item, self.args)

    @property
    def created_at(self) -> datetime | None:
        """When it was made, UTC; None if it does not say."""
        return _time(self["created_at"] or self["enqueued_at"])

    @property
    def enqueued_at(self) -> datetime | None:
        """When it was put in a queue last, UTC."""
        return _time(self["enqueued_at"])

    @property
    def failed_at(self) -> datetime | None:
        """When it failed first, UTC."""
        return _time(self["failed_at"])

    @property
    def retried_at(self) -> datetime | None:
        """When it failed last, if more than once, UTC."""
        return _time(self["retried_at"])

    @property
    def latency(self) -> float:
        """Seconds since it was put in a queue, or made; 0.0 if it does not say."""
        return latency(self._app, self.item)

    @property
    def error_class(self) -> str | None:
        """The class of the error it failed with last."""
        return _text(self["error_class"])

    @property
    def error_message(self) -> str | None:
        """The message of the error it failed with last."""
        return _text(self["error_message"])

    @cached_property
    def error_backtrace(self) -> list[str] | None:
        """The lines of its last error's backtrace, if it was kept: see the option `backtrace`."""
        packed = self["error_backtrace"]
        if not isinstance(packed, str):
            return None
        try:
            lines = json.loads(zlib.decompress(base64.b64decode(packed)))
        except (ValueError, RecursionError, zlib.error):
            return None
        return lines if isinstance(lines, list) else None

    @cached_property
    def iterable_state(self) -> IterationState | None:
        """How far an iterable job has come; None for other jobs. Raises RedisError. Keys: `it-JID`."""
        return IterableJobQuery(self._app, [self.jid]).get(self.jid)

    def _edited(self, args: tuple[Any, ...]) -> bytes:
        """Its text with other arguments. Raises InvalidJob for what a push would refuse."""
        if not self.item:
            raise InvalidJob("what is no job has no arguments to edit")
        new = {**self.item, "args": list(args)}
        self._app.enqueuer.check_edited(new)
        return self._app.codec.dump_new(new)

    def _requeued(self, queue: str) -> bytes:
        """Its text for another queue. Raises InvalidJob for a name that is none."""
        if not isinstance(queue, str) or queue.split() != [queue]:
            raise InvalidJob(f"a queue must be a name without spaces, not {queue!r}")
        return self._app.codec.dump({**self.item, "queue": queue}) if self.item else self.value

    def _became(self, value: bytes) -> None:
        self.value = value
        for name in ("item", "error_backtrace", "iterable_state"):
            vars(self).pop(name, None)


def latency(app: App, payload: Payload) -> float:
    """Seconds since a job was enqueued, or made."""
    stamp: Any = payload.get("enqueued_at") or payload.get("created_at")
    # A clock that is behind the one of whoever enqueued would show a wait below nothing.
    return max(app.clock.now() - seconds(stamp), 0.0) if is_number(stamp) else 0.0


def moment(at: float) -> datetime | None:
    """Epoch seconds as a datetime in UTC; None for what no calendar has."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _time(stamp: Any) -> datetime | None:
    return moment(seconds(stamp)) if is_number(stamp) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
