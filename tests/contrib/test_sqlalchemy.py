"""SessionClient and AsyncSessionClient: what SQLAlchemy's transactions do to pushes."""

# ruff: noqa: PT012 -- blocks that are rolled back by an error

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker
from sqlalchemy.pool import QueuePool

from sidekiq_lua import Sidekiq
from sidekiq_lua.contrib.sqlalchemy import AsyncSessionClient, SessionClient, use_session
from sidekiq_lua.errors import ConfigurationError, InvalidJob, NotPushedAfterCommit, RedisUnavailable

DEAD = "redis://127.0.0.1:1/0"
Queued = Callable[..., list[Any]]


class Undo(Exception):
    pass


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Any]:
    made = create_engine(f"sqlite:///{tmp_path / 'a.db'}", poolclass=QueuePool, pool_size=1, max_overflow=0)
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def session(engine: Any) -> Iterator[Session]:
    with Session(engine) as made:
        yield made


@pytest.fixture
def app(make_app: Any) -> Sidekiq:
    return make_app(client_class=SessionClient, pools={"dead": {"url": DEAD}})


@pytest.fixture
def job(app: Sidekiq, session: Session) -> Iterator[Any]:
    class SomeJob(app.Job):
        def perform(self, n: Any) -> None: ...

    with use_session(session):
        yield SomeJob


def test_pushed_at_once_where_there_is_no_session(app: Sidekiq, queued: Queued) -> None:
    app.client.push({"class": "J", "args": [1]})
    assert queued() == [1]


def test_pushed_at_once_where_no_transaction_has_begun(job: Any, queued: Queued) -> None:
    job.perform_async(1)
    assert queued() == [1]


def test_pushed_after_the_commit(job: Any, session: Session, queued: Queued) -> None:
    session.add(Order(id=1))
    jid = job.perform_async(1)
    jids = job.perform_bulk([[2], [3]])
    session.flush()
    assert queued() == []

    session.commit()

    assert queued() == [1, 2, 3]
    assert [payload["jid"] for payload in queued(whole=True)] == [jid, *jids]
    session.add(Order(id=2))
    session.commit()
    assert queued() == [1, 2, 3]


@pytest.mark.parametrize("end", ["rollback", "close"])
def test_a_transaction_that_is_not_committed_drops_its_jobs(
    job: Any, session: Session, queued: Queued, end: str
) -> None:
    session.add(Order(id=1))
    job.perform_async(1)
    getattr(session, end)()
    session.add(Order(id=1))
    job.perform_async(2)
    session.commit()

    assert queued() == [2]


def test_a_failed_flush_drops_its_jobs(job: Any, session: Session, queued: Queued) -> None:
    session.add(Order(id=1))
    session.commit()
    session.add(Order(id=1))
    job.perform_async(1)
    with pytest.raises(Exception, match="UNIQUE"):
        session.commit()
    session.rollback()
    session.add(Order(id=2))
    session.commit()

    assert queued() == []


def test_savepoints_drop_their_jobs_or_hand_them_on(job: Any, session: Session, queued: Queued) -> None:
    with session.begin():
        job.perform_async(1)
        with pytest.raises(Undo), session.begin_nested():
            job.perform_async(2)
            with session.begin_nested():
                job.perform_async(3)
            raise Undo
        with session.begin_nested():
            job.perform_async(4)
            with session.begin_nested():
                job.perform_async(5)
            inner = session.begin_nested()
            job.perform_async(6)
            inner.rollback()
            job.perform_async(7)
        assert queued() == []

    assert queued() == [1, 4, 5, 7]


def test_a_rollback_with_open_savepoints_drops_everything(job: Any, session: Session, queued: Queued) -> None:
    session.begin()
    job.perform_async(1)
    session.begin_nested()
    job.perform_async(2)
    session.rollback()
    session.begin()
    job.perform_async(3)
    session.commit()

    assert queued() == [3]


def test_a_commit_with_open_savepoints_pushes_everything(job: Any, session: Session, queued: Queued) -> None:
    session.begin()
    job.perform_async(1)
    session.begin_nested()
    job.perform_async(2)
    session.commit()

    assert queued() == [1, 2]


def test_with_the_drivers_autocommit_the_sessions_commit_counts(
    job: Any, session: Session, queued: Queued
) -> None:
    session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
    job.perform_async(1)
    assert queued() == []
    session.commit()
    assert queued() == [1]


