"""SQLAlchemy selects, on SQLite."""

from __future__ import annotations

import datetime
import enum
import uuid

import pytest
from iteration.test_enumerators import check_resumes
from sqlalchemy import DateTime, LargeBinary, TypeDecorator, cast, create_engine, literal_column, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sidekiq_lua.enumerators import sqlalchemy_batches_enumerator, sqlalchemy_enumerator
from sidekiq_lua.errors import ConfigurationError, InvalidCursor


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[uuid.UUID]
    day: Mapped[datetime.date]
    shop: Mapped[int]


class Kind(enum.Enum):
    LARGE = "a"
    SMALL = "b"


class Aware(TypeDecorator):
    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value.replace(tzinfo=None) if value else value

    def process_result_value(self, value, dialect):
        return value.replace(tzinfo=datetime.UTC) if value else value


class Event(Base):
    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[Kind]
    at: Mapped[datetime.datetime] = mapped_column(Aware)


DAY = datetime.date(2026, 1, 1)


@pytest.fixture
def engine():
    made = create_engine("sqlite://")
    Base.metadata.create_all(made)
    with Session(made) as session:
        for n in range(1, 11):
            day = DAY + datetime.timedelta(days=n // 4)
            session.add(Thing(id=n * 2, token=uuid.UUID(int=100 - n), day=day, shop=n % 2))
        session.commit()
    yield made
    made.dispose()


@pytest.fixture
def events(session):
    for n in range(1, 7):
        at = datetime.datetime(2026, 1, n, tzinfo=datetime.UTC)
        session.add(Event(id=n, kind=list(Kind)[n % 2], at=at))
    session.flush()
    return select(Event)


@pytest.fixture
def session(engine):
    with Session(engine) as made:
        yield made


@pytest.mark.parametrize("size", [1, 3, 5, 1000])
def test_entities(session, size):
    query = select(Thing).where(Thing.shop == 0).order_by(Thing.token)
    whole = check_resumes(
        lambda cursor: sqlalchemy_enumerator(session, query, key=Thing.id, cursor=cursor, batch_size=size)
    )
    assert [(type(thing), thing.id, cursor) for thing, cursor in whole] == [
        (Thing, n, n) for n in (4, 8, 12, 16, 20)
    ]


def test_rows_of_a_connection(engine):
    table = Thing.__table__
    with engine.connect() as connection:
        whole = check_resumes(
            lambda cursor: sqlalchemy_enumerator(
                connection, select(table.c.shop, table.c.id), key=table.c.id, cursor=cursor, batch_size=4
            )
        )
    assert [tuple(row) for row, _ in whole[:2]] == [(1, 2), (0, 4)]


def test_keys_that_become_text(session):
    whole = check_resumes(
        lambda cursor: sqlalchemy_enumerator(
            session, select(Thing.id), key=Thing.token, cursor=cursor, batch_size=4
        )
    )
    assert whole[0] == (20, str(uuid.UUID(int=90)))


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_two_columns(session, size):
    whole = check_resumes(
        lambda cursor: sqlalchemy_enumerator(
            session, select(Thing.shop), key=(Thing.day, Thing.id), cursor=cursor, batch_size=size
        )
    )
    assert [cursor for _, cursor in whole][2:4] == [["2026-01-01", 6], ["2026-01-02", 8]]
    assert len(whole) == 10


def test_batches(session):
    whole = check_resumes(
        lambda cursor: sqlalchemy_batches_enumerator(
            session, select(Thing.id), key=Thing.id, cursor=cursor, batch_size=4
        )
    )
    assert whole == [([2, 4, 6, 8], 2), ([10, 12, 14, 16], 10), ([18, 20], 18)]


@pytest.mark.parametrize(
    ("key", "cursor", "error", "message"),
    [
        ("id", None, ConfigurationError, "key must be a column"),
        ([], None, ConfigurationError, "key must be a column"),
        (Thing.id, [1, 2], InvalidCursor, "no value for each"),
        (Thing.token, "no uuid", InvalidCursor, "does not fit"),
    ],
)
def test_refuses(session, key, cursor, error, message):
    with pytest.raises(error, match=message):
        list(sqlalchemy_enumerator(session, select(Thing), key=key, cursor=cursor))


@pytest.mark.parametrize("part", [select(Thing).limit(3), select(Thing).offset(3), select(Thing).fetch(3)])
def test_a_part_of_a_select_is_refused(session, part):
    """Each page replaced the limit, and left out as many rows as the offset says."""
    with pytest.raises(ConfigurationError, match="has a limit or an offset"):
        sqlalchemy_enumerator(session, part, key=Thing.id, cursor=None)


def test_a_key_of_bytes_is_refused_before_the_first_item(session, app):
    """Their text `b'...'` was the cursor, from which no run could go on."""

    class ByteJob(app.IterableJob):
        def build_enumerator(self, *, cursor):
            key = cast(Thing.id, LargeBinary).label("key")
            return sqlalchemy_enumerator(session, select(Thing.id), key=key, cursor=cursor)

        def each_iteration(self, item):
            raise AssertionError

    with pytest.raises(InvalidCursor, match="a bytes; pass text"):
        ByteJob.perform_inline()


def test_members_of_an_enum_go_by_their_name(session, events):
    """Their text was compared with the names in the table, so that rows came again."""
    key = (Event.kind, Event.id)
    whole = check_resumes(
        lambda cursor: sqlalchemy_enumerator(session, events, key=key, cursor=cursor, batch_size=2)
    )
    assert [cursor for _, cursor in whole] == [[kind, n] for kind in ("LARGE", "SMALL") for n in _of(kind)]
    with pytest.raises(InvalidCursor, match="does not fit"):
        list(sqlalchemy_enumerator(session, events, key=key, cursor=["Kind.LARGE", 2]))


def _of(kind):
    return (2, 4, 6) if kind == "LARGE" else (1, 3, 5)


@pytest.mark.parametrize("key", [Event.at, literal_column("events.id")])
def test_types_that_do_not_name_their_class(session, events, key):
    """SQLAlchemy 2.0 raises NotImplementedError where it is asked for."""
    whole = check_resumes(
        lambda cursor: sqlalchemy_enumerator(session, events, key=key, cursor=cursor, batch_size=4)
    )
    assert [event.id for event, _ in whole] == [1, 2, 3, 4, 5, 6]
