"""Django querysets, by record, by batch, or as querysets of a batch each. It imports nothing of Django."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ConfigurationError
from . import pages
from .sequences import whole


def django_enumerator(
    queryset: Any, *, cursor: Any, key: str = "pk", batch_size: int = 1000
) -> Iterator[tuple[Any, Any]]:
    """The records of a queryset in the order of their primary key; the cursor is that key.

    `key` is another unique field that is never NULL. Keys that JSON does not have, such as UUIDs, become
    text. The queryset must not be sliced; its own order is not used. `batch_size` records are read at a time.
    """
    return pages.rows(_pages(queryset, cursor, key, batch_size), _cursor)


def django_batches_enumerator(
    queryset: Any, *, cursor: Any, key: str = "pk", batch_size: int = 1000
) -> Iterator[tuple[Any, Any]]:
    """Lists of `batch_size` records; the cursor is the key of the first. See `django_enumerator`."""
    return pages.batches(_pages(queryset, cursor, key, batch_size), _cursor)


def django_querysets_enumerator(
    queryset: Any, *, cursor: Any, key: str = "pk", batch_size: int = 1000
) -> Iterator[tuple[Any, Any]]:
    """Querysets of `batch_size` records each, for `update` and `delete`; see `django_enumerator`."""
    keys = queryset.values_list(key, flat=True)
    for page in _pages(keys, cursor, key, batch_size):
        first, last = page[0][1], page[-1][1]
        yield queryset.filter(**{f"{key}__gte": first, f"{key}__lte": last}), _cursor(first)


def _pages(queryset: Any, cursor: Any, key: str, batch_size: int) -> Iterator[list[tuple[Any, Any]]]:
    size = whole(batch_size, "batch_size")
    ordered = queryset.order_by(key)
    if not ordered.query.standard_ordering:
        ordered = ordered.reverse()  # order_by leaves a reverse() as it is: pages backwards leave rows out

    def read(start: Any, after: bool) -> list[tuple[Any, Any]]:
        part = ordered
        if start is not None:
            part = ordered.filter(**{f"{key}__{'gt' if after else 'gte'}": start})
        return [(record, _key(record, key, queryset)) for record in part[:size]]

    return pages.keyset(read, cursor, size)


def _key(record: Any, key: str, queryset: Any) -> Any:
    """Of an instance, or of what `values` and `values_list` give instead. Raises ConfigurationError."""
    if hasattr(record, "_meta"):
        return record.serializable_value(key)  # of a relation the key: the text of its instance is no cursor
    columns = list(record) if isinstance(record, Mapping) else queryset._fields
    names = [key, queryset.model._meta.pk.name] if key == "pk" else [key]
    name = next((name for name in names if name in columns), None)
    if name is None:
        raise ConfigurationError(f"the rows of the queryset need the key {key!r}: name it in values()")
    if isinstance(record, Mapping):
        return record[name]
    # Not by its type: a composite key is a tuple too.
    flat = queryset._iterable_class.__name__.startswith("Flat")
    return record if flat else record[columns.index(name)]


def _cursor(key: Any) -> Any:
    if isinstance(key, tuple):
        return [_cursor(part) for part in key]  # a composite primary key
    # The text of bytes is not what they are: as a cursor they are refused.
    return key if type(key) in (int, str, bytes, memoryview) else str(key)
