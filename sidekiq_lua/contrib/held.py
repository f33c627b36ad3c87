"""Jobs that wait for a transaction: made and checked at once, pushed when it is committed, or forgotten.

What `contrib.django` and `contrib.sqlalchemy` have in common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..app import App
from ..client import BaseClient, Sender, shared
from ..enqueue import SLICE
from ..errors import ConfigurationError, LostReply, NotPushedAfterCommit, NotReplicated, SidekiqError
from ..payload import Payload
from ..sink import switch
from ..store.calls import Call


class Held(NamedTuple):
    """A job that waits, and the pool it goes to."""

    payload: Payload
    pool: str | None


class Holder(Sender):
    """Makes jobs that are to wait. Client middleware runs now, where the job is made."""

    def _made(self, item: Mapping[str, Any]) -> Held | None:
        pool = self._route(item)
        payload = self._enqueuer.prepare(item, pool)
        return None if payload is None else self._frozen(payload, pool)

    def _made_bulk(self, item: Mapping[str, Any]) -> list[Held | None]:
        pool = self._route(item)
        return [
            None if payload is None else self._frozen(payload, pool)
            for slice_ in self._enqueuer.prepare_bulk(item, pool)
            for payload in slice_
        ]

    def _frozen(self, payload: Payload, pool: str | None) -> Held:
        """Through JSON and back: what is wrong with it is said now, and later changes of its arguments do not
        reach it."""
        codec = self._app.codec
        if pool is not None:
            self._app.endpoint(pool)
        if "at" not in payload:
            payload["enqueued_at"] = self._app.stamp.now()
        return Held(codec.load(codec.dump_new(payload)), pool)


class HoldingClient(Holder, BaseClient, ABC):
    """A client whose jobs wait while a transaction is open. Base of those for Django and SQLAlchemy.

    Jids are answered at once. Without an open transaction a push goes out at once and raises what
    `Client.push` raises; otherwise it raises InvalidJob only.
    """

    @shared
    def push(self, item: Mapping[str, Any]) -> str | None:
        """See `Client.push`: now, or after the commit."""
        place = None if faked() else self._place()
        if place is None:
            return super().push(item)
        held = self._made(item)
        if held is None:
            return None
        self._hold(place, [held])
        return held.payload["jid"]  # type: ignore[no-any-return]

    @shared
    def push_bulk(self, item: Mapping[str, Any]) -> list[str | None]:
        """See `Client.push_bulk`: now, or after the commit; until then every job is kept in memory."""
        place = None if faked() else self._place()
        if place is None:
            return super().push_bulk(item)
        made = self._made_bulk(item)
        self._hold(place, [held for held in made if held is not None])
        return [None if held is None else held.payload["jid"] for held in made]

    @abstractmethod
    def _place(self) -> Any:
        """What holds jobs until the open transaction ends; None if none is open."""

    @abstractmethod
    def _hold(self, place: Any, jobs: list[Held]) -> None:
        """Let jobs wait there."""


class Part(NamedTuple):
    """Jobs that go to one list of one Redis, in at most one slice."""

    pool: str | None
    payloads: list[Payload]
    calls: Sequence[Call[int]]

    @property
    def jids(self) -> list[str]:
        return [payload["jid"] for payload in self.payloads]


class Failures:
    """What could not be pushed after a commit; each job is reported when it is found out."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._payloads: list[Payload] = []
        self._first: Exception | None = None

    def note(self, part: Part, error: Exception) -> None:
        """For each job a log line with its payload, and the error handlers."""
        self._payloads += part.payloads
        self._first = self._first or error
        logger = self._app.logger
        for payload in part.payloads:
            text = self._app.codec.dump(payload).decode("utf-8", "replace")
            sure = "perhaps " if isinstance(error, LostReply | NotReplicated) else ""
            logger.error("%snot pushed after its transaction was committed: %s (%s)", sure, text, error)
            context = {"context": "push after commit", "job": payload}
            self._app.handle_exception(error, context, is_logged=True)

    def check(self) -> None:
        """Raises NotPushedAfterCommit if there are any."""
        if self._first is None:
            return
        jids = ", ".join(str(payload["jid"]) for payload in self._payloads[:3])
        more = f" and {len(self._payloads) - 3} more" if len(self._payloads) > 3 else ""
        raise NotPushedAfterCommit(
            f"the transaction is committed, but jobs were not pushed ({jids}{more}): {self._first}",
            self._payloads,
        ) from self._first


def parts(app: App, jobs: Sequence[Held]) -> Iterator[Part]:
    """Jobs whose transaction was committed, by where they go; in each place in the order they were made."""
    groups: dict[tuple[str | None, str | None], list[Payload]] = {}
    for payload, pool in jobs:
        groups.setdefault((pool, None if "at" in payload else payload["queue"]), []).append(payload)
    for (pool, _), payloads in groups.items():
        for first in range(0, len(payloads), SLICE):
            part = payloads[first : first + SLICE]
            yield Part(pool, part, app.enqueuer.calls(part))


def release(app: App, jobs: Sequence[Held], failures: Failures) -> None:
    """Push jobs whose transaction was committed, in this thread; what fails does not keep the others."""
    for part in parts(app, jobs):
        try:
            outbox = app.outbox(part.pool)
            if outbox is None:
                checked(app.transport(part.pool).run_many(part.calls))
            else:
                outbox.send(part.calls, part.jids)
        except Exception as error:
            failures.note(part, error)


def faked() -> bool:
    """Whether a test has put something in the place of Redis; nothing waits there, for no commit may come."""
    return switch.choose is not None and switch.choose() is not None


def checked(results: Sequence[Any]) -> None:
    """Raises the first error among the results of calls."""
    for result in results:
        if isinstance(result, SidekiqError):
            raise result


def missing(package: str, extra: str) -> ConfigurationError:
    """What a module of this folder raises whose package is not installed."""
    return ConfigurationError(f"{package} is not installed: pip install 'sidekiq-lua[{extra}]'")
