"""Enumerators for iterable jobs: they give (item, cursor) pairs, beginning with the item of a cursor.

Names are loaded when they are first used: those for Django and SQLAlchemy need these packages.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .csv_files import csv_batches_enumerator, csv_enumerator
    from .django import django_batches_enumerator, django_enumerator, django_querysets_enumerator
    from .sequences import array_enumerator, counted_enumerator
    from .sql import sql_batches_enumerator, sql_enumerator
    from .sqlalchemy import sqlalchemy_batches_enumerator, sqlalchemy_enumerator

__all__ = [  # noqa: RUF022 -- grouped by what they read
    "array_enumerator",
    "counted_enumerator",
    "csv_enumerator",
    "csv_batches_enumerator",
    "sql_enumerator",
    "sql_batches_enumerator",
    "django_enumerator",
    "django_batches_enumerator",
    "django_querysets_enumerator",
    "sqlalchemy_enumerator",
    "sqlalchemy_batches_enumerator",
]

_HOME = {"array": "sequences", "counted": "sequences", "csv": "csv_files"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    word = name.partition("_")[0]
    value = getattr(import_module(f".{_HOME.get(word, word)}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
