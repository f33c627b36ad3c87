"""Enumerators: resumed at any item, each gives that item and all after it, exactly as in one go."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from types import SimpleNamespace

import pytest

from sidekiq_lua import enumerators
from sidekiq_lua.enumerators import (
    array_enumerator,
    counted_enumerator,
    csv_batches_enumerator,
    csv_enumerator,
    sql_batches_enumerator,
    sql_enumerator,
)
from sidekiq_lua.errors import ConfigurationError, InvalidCursor


def check_resumes(make):
    """`make(cursor)`: whatever cursor it is begun with, after a trip through JSON, it goes on from there."""
    whole = list(make(None))
    for number, (_, cursor) in enumerate(whole):
        assert list(make(json.loads(json.dumps(cursor)))) == whole[number:]
    return whole


# -- sequences --------------------------------------------------------------------------------


@pytest.mark.parametrize("items", [["a", "b", "c"], ("a",), range(4), []])
def test_array(items):
    whole = check_resumes(lambda cursor: array_enumerator(items, cursor=cursor))
    assert whole == [(item, number) for number, item in enumerate(items)]


def test_an_array_that_has_become_shorter_is_done():
    assert list(array_enumerator([1, 2], cursor=7)) == []


@pytest.mark.parametrize("items", ["text", iter([1]), {1}, 7])
def test_array_takes_sequences_only(items):
    with pytest.raises(ConfigurationError, match="takes a list, a tuple or a range"):
        array_enumerator(items, cursor=None)


@pytest.mark.parametrize("cursor", [-1, "1", 1.0, True, [1]])
def test_a_cursor_that_counts_nothing(cursor):
    for make in (array_enumerator, counted_enumerator, csv_enumerator, csv_batches_enumerator):
        with pytest.raises(InvalidCursor, match="a number from 0 on"):
            make([1], cursor=cursor)


def test_counted():
    whole = check_resumes(lambda cursor: counted_enumerator((n * n for n in range(5)), cursor=cursor))
    assert whole == [(0, 0), (1, 1), (4, 2), (9, 3), (16, 4)]


# -- CSV ----------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "name"], *([str(n), f"é {n}\nline"] for n in range(7))])
    return path


def test_csv_rows(table):
    whole = check_resumes(lambda cursor: csv_enumerator(table, cursor=cursor))
    assert whole == [({"id": str(n), "name": f"é {n}\nline"}, n) for n in range(7)]


def test_csv_without_headers(table):
    whole = check_resumes(lambda cursor: csv_enumerator(str(table), cursor=cursor, headers=False))
    assert whole[0] == (["id", "name"], 0)
    assert len(whole) == 8


def test_csv_batches_are_counted_as_in_ruby(table):
    whole = check_resumes(lambda cursor: csv_batches_enumerator(table, cursor=cursor, batch_size=3))
    assert [(len(rows), cursor) for rows, cursor in whole] == [(3, 0), (3, 1), (1, 2)]


def test_csv_from_an_open_file():
    rows = csv_enumerator(io.StringIO("a;b\n1;2\n3;4\n"), cursor=1, delimiter=";")
    assert list(rows) == [({"a": "3", "b": "4"}, 1)]


def test_csv_closes_its_file(table):
    rows = csv_enumerator(table, cursor=None)
    next(rows)
    file = rows.gi_frame.f_locals["file"]
    rows.close()
    assert file.closed


# -- DB-API -------------------------------------------------------------------------------------


@pytest.fixture
def db():
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, shop INTEGER, day TEXT)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?)", [(n * 2, n % 2, f"d{n // 3}") for n in range(10)]
        )
    yield connection
    connection.close()


@pytest.mark.parametrize("size", [1, 3, 5, 10, 1000])
def test_sql_rows(db, size):
    whole = check_resumes(
        lambda cursor: sql_enumerator(
            db, "SELECT id, day FROM t WHERE shop = ?", (0,), key="id", cursor=cursor, batch_size=size
        )
    )
    assert whole == [((n * 2, f"d{n // 3}"), n * 2) for n in range(0, 10, 2)]


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_sql_rows_by_two_columns(db, size):
    whole = check_resumes(
        lambda cursor: sql_enumerator(
            db, "SELECT id, day FROM t", key=("day", "id"), cursor=cursor, batch_size=size
        )
    )
    assert [cursor for _, cursor in whole] == [[f"d{n // 3}", n * 2] for n in range(10)]


def test_sql_batches(db):
    def make(cursor):
        return sql_batches_enumerator(db, "SELECT id FROM t", key="id", cursor=cursor, batch_size=4)

    whole = check_resumes(make)
    assert whole == [([(0,), (2,), (4,), (6,)], 0), ([(8,), (10,), (12,), (14,)], 8), ([(16,), (18,)], 16)]


def test_sql_goes_on_where_its_row_is_gone_and_sees_new_ones(db):
    rows = sql_enumerator(db, "SELECT id FROM t", key="id", cursor=None, batch_size=2)
    assert [next(rows)[1] for _ in range(2)] == [0, 2]
    db.execute("DELETE FROM t WHERE id IN (2, 4)")
    db.execute("INSERT INTO t VALUES (5, 0, 'd')")
    assert [cursor for _, cursor in rows] == [5, 6, 8, 10, 12, 14, 16, 18]
    resumed = sql_enumerator(db, "SELECT id FROM t", key="id", cursor=4, batch_size=2)
    assert next(resumed)[1] == 5


def test_sql_rows_that_are_dicts(db):
    db.row_factory = lambda cursor, row: {
        column[0]: value for column, value in zip(cursor.description, row, strict=True)
    }
    rows = list(sql_enumerator(db, "SELECT id FROM t", key="ID", cursor=16, batch_size=2))
    assert rows == [({"id": 16}, 16), ({"id": 18}, 18)]


def test_sql_leaves_nothing_open_between_pages(db):
    rows = sql_enumerator(db, "SELECT id FROM t", key="id", cursor=None, batch_size=2)
    next(rows)
    db.execute("DROP TABLE t")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"key": "id; --", "cursor": None}, ConfigurationError, "key must be a column"),
        ({"key": [], "cursor": None}, ConfigurationError, "key must name a column"),
        ({"key": "id", "cursor": [1, 2]}, InvalidCursor, "no value for each of"),
        ({"key": "id", "cursor": None, "batch_size": 0}, ConfigurationError, "batch_size must be"),
    ],
)
def test_sql_refuses(db, options, error, message):
    with pytest.raises(error, match=message):
        list(sql_enumerator(db, "SELECT id FROM t", **options))


def test_sql_refuses_a_key_with_gaps(db):
    db.execute("UPDATE t SET day = NULL WHERE id = 0")
    with pytest.raises(ConfigurationError, match="one has none"):
        list(sql_enumerator(db, "SELECT day FROM t", key="day", cursor=None))


def test_another_drivers_placeholder():
    asked = []

    class Reader:
        description = (("id",),)

        def execute(self, query, parameters):
            asked.append((query, parameters))

        def fetchall(self):
            return []

        def close(self):
            pass

    driver = SimpleNamespace(cursor=Reader)
    select = "SELECT id FROM t WHERE a = %s"
    list(sql_enumerator(driver, select, (1,), key="id", cursor=2, placeholder="%s"))
    [(query, parameters)] = asked
    assert "(id) >= (%s)" in query
    assert parameters == (1, 2)


def test_names():
    assert dir(enumerators) == sorted(enumerators.__all__)
    for name in enumerators.__all__:
        assert callable(getattr(enumerators, name))
    with pytest.raises(AttributeError):
        _ = enumerators.nothing