def test_a_scoped_session_as_the_source(make_app: Any, engine: Any, queued: Queued) -> None:
    Scoped = scoped_session(sessionmaker(engine))
    app = make_app(client_class=partial(SessionClient, session=Scoped))
    try:
        Scoped.add(Order(id=1))
        app.client.push({"class": "J", "args": [1]})
        assert queued() == []
        Scoped.commit()
        assert queued() == [1]
    finally:
        Scoped.remove()


@pytest.mark.parametrize("make", [sessionmaker, async_sessionmaker])
def test_a_sessionmaker_is_refused(app: Sidekiq, make: Any) -> None:
    with pytest.raises(ConfigurationError, match="makes a new session each time"):
        SessionClient(app, session=make())
    with (
        pytest.raises(ConfigurationError, match="Session is needed, not 'nonsense'"),
        use_session("nonsense"),
    ):
        app.client.push({"class": "J", "args": []})


def test_two_sessions_at_once(app: Sidekiq, job: Any, session: Session, queued: Queued) -> None:
    with Session(create_engine("sqlite://")) as other, other.begin(), session.begin():
        job.perform_async(1)
        with use_session(other):
            job.perform_async(2)
        session.rollback()

    assert queued() == [2]


def test_what_is_wrong_with_a_job_is_said_where_it_is_made(job: Any, session: Session) -> None:
    with session.begin(), pytest.raises(InvalidJob):
        job.perform_async({1})


def test_what_cannot_be_pushed_is_reported_and_the_session_lives_on(
    job: Any, session: Session, queued: Queued, log: io.StringIO, reports: list[Any], engine: Any
) -> None:
    session.add(Order(id=1))
    lost = job.set(pool="dead").perform_async(1)
    job.perform_async(2)
    with pytest.raises(NotPushedAfterCommit, match=lost) as caught:
        session.commit()

    assert [payload["jid"] for payload in caught.value.payloads] == [lost]
    assert queued() == [2]
    assert [(type(error), context["job"]["args"]) for error, context in reports] == [(RedisUnavailable, [1])]
    assert lost in log.getvalue()
    # The pool has one connection: it was given back, and the session begins anew.
    assert engine.pool.checkedout() == 0
    assert session.get(Order, 1) is not None
    job.perform_async(3)
    session.commit()
    assert queued() == [2, 3]


# -- asyncio --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SessionClient", "AsyncSessionClient"])
def test_an_async_session(make_app: Any, tmp_path: Path, queued: Queued, kind: str) -> None:
    app = make_app(pools={"dead": {"url": DEAD}})

    async def main() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'b.db'}")
        client = {"SessionClient": SessionClient, "AsyncSessionClient": AsyncSessionClient}[kind](app)

        async def push(n: int, **more: Any) -> Any:
            pushed = client.push({"class": "J", "args": [n], **more})
            return await pushed if kind == "AsyncSessionClient" else pushed

        async with AsyncSession(engine) as session:
            with use_session(session):
                await push(0)
                assert queued() == [0]
                async with session.begin():
                    await session.execute(text("CREATE TABLE t (id INTEGER)"))
                    await push(1)
                    with pytest.raises(Undo):
                        async with session.begin_nested():
                            await push(2)
                            raise Undo
                    async with session.begin_nested():
                        await push(3)
                        bulk = client.push_bulk({"class": "J", "args": [[4], [5]]})
                        if kind == "AsyncSessionClient":
                            bulk = await bulk
                    assert len(bulk) == 2
                    assert queued() == [0]
                assert queued() == [0, 1, 3, 4, 5]
                with pytest.raises(Undo):
                    async with session.begin():
                        await push(6)
                        raise Undo
                with pytest.raises(NotPushedAfterCommit):
                    async with session.begin():
                        await push(7, pool="dead")
                        await push(8)
                async with session.begin():
                    await session.execute(text("INSERT INTO t VALUES (1)"))
                    await push(9)
        if kind == "AsyncSessionClient":
            await client.close()
        await engine.dispose()

    asyncio.run(main())

    assert queued() == [0, 1, 3, 4, 5, 8, 9]


def test_tasks_have_sessions_of_their_own(make_app: Any, queued: Queued) -> None:
    app = make_app()

    async def main() -> None:
        engine = create_async_engine("sqlite+aiosqlite://")
        client = AsyncSessionClient(app)
        turn = asyncio.Barrier(2)

        async def one(n: int, commit: bool) -> None:
            async with AsyncSession(engine) as session:
                with use_session(session):
                    await session.begin()
                    await client.push({"class": "J", "args": [n]})
                    await turn.wait()
                    await (session.commit() if commit else session.rollback())

        await asyncio.gather(one(1, True), one(2, False))
        await client.close()
        await engine.dispose()

    asyncio.run(main())

    assert queued() == [1]
