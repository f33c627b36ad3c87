"""Outbox: jobs that are rows of the user's transaction, on SQLite."""

# ruff: noqa: PT012 -- blocks that are rolled back by an error

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import contrib.django_project  # noqa: F401 -- settings come first
import pytest
from django.db import IntegrityError, connections, transaction
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from sqlalchemy import MetaData, create_engine, inspect, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from sidekiq_lua import Sidekiq
from sidekiq_lua.contrib.databases import spelled
from sidekiq_lua.contrib.django import DjangoDatabase, create_outbox
from sidekiq_lua.contrib.outbox import DbApi, Outbox, OutboxClient, ddl
from sidekiq_lua.contrib.sqlalchemy import SQLAlchemyDatabase, outbox_table, use_session
from sidekiq_lua.errors import ConfigurationError, InvalidJob

Queued = Callable[..., list[Any]]


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(path)
    yield made
    made.close()


@pytest.fixture
def app(make_app: Any) -> Sidekiq:
    return make_app()


@pytest.fixture
def outbox(app: Sidekiq, path: Path) -> Outbox:
    return Outbox("shop", DbApi(lambda: sqlite3.connect(path)), app)


def relay_all(outbox: Outbox) -> int:
    relay = outbox.relay()
    try:
        return relay.run_once()
    finally:
        relay.close()


def test_a_job_commits_with_the_data_and_is_relayed(
    outbox: Outbox, connection: sqlite3.Connection, queued: Queued, dump: Any
) -> None:
    jid = outbox.push({"class": "J", "args": [1, "é"], "tags": ["x"]}, connection)
    assert relay_all(outbox) == 0
    connection.commit()
    assert dump() == {}

    assert relay_all(outbox) == 1

    (payload,) = queued(whole=True)
    assert isinstance(payload.pop("created_at"), int)
    assert isinstance(payload.pop("enqueued_at"), int)
    assert payload == {
        "class": "J",
        "args": [1, "é"],
        "tags": ["x"],
        "jid": jid,
        "queue": "default",
        "retry": True,
    }
    # Only the count of claims stays.
    assert sorted(dump()) == ["lua:relay_epoch:shop", "queue:default", "queues"]
    assert connection.execute("SELECT count(*) FROM sidekiq_outbox").fetchone() == (0,)
    assert relay_all(outbox) == 0


def test_a_rollback_takes_the_job_back(outbox: Outbox, connection: sqlite3.Connection, dump: Any) -> None:
    outbox.push({"class": "J", "args": [1]}, connection)
    outbox.push_bulk({"class": "J", "args": [[2], [3]]}, connection.cursor())
    connection.rollback()

    assert relay_all(outbox) == 0
    assert dump() == {}


def test_bulk_scheduled_and_pools(
    make_app: Any, url: str, path: Path, connection: sqlite3.Connection, queued: Queued, redis: Any
) -> None:
    app = make_app(pools={"second": {"url": url.replace("/0", "/5")}})
    outbox = Outbox("shop", DbApi(lambda: sqlite3.connect(path)), app)
    outbox.push_bulk({"class": "J", "args": [[n] for n in range(1200)]}, connection)
    outbox.push({"class": "J", "args": ["later"], "at": 4_000_000_000.5}, connection)
    outbox.push({"class": "J", "args": ["low"], "queue": "low"}, connection)
    outbox.push({"class": "J", "args": ["there"], "pool": "second"}, connection)
    connection.commit()

    assert relay_all(outbox) == 1203

    assert queued() == list(range(1200))
    assert queued("low") == ["low"]
    ((raw, due),) = redis.zrange("schedule", 0, -1, withscores=True)
    assert due == 4_000_000_000.5
    assert "at" not in json.loads(raw)
    assert "enqueued_at" not in json.loads(raw)
    redis.select(5)
    assert queued() == ["there"]
    assert [key for key in redis.scan_iter() if key.startswith(b"lua:relayed")] == []
    redis.flushdb()


