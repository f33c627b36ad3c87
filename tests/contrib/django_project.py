"""Django with two SQLite databases in files of this test process; imported once."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import django
from django.conf import settings

_DIRECTORY = Path(tempfile.mkdtemp(prefix="sidekiq-lua-django-"))
atexit.register(shutil.rmtree, _DIRECTORY, ignore_errors=True)


def _database(name: str) -> dict[str, Any]:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": _DIRECTORY / name, "OPTIONS": {"timeout": 0.2}}


if not settings.configured:
    settings.configure(
        DATABASES={"default": _database("default.db"), "other": _database("other.db")},
        USE_TZ=True,
        USE_I18N=True,
        SIDEKIQ_LUA={"concurrency": 7, "queues": ["critical", "default"]},
    )
    django.setup()
