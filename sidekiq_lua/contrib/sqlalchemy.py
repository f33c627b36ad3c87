"""Jobs and SQLAlchemy's transactions; the extra `sqlalchemy`.

With `client_class = partial(SessionClient, session=Session)`, Session being a scoped_session, or within
`with use_session(session):`, pushes wait for the session's commit. `SQLAlchemyDatabase` lets an Outbox write
in a session's transaction.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import groupby
from typing import Any

from ..app import App
from ..async_client import BaseAsyncClient
from ..errors import ConfigurationError
from ..instance import sidekiq
from .databases import Database, checked_name, spelled
from .held import Failures, Held, Holder, HoldingClient, checked, faked, missing, parts, release

try:
    from sqlalchemy import (
        BigInteger,
        Column,
        Connection,
        Engine,
        Integer,
        MetaData,
        String,
        Table,
        Text,
        event,
        text,
    )
    from sqlalchemy.dialects.mysql import LONGTEXT
    from sqlalchemy.orm import Session, SessionTransaction, sessionmaker
    from sqlalchemy.util import await_only
except ImportError as error:
    raise missing("SQLAlchemy", "sqlalchemy") from error

_present: ContextVar[Any] = ContextVar("sidekiq_session", default=None)


@contextmanager
def use_session(session: Any) -> Iterator[None]:
    """Pushes in this block belong to the transaction of this Session, AsyncSession or scoped_session."""
    before = _present.get()
    _present.set(session)
    try:
        yield
    finally:
        _present.set(before)


def session_of(source: Any) -> Session | None:
    """The Session that a source of sessions means now."""
    if not isinstance(source, Session) and not hasattr(source, "sync_session") and callable(source):
        source = source()
    session = getattr(source, "sync_session", source)
    if session is not None and not isinstance(session, Session):
        raise ConfigurationError(f"a SQLAlchemy Session is needed, not {session!r}")
    return session


def _session(source: Any) -> Session | None:
    """The session of `use_session`, or else the source's."""
    present = _present.get()
    return session_of(source if present is None else present)


def _checked_source(source: Any) -> Any:
    if isinstance(source, sessionmaker) or type(source).__name__ == "async_sessionmaker":
        raise ConfigurationError(
            "a sessionmaker makes a new session each time: "
            "give a scoped_session, or use `with use_session(session):`"
        )
    return source


class SessionClient(HoldingClient):
    """Pushes when the transaction of a session is committed.

    A rolled back transaction or savepoint drops its jobs, and so does a session that is closed without a
    commit. While the session has no transaction (it begins with its first use), and where there is no
    session, a push goes out at once. What cannot be pushed after the commit is logged with its payload and
    told to the error handlers, and `commit` raises NotPushedAfterCommit when all were tried. With an
    AsyncSession the event loop waits for that push; AsyncSessionClient does not block it.
    """

    def __init__(self, app: App | None = None, pool: str | None = None, *, session: Any = None) -> None:
        super().__init__(app or sidekiq, pool)
        self._source = _checked_source(session)

    def _place(self) -> Any:
        return _open(_session(self._source))

    def _hold(self, place: Any, jobs: list[Held]) -> None:
        _Waiting.of(place).add(place, self, jobs)

    def _send(self, jobs: list[Held], failures: Failures) -> None:
        release(self._app, jobs, failures)


class AsyncSessionClient(Holder, BaseAsyncClient):
    """The asyncio client whose pushes wait for the commit of an AsyncSession; see SessionClient."""

    def __init__(self, app: App | None = None, pool: str | None = None, *, session: Any = None) -> None:
        super().__init__(app or sidekiq, pool)
        self._source = _checked_source(session)

    async def push(self, item: Mapping[str, Any]) -> str | None:
        """See `Client.push`: now, or after the commit."""
        session = None if faked() else _open(_session(self._source))
        if session is None:
            return await super().push(item)
        held = self._made(item)
        if held is None:
            return None
        _Waiting.of(session).add(session, self, [held])
        return held.payload["jid"]  # type: ignore[no-any-return]

    async def push_bulk(self, item: Mapping[str, Any]) -> list[str | None]:
        """See `Client.push_bulk`: now, or after the commit; until then every job is kept in memory."""
        session = None if faked() else _open(_session(self._source))
        if session is None:
            return await super().push_bulk(item)
        made = self._made_bulk(item)
        _Waiting.of(session).add(session, self, [held for held in made if held is not None])
        return [None if held is None else held.payload["jid"] for held in made]

    def _send(self, jobs: list[Held], failures: Failures) -> None:
        # An AsyncSession commits in a greenlet of SQLAlchemy's, where this waits without blocking the loop.
        await_only(self._release(jobs, failures))

    async def _release(self, jobs: list[Held], failures: Failures) -> None:
        for part in parts(self._app, jobs):
            try:
                outbox, transport = self._app.outbox(part.pool), self._transport(part.pool)
                if outbox is None:
                    checked(await transport.run_many(part.calls))
                else:
                    await outbox.send_async(part.calls, part.jids, transport)
            except Exception as error:
                failures.note(part, error)


