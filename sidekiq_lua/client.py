"""Puts jobs in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from .enqueue import Enqueuer
from .errors import LostReply, PushUnknown, RedisError
from .timing import When, due

if TYPE_CHECKING:
    from .app import App
    from .job import JobBase

P = ParamSpec("P")
R = TypeVar("R")


class shared(Generic[P, R]):  # noqa: N801 -- used as a decorator
    """A method that the class answers too, by its default client: `Client.push(…)`."""

    def __init__(self, method: Callable[Concatenate[Any, P], R]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, client: Any, owner: Any) -> Callable[P, R]:
        return self._method.__get__(client if client is not None else owner.default())  # type: ignore[no-any-return]


class BaseClient:
    """Puts jobs in Redis for one instance. Thread-safe and fork-safe; `close` closes its connections.

    Every method may raise InvalidJob (the job is refused, nothing is written), RedisUnavailable (nothing
    was sent), RedisFull, RedisRefused, and PushUnknown (no answer came: the jobs may be in Redis or not).
    Keys: `queues`, `queue:NAME`, `schedule`.
    """

    def __init__(self, app: App, pool: str | None = None) -> None:
        self._app = app
        self._pool = pool
        self._enqueuer = Enqueuer(app)

    @classmethod
    def default(cls) -> BaseClient:
        raise TypeError("use an instance: app.client")

    @shared
    def push(self, item: Mapping[str, Any]) -> str | None:
        """Push one job: `class` (a job class or a name), `args`, and any option; answers its jid.

        `at` is epoch seconds and puts the job in `schedule`. None: client middleware stopped it.
        """
        item, pool = self._route(item)
        made = self._enqueuer.one(item, pool)
        if made is None:
            return None
        jid, call = made
        try:
            self._app.transport(pool).run(call)
        except LostReply as error:
            raise _unknown(error, [jid]) from error
        return jid

    @shared
    def push_bulk(self, item: Mapping[str, Any]) -> list[str | None]:
        """Push many jobs of one class: `args` is a list of argument lists; answers their jids.

        `at`: epoch seconds, one for all or a list; `spread_interval`: seconds over which the jobs are
        spread at random; `batch_size`: jobs a call (1000, scheduled 100). None for a job that middleware
        stopped. A slice is atomic for each queue, the whole is not: an error says how many were pushed.
        """
        item, pool = self._route(item)
        transport = self._app.transport(pool)
        jids: list[str | None] = []
        for part in self._enqueuer.bulk(item, pool):
            waiting = [jid for jid in part.jids if jid is not None]
            try:
                for result in _run(transport, part.calls):
                    if isinstance(result, RedisError):
                        raise result
            except LostReply as error:
                raise _unknown(error, waiting) from error
            except RedisError as error:
                if len(part.calls) > 1:
                    raise PushUnknown(f"{error} (some queues of this slice took their jobs)", waiting) from error
                error.add_note(f"{sum(j is not None for j in jids)} jobs of this bulk were pushed before")
                raise
            jids += part.jids
        return jids

    @shared
    def enqueue(self, job_class: type[JobBase[Any]] | str, *args: Any) -> str | None:
        """Push one job with its class's options."""
        return self.push({"class": job_class, "args": list(args)})

    @shared
    def enqueue_to(self, queue: str, job_class: type[JobBase[Any]] | str, *args: Any) -> str | None:
        """Push one job to another queue than its class's."""
        return self.push({"class": job_class, "args": list(args), "queue": queue})

    @shared
    def enqueue_in(self, when: When, job_class: type[JobBase[Any]] | str, *args: Any) -> str | None:
        """Push one job that is due later (seconds from now, timedelta, datetime)."""
        return self.push(self._later(when, {"class": job_class, "args": list(args)}))

    @shared
    def enqueue_to_in(
        self, queue: str, when: When, job_class: type[JobBase[Any]] | str, *args: Any
    ) -> str | None:
        """Push one job that is due later to another queue than its class's."""
        return self.push(self._later(when, {"class": job_class, "args": list(args), "queue": queue}))

    @shared
    def via(self, pool: str, function: Callable[[], Any] | None = None) -> Any:
        """Send what is pushed meanwhile to another Redis: a name of the setting `pools`, or a URL.

        `with Client.via("shard-1"): …`, or `Client.via("shard-1", function)`, which answers its result.
        """
        if function is None:
            return self._via(pool)
        with self._via(pool):
            return function()

    @contextmanager
    def _via(self, pool: str) -> Iterator[None]:
        self._app.transport(pool)
        token = self._app.via.set(pool)
        try:
            yield
        finally:
            self._app.via.reset(token)

    def close(self) -> None:
        """Close the connections; the next push opens new ones."""
        self._app.close()

    def _route(self, item: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | None]:
        return route(item, self._pool or self._app.via.get())

    def _later(self, when: When, item: dict[str, Any]) -> dict[str, Any]:
        at = due(when, self._app.clock.now())
        return item if at is None else {**item, "at": at}


def route(item: Mapping[str, Any], pool: str | None) -> tuple[Mapping[str, Any], str | None]:
    """The item and the pool it goes to: its own, its class's, or the given one."""
    if not isinstance(item, Mapping):
        return item, pool
    options = getattr(item.get("class"), "get_sidekiq_options", dict)()
    return item, item.get("pool") or pool or options.get("pool")


def _run(transport: Any, calls: Any) -> list[Any]:
    return [transport.run(calls[0])] if len(calls) == 1 else transport.run_many(calls)


def _unknown(error: LostReply, jids: list[str]) -> PushUnknown:
    named = jids[0] if len(jids) == 1 else f"{len(jids)} jobs"
    return PushUnknown(f"{named} may be in Redis or not: {error}", jids)