def test_one_jid_is_one_row(outbox: Outbox, connection: sqlite3.Connection) -> None:
    outbox.push({"class": "J", "args": [1], "jid": "mine"}, connection)
    with pytest.raises(sqlite3.IntegrityError):
        outbox.push({"class": "J", "args": [1], "jid": "mine"}, connection)


def test_a_jid_may_come_again_when_its_row_is_gone(
    outbox: Outbox, connection: sqlite3.Connection, queued: Queued
) -> None:
    for n in range(2):
        outbox.push({"class": "J", "args": [n], "jid": "mine"}, connection)
        connection.commit()
        assert relay_all(outbox) == 1
    assert queued() == [0, 1]


def test_what_is_wrong_is_refused_before_the_database_is_asked(outbox: Outbox) -> None:
    with pytest.raises(InvalidJob):
        outbox.push({"class": "J", "args": [{1}]}, None)
    with pytest.raises(ConfigurationError, match="in which transaction"):
        outbox.push({"class": "J", "args": []})


@pytest.mark.parametrize("name", ["", "a b", "a:b", None])
def test_a_name_that_would_break_a_key_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="an outbox's name"):
        Outbox(name, DbApi(lambda: None))


@pytest.mark.parametrize("table", ["", "a b", "a;b", "a.b.c", "1a"])
def test_a_table_that_would_break_sql_is_refused(table: str) -> None:
    with pytest.raises(ConfigurationError, match="is no name of a table"):
        ddl("sqlite", table)
    with pytest.raises(ConfigurationError, match="is no name of a table"):
        Outbox("shop", DbApi(lambda: None), table=table)


def test_other_things_that_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="dialect must be"):
        ddl("oracle")
    with pytest.raises(ConfigurationError, match="paramstyle must be"):
        DbApi(lambda: None, "named")
    with pytest.raises(ConfigurationError, match="must be above 0"):
        Outbox("shop", DbApi(lambda: None)).relay(batch=0)


@pytest.mark.parametrize(
    ("style", "sql"),
    [("qmark", "a ? b ?"), ("format", "a %s b %s"), ("numeric", "a :1 b :2"), ("named", "a :p0 b :p1")],
)
def test_values_are_marked_as_the_driver_wants_them(style: str, sql: str) -> None:
    assert spelled("a ? b ?", style) == sql


def test_job_classes_write_into_the_present_transaction(
    make_app: Any, path: Path, connection: sqlite3.Connection, queued: Queued
) -> None:
    database = DbApi(lambda: sqlite3.connect(path))
    app = make_app(client_class=lambda app: OutboxClient(app, outbox=outbox))
    outbox = Outbox("shop", database, app)

    class SomeJob(app.Job):
        sidekiq_options = {"queue": "low"}

        def perform(self, n: int) -> None: ...

    with database.on(connection):
        jids = [SomeJob.perform_async(1), *SomeJob.perform_bulk([[2], [3]])]
    with pytest.raises(ConfigurationError, match="in which transaction"):
        SomeJob.perform_async(4)
    connection.commit()
    relay_all(outbox)

    assert queued("low") == [1, 2, 3]
    assert [payload["jid"] for payload in queued("low", whole=True)] == jids


# -- with SQLAlchemy ------------------------------------------------------------------------


def test_with_sqlalchemy(app: Sidekiq, tmp_path: Path, queued: Queued) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    metadata = MetaData()
    outbox_table(metadata)
    metadata.create_all(engine)
    outbox = Outbox("shop", SQLAlchemyDatabase(engine), app)
    client = OutboxClient(app, outbox=outbox)
    with engine.begin() as connection:
        outbox.push({"class": "J", "args": [0]}, connection)
    with Session(engine) as session, use_session(session):
        with session.begin():
            outbox.push({"class": "J", "args": [1]}, session)
            client.push_bulk({"class": "J", "args": [[2], [3]]})
            nested = session.begin_nested()
            client.push({"class": "J", "args": [4]})
            nested.rollback()
        client.push({"class": "J", "args": [5]})
        session.rollback()
    with pytest.raises(ConfigurationError, match="in which transaction"):
        client.push({"class": "J", "args": [6]})

    assert relay_all(outbox) == 4
    assert queued() == [0, 1, 2, 3]
    engine.dispose()


