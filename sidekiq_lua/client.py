"""Puts jobs in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from .enqueue import Enqueuer, Slice
from .errors import InvalidJob, LostReply, NotReplicated, PushUnknown, RedisError
from .sending import partly, unknown
from .sink import switch
from .store.calls import Call
from .timing import When, due

if TYPE_CHECKING:
    from .app import App
    from .job import JobBase

P = ParamSpec("P")
R = TypeVar("R")


class shared(Generic[P, R]):
    """A method that the class answers too, by its default client: `Client.push(…)`."""

    def __init__(self, method: Callable[Concatenate[Any, P], R]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, client: Any, owner: Any) -> Callable[P, R]:
        return self._method.__get__(client if client is not None else owner.default())  # type: ignore[no-any-return]


class Sender:
    """What both clients know: whose jobs they send, and where to."""

    def __init__(self, app: App, pool: str | None = None) -> None:
        self._app = app
        self._pool = pool or app.pool
        self._enqueuer = Enqueuer(app)

    def _route(self, item: Mapping[str, Any]) -> str | None:
        """The pool of an item: its own, this client's, that of `via`, its class's, or the running job's."""
        pool = self._pool or self._app.via.get()
        if isinstance(item, Mapping):
            options: Callable[[], dict[str, Any]] = getattr(item.get("class"), "get_sidekiq_options", dict)
            pool = item.get("pool") or pool or options().get("pool")
        pool = pool or self._app.home.get()
        return self._app.named(pool) if pool == "default" else pool

    def _cancel(self, jid: str) -> Call[bool]:
        if not isinstance(jid, str) or not jid:
            raise InvalidJob(f"a job is cancelled by its id, not by {jid!r}")
        return self._app.store.iterations.cancel(jid, self._app.clock.now())

    def _later(self, when: When, item: dict[str, Any]) -> dict[str, Any]:
        at = due(when, self._app.clock.now())
        return item if at is None else {**item, "at": at}

    @contextmanager
    def _via(self, pool: str) -> Iterator[None]:
        if self._app.named(pool) is not None:
            self._app.endpoint(pool)
        before = self._app.via.get()
        self._app.via.set(pool)
        try:
            yield
        finally:
            # Not a token: leaving in another contextvars context, as async generators may, would raise.
            self._app.via.set(before)


class Progress:
    """The slices of a bulk push, and how far it came; a `with` block over it makes errors say so."""

    def __init__(self, parts: Iterator[Slice]) -> None:
        self._parts = parts
        self._ahead: list[Slice | Exception | None] = []
        self.sending: list[str] = []
        self.jids: list[str | None] = []

    def __iter__(self) -> Iterator[Slice]:
        while True:
            if not self._ahead:
                self.make_next()
            part = self._ahead.pop()
            if part is None:
                return
            if isinstance(part, Exception):
                raise part
            self.sending = [jid for jid in part.jids if jid is not None]
            yield part
            self.jids += part.jids

    def make_next(self) -> None:
        """Make the slice after this one already; what is wrong with it is raised when it is its turn."""
        try:
            self._ahead.append(next(self._parts, None))
        except Exception as error:
            self._ahead.append(error)

    def check(self, results: Sequence[Any]) -> None:
        """Raises the first error among the results of the slice's calls."""
        errors = [result for result in results if isinstance(result, RedisError)]
        if errors and len(errors) < len(results):
            raise partly(errors[0], self.sending)
        if errors:
            raise errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        told = unknown(error, self.sending) if type(error) is LostReply else error
        pushed = sum(jid is not None for jid in self.jids)
        if isinstance(error, NotReplicated):
            there = pushed + len(self.sending)
            told.add_note(f"{there} jobs of this bulk are in Redis; what comes behind them was not pushed")
        elif pushed:
            told.add_note(f"{pushed} jobs of this bulk were pushed before")
        if told is not error:
            raise told from error


