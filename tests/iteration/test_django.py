"""Django querysets, on SQLite."""

from __future__ import annotations

import uuid

import django
import pytest
from contrib import django_project  # noqa: F401 -- Django is set up once in a process
from django.db import connection, models
from iteration.test_enumerators import check_resumes

from sidekiq_lua.enumerators import (
    django_batches_enumerator,
    django_enumerator,
    django_querysets_enumerator,
)
from sidekiq_lua.errors import ConfigurationError


class Thing(models.Model):
    token = models.UUIDField(unique=True)
    shop = models.IntegerField()

    class Meta:
        app_label = "iteration"


class Named(models.Model):
    name = models.CharField(primary_key=True, max_length=9)

    class Meta:
        app_label = "iteration"


class Detail(models.Model):
    thing = models.OneToOneField(Thing, models.CASCADE)

    class Meta:
        app_label = "iteration"


@pytest.fixture
def things():
    with connection.schema_editor() as editor:
        editor.create_model(Thing)
        editor.create_model(Named)
        editor.create_model(Detail)
    Thing.objects.bulk_create(Thing(id=n * 2, token=uuid.UUID(int=100 - n), shop=n % 2) for n in range(1, 11))
    Named.objects.bulk_create(Named(name=letter) for letter in "cab")
    yield Thing.objects.all()
    with connection.schema_editor() as editor:
        editor.delete_model(Detail)
        editor.delete_model(Named)
        editor.delete_model(Thing)


@pytest.mark.parametrize("size", [1, 3, 5, 1000])
def test_records(things, size):
    shop = things.filter(shop=0).order_by("-token")
    whole = check_resumes(lambda cursor: django_enumerator(shop, cursor=cursor, batch_size=size))
    assert [(thing.pk, cursor) for thing, cursor in whole] == [(n, n) for n in (4, 8, 12, 16, 20)]


@pytest.mark.parametrize("enumerate", [django_enumerator, django_batches_enumerator])
@pytest.mark.parametrize("order", [[], ["shop"]])
def test_a_reversed_queryset_is_read_forwards_too(things, enumerate, order):
    """Its pages would leave out all rows but the last ones, which would come twice."""
    backwards = things.order_by(*order).reverse()
    whole = check_resumes(lambda cursor: enumerate(backwards, cursor=cursor, batch_size=1))
    assert [cursor for _, cursor in whole] == [n * 2 for n in range(1, 11)]


def test_keys_of_text(things):
    whole = check_resumes(lambda cursor: django_enumerator(Named.objects.all(), cursor=cursor, batch_size=2))
    assert [cursor for _, cursor in whole] == ["a", "b", "c"]


def test_a_key_that_is_a_relation(things):
    Detail.objects.bulk_create(Detail(thing=thing) for thing in things.order_by("-pk"))
    details = Detail.objects.all()
    whole = check_resumes(lambda cursor: django_enumerator(details, cursor=cursor, key="thing", batch_size=4))
    assert [cursor for _, cursor in whole] == [n * 2 for n in range(1, 11)]


@pytest.mark.skipif(
    django.VERSION < (5, 2),
    reason="Django has composite primary keys from 5.2 on: pip install -U django; CI has it",
)
def test_a_composite_primary_key():
    class Pair(models.Model):
        pk = models.CompositePrimaryKey("shop", "token")
        shop = models.IntegerField()
        token = models.UUIDField()

        class Meta:
            app_label = "iteration"

    with connection.schema_editor() as editor:
        editor.create_model(Pair)
    try:
        Pair.objects.bulk_create(Pair(shop=n // 3, token=uuid.UUID(int=n)) for n in range(10))
        pairs = Pair.objects.all()
        whole = check_resumes(lambda cursor: django_enumerator(pairs, cursor=cursor, batch_size=4))
        assert [cursor for _, cursor in whole] == [[n // 3, str(uuid.UUID(int=n))] for n in range(10)]
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Pair)


def test_another_unique_key_that_becomes_text(things):
    whole = check_resumes(lambda cursor: django_enumerator(things, cursor=cursor, key="token", batch_size=4))
    assert [thing.pk for thing, _ in whole] == [n * 2 for n in range(10, 0, -1)]
    assert whole[0][1] == str(uuid.UUID(int=90))


def test_batches(things):
    whole = check_resumes(lambda cursor: django_batches_enumerator(things, cursor=cursor, batch_size=4))
    assert [([thing.pk for thing in batch], cursor) for batch, cursor in whole] == [
        ([2, 4, 6, 8], 2), ([10, 12, 14, 16], 10), ([18, 20], 18),
    ]  # fmt: skip


def test_querysets_for_updates(things):
    shop = things.filter(shop=0)
    seen = []
    for part, cursor in django_querysets_enumerator(shop, cursor=8, batch_size=3):
        seen.append((sorted(part.values_list("pk", flat=True)), cursor))
        part.update(shop=7)
    assert seen == [([8, 12, 16], 8), ([20], 20)]
    assert things.filter(shop=7).count() == 4


def test_dicts(things):
    whole = check_resumes(
        lambda cursor: django_enumerator(things.values("id", "shop"), key="id", cursor=cursor, batch_size=4)
    )
    assert whole[0] == ({"id": 2, "shop": 1}, 2)
    with pytest.raises(ConfigurationError, match="need the key 'pk'"):
        list(django_enumerator(things.values("shop"), cursor=None))


def test_lists_of_values(things):
    for rows in (things.values_list("shop", "id"), things.values_list("shop", "id", named=True)):
        whole = check_resumes(lambda cursor, rows=rows: django_enumerator(rows, cursor=cursor, batch_size=4))
        assert [(row[1], cursor) for row, cursor in whole] == [(n * 2, n * 2) for n in range(1, 11)]
    flat = things.values_list("pk", flat=True)
    whole = check_resumes(lambda cursor: django_enumerator(flat, cursor=cursor, batch_size=4))
    assert whole[-1] == (20, 20)


def test_lists_of_values_without_the_key_are_refused(things):
    """The values were taken for the keys, so that rows were left out, or the second page failed."""
    for rows in (things.values_list("shop", flat=True), things.values_list("shop", "token")):
        with pytest.raises(ConfigurationError, match="need the key 'pk'"):
            list(django_enumerator(rows, cursor=None, batch_size=4))


def test_a_page_is_read_when_it_is_needed(things, django_queries):
    rows = django_enumerator(things, cursor=None, batch_size=4)
    assert django_queries() == 0
    next(rows)
    assert django_queries() == 1
    list(rows)
    assert django_queries() == 3


@pytest.fixture
def django_queries():
    connection.force_debug_cursor = True
    connection.queries_log.clear()
    yield lambda: len(connection.queries_log)
    connection.force_debug_cursor = False