def _open(session: Session | None) -> Session | None:
    return session if session is not None and session.in_transaction() else None


def _innermost(session: Session) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()


AnyClient = SessionClient | AsyncSessionClient


class _Waiting:
    """The jobs that wait for the transactions of one session, innermost first dropped or handed on."""

    def __init__(self, session: Session) -> None:
        self._jobs: dict[SessionTransaction, list[tuple[AnyClient, Held]]] = {}
        self._committed: SessionTransaction | None = None
        event.listen(session, "after_commit", self._after_commit)
        event.listen(session, "after_transaction_end", self._after_end)

    @classmethod
    def of(cls, session: Session) -> _Waiting:
        waiting = session.info.get("sidekiq_lua")
        if waiting is None:
            waiting = session.info["sidekiq_lua"] = cls(session)
        return waiting

    def add(self, session: Session, client: AnyClient, jobs: list[Held]) -> None:
        """Keep jobs for the session's innermost savepoint or transaction."""
        innermost = _innermost(session)
        if jobs and innermost is not None:
            self._jobs.setdefault(innermost, []).extend((client, job) for job in jobs)

    def _after_commit(self, session: Session) -> None:
        """A savepoint's jobs become those of the transaction around it; the outermost one's may go."""
        done = _innermost(session)
        if done is None or not done.nested:
            self._committed = done
        elif done in self._jobs:
            around = done.parent
            while around is not None and around.parent is not None and not around.nested:
                around = around.parent
            if around is not None:
                self._jobs.setdefault(around, []).extend(self._jobs.pop(done))

    def _after_end(self, session: Session, transaction: SessionTransaction) -> None:
        """Not in after_commit: an error there would leave the session with its connection."""
        waited = self._jobs.pop(transaction, [])
        if transaction is not self._committed:
            return
        self._committed = None
        failures: dict[App, Failures] = {}
        for client, group in groupby(waited, key=lambda waits: waits[0]):
            app = client._app
            client._send([job for _, job in group], failures.setdefault(app, Failures(app)))
        for found in failures.values():
            found.check()


def outbox_table(metadata: MetaData, name: str = "sidekiq_outbox") -> Table:
    """An outbox's table for `metadata.create_all` and Alembic; `contrib.outbox.ddl` is the same as text."""
    schema, _, table = checked_name(name).rpartition(".")
    return Table(
        table,
        metadata,
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("jid", String(255), nullable=False, unique=True),
        Column("pool", String(255)),
        Column("payload", Text().with_variant(LONGTEXT, "mysql", "mariadb"), nullable=False),
        schema=schema or None,
        sqlite_autoincrement=True,
    )


class SQLAlchemyDatabase(Database):
    """An outbox's table by an Engine; `session` is where SessionClient looks for the present transaction."""

    def __init__(self, engine: Engine, *, session: Any = None) -> None:
        if not isinstance(engine, Engine):
            raise ConfigurationError(f"a relay needs a synchronous Engine (create_engine), not {engine!r}")
        self._engine = engine
        self._source = _checked_source(session)

    def insert(self, sql: str, rows: Sequence[tuple[Any, ...]], where: Any = None) -> None:
        """`where`: a Connection, Session, AsyncSession or scoped_session; without it the present session.

        That of asyncio wants `await session.run_sync(lambda _: outbox.push(…))` around it.
        """
        if isinstance(where, Connection):
            place: Connection | Session | None = where
        else:
            place = _session(self._source) if where is None else session_of(where)
        if isinstance(place, Session) and _awaits(place) and not _may_await():
            raise ConfigurationError(
                "an outbox writes to an AsyncSession within run_sync: "
                "`await session.run_sync(lambda sync: outbox.push(item, sync))`"
            )
        if place is None:
            raise ConfigurationError(
                "the outbox does not know in which transaction to write: "
                "name its session or connection, or use `with use_session(session):`"
            )
        place.execute(text(spelled(sql, "named")), [_named(row) for row in rows])

    def read(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(spelled(sql, "named")), _named(values))]

    def write(self, sql: str, values: Sequence[Any]) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(spelled(sql, "named")), _named(values))

    def close(self) -> None:
        """Nothing: the Engine keeps its connections."""


def _awaits(session: Session) -> bool:
    """Whether it is one of asyncio, as far as it tells."""
    bind = session.bind
    return bind is not None and bind.dialect.is_async


def _may_await() -> bool:
    """Whether SQLAlchemy runs this in a greenlet, as within `run_sync`. Without asyncio it needs none."""
    greenlet: Any = sys.modules.get("greenlet")
    return greenlet is not None and greenlet.getcurrent().parent is not None


def _named(values: Sequence[Any]) -> dict[str, Any]:
    return {f"p{n}": value for n, value in enumerate(values)}