class BaseClient(Sender):
    """Puts jobs in Redis for one instance. Thread-safe and fork-safe; `close` closes its connections.

    Every method may raise InvalidJob (the job is refused, nothing is written), RedisUnavailable (nothing
    was sent), RedisNotReady (a failover, a failing disk), RedisFull, RedisRefused, and PushUnknown (no answer
    came: the jobs may be in Redis or not); with the settings `wait_replicas` and `push_buffer` also
    NotReplicated and PushBufferFull. Keys: `queues`, `queue:NAME`, `schedule`, and with `reliable_push`
    `lua:sent:*`.
    """

    @classmethod
    def default(cls) -> BaseClient:
        raise AttributeError("use an instance: app.client")  # the error that `help` expects

    @shared
    def push(self, item: Mapping[str, Any]) -> str | None:
        """Push one job: `class` (a job class or a name), `args`, and any option; answers its jid.

        `at` is epoch seconds and puts the job in `schedule`. None: client middleware stopped it.
        """
        pool = self._route(item)
        if switch.choose and (taker := switch.choose()):
            return taker.push(self._app, item, pool)
        made = self._enqueuer.one(item, pool)
        if made is None:
            return None
        jid, call = made
        outbox = self._app.outbox(pool)
        try:
            if outbox is None:
                self._app.transport(pool).run(call)
            else:
                outbox.send([call], [jid])
        except LostReply as error:
            raise error if isinstance(error, PushUnknown) else unknown(error, [jid]) from error
        return jid

    @shared
    def push_bulk(self, item: Mapping[str, Any]) -> list[str | None]:
        """Push many jobs of one class: `args` is a list of argument lists; answers their jids.

        `at`: epoch seconds, one for all or a list, in which None means at once; `spread_interval`: seconds
        over which the jobs are spread at random, 5 or more; `batch_size`: jobs a call (1000, scheduled 100).
        None for a job that middleware stopped. A slice is atomic for each queue, the whole is not: an error
        has a note that says how many were pushed before, and NotReplicated one that says how many there are.
        """
        pool = self._route(item)
        if switch.choose and (taker := switch.choose()):
            return taker.push_bulk(self._app, item, pool)
        alone = self._enqueuer.is_alone(item)
        with Progress(self._enqueuer.bulk(item, pool)) as progress:
            for part in progress:
                outbox = self._app.outbox(pool)
                if outbox is not None:
                    outbox.send(part.calls, progress.sending)
                    continue
                transport = self._app.transport(pool)
                if len(part.calls) == 1 and alone:
                    sent = transport.send(part.calls[0])
                    try:
                        progress.make_next()  # while the server works on this one
                    except BaseException:
                        sent.abandon()
                        raise
                    sent.read()
                elif len(part.calls) == 1:
                    transport.run(part.calls[0])
                else:
                    progress.check(transport.run_many(part.calls))
        return progress.jids

    @shared
    def enqueue(self, job_class: type[JobBase] | str, *args: Any) -> str | None:
        """Push one job with its class's options."""
        return self.push({"class": job_class, "args": list(args)})

    @shared
    def enqueue_to(self, queue: str, job_class: type[JobBase] | str, *args: Any) -> str | None:
        """Push one job to another queue than its class's."""
        return self.push({"class": job_class, "args": list(args), "queue": queue})

    @shared
    def enqueue_in(self, when: When, job_class: type[JobBase] | str, *args: Any) -> str | None:
        """Push one job that is due later (seconds from now, timedelta, datetime)."""
        return self.push(self._later(when, {"class": job_class, "args": list(args)}))

    @shared
    def enqueue_to_in(self, queue: str, when: When, job_class: type[JobBase] | str, *args: Any) -> str | None:
        """Push one job that is due later to another queue than its class's."""
        return self.push(self._later(when, {"class": job_class, "args": list(args), "queue": queue}))

    @shared
    def cancel(self, jid: str) -> bool:
        """Cancel an iterable job: it ends when it next saves its state, or when it starts.

        False: it was cancelled before. Nobody looks whether there is such a job. Raises InvalidJob for what
        is no id. Key: `it-JID`, kept for 30 days or until the job has ended.
        """
        return self._app.transport(self._route({})).run(self._cancel(jid))

    @shared
    def via(self, pool: str, function: Callable[[], Any] | None = None) -> Any:
        """Send what is pushed meanwhile to another Redis: a name of the setting `pools`, a URL, or "default".

        `with Client.via("shard-1"): …`, or `Client.via("shard-1", function)`, which answers its result.
        Objects of the Data API that are made meanwhile belong to that Redis, then and later.
        Raises ConfigurationError for a name that is none.
        """
        if function is None:
            return self._via(pool)
        with self._via(pool):
            return function()

    def close(self) -> None:
        """Close the instance's connections; the next push opens new ones."""
        self._app.close()