def test_with_an_async_session(app: Sidekiq, path: Path, queued: Queued) -> None:
    engine = create_engine(f"sqlite:///{path}")
    outbox = Outbox("shop", SQLAlchemyDatabase(engine), app)

    async def main() -> None:
        async_engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        async with AsyncSession(async_engine) as session, session.begin():
            await session.run_sync(lambda sync: outbox.push({"class": "J", "args": [1]}, sync))
            with pytest.raises(
                ConfigurationError, match=r"`await session\.run_sync\(lambda sync: outbox\.push"
            ):
                outbox.push({"class": "J", "args": [2]}, session)
        await async_engine.dispose()

    asyncio.run(main())

    assert relay_all(outbox) == 1
    assert queued() == [1]
    engine.dispose()


def test_sqlalchemys_table_is_that_of_the_ddl(tmp_path: Path) -> None:
    engine = create_engine("sqlite://")
    metadata = MetaData()
    outbox_table(metadata, "ours")
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text(ddl("sqlite", "theirs")))

    def described(table: str) -> Any:
        found = inspect(engine)
        columns = [
            (c["name"], str(c["type"]), bool(c["nullable"]) and not c["primary_key"])
            for c in found.get_columns(table)
        ]
        with engine.connect() as connection:
            indexes = connection.execute(text(f"PRAGMA index_list({table})")).all()
        return columns, [index.unique for index in indexes]

    assert described("ours") == described("theirs")
    engine.dispose()
    with pytest.raises(ConfigurationError, match="synchronous Engine"):
        SQLAlchemyDatabase(create_async_engine("sqlite+aiosqlite://"))  # type: ignore[arg-type]


# -- with Django ----------------------------------------------------------------------------


@pytest.fixture
def django_table() -> Iterator[str]:
    operation = create_outbox("django_outbox")
    with connections["default"].schema_editor() as editor:
        operation.database_forwards("shop", editor, ProjectState(), ProjectState())
    yield "django_outbox"
    with connections["default"].schema_editor() as editor:
        operation.database_backwards("shop", editor, ProjectState(), ProjectState())
    connections["default"].close()


def test_a_squashed_migration_makes_the_table_too() -> None:
    operations = [create_outbox("squashed_outbox")]
    written = MigrationWriter(type("Migration", (Migration,), {"operations": operations})("0001", "shop"))
    found: dict[str, Any] = {}
    exec(written.as_string(), found)
    (operation,) = found["Migration"].operations
    with connections["default"].schema_editor() as editor:
        operation.database_forwards("shop", editor, ProjectState(), ProjectState())
        assert "squashed_outbox" in connections["default"].introspection.table_names()
        operation.database_backwards("shop", editor, ProjectState(), ProjectState())
        assert "squashed_outbox" not in connections["default"].introspection.table_names()
    connections["default"].close()


def test_with_django(make_app: Any, django_table: str, queued: Queued) -> None:
    app = make_app(client_class=lambda app: OutboxClient(app, outbox=outbox))
    outbox = Outbox("shop", DjangoDatabase(), app, table=django_table)
    push = partial(lambda n: app.client.push({"class": "J", "args": [n], "jid": f"jid-{n}"}))
    push(0)
    with transaction.atomic():
        push(1)
        with pytest.raises(IntegrityError), transaction.atomic():
            push(2)
            push(1)
        push(3)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        push(4)
        raise ZeroDivisionError

    assert relay_all(outbox) == 3
    assert queued() == [0, 1, 3]
    assert relay_all(outbox) == 0
