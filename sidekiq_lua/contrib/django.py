"""Jobs and Django's transactions; the extra `django`.

`client_class = AfterCommitClient` makes every push of an instance, or of one job class, wait for the commit.
`DjangoDatabase` lets an Outbox write in Django's transactions, `persist_locale` carries the language along.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..app import App
from ..config import Config
from ..current import persist_locale as _persist_locale
from ..instance import sidekiq
from .databases import Database, checked_name, ddl, spelled
from .held import Failures, Held, HoldingClient, missing, release

try:
    from django.conf import settings as django_settings
    from django.db import DEFAULT_DB_ALIAS, connections, migrations, transaction
    from django.utils import translation
except ImportError as error:
    raise missing("Django", "django") from error


def configure(app: App | None = None) -> None:
    """Take the mapping SIDEKIQ_LUA of Django's settings; its keys are those of docs/configuration.md.

    Without `app` the default instance. Raises ConfigurationError.
    """
    given = getattr(django_settings, "SIDEKIQ_LUA", {})
    (app or sidekiq).preset(given, "SIDEKIQ_LUA in Django's settings")


class AfterCommitClient(HoldingClient):
    """Pushes when the present transaction of a Django database is committed (`transaction.on_commit`).

    A rolled back `atomic` block, be it a savepoint, drops its jobs. In autocommit mode a push goes out at
    once. A job that cannot be pushed after the commit is logged with its payload and told to the error
    handlers; when all were tried, the hook of the last one raises NotPushedAfterCommit out of `atomic`.

    `using` is the alias of the database: `partial(AfterCommitClient, using="billing")`.
    """

    def __init__(self, app: App | None = None, pool: str | None = None, *, using: str | None = None) -> None:
        super().__init__(app or sidekiq, pool)
        self.using = using or DEFAULT_DB_ALIAS

    def _place(self) -> Any:
        connection = connections[self.using]
        if connection.in_atomic_block:
            return connection
        opened = connection.connection is not None
        autocommit = connection.autocommit if opened else connection.settings_dict["AUTOCOMMIT"]
        # Without autocommit and outside `atomic` nobody tells of a commit: on_commit raises then.
        return None if autocommit else connection

    def _hold(self, place: Any, jobs: list[Held]) -> None:
        if not jobs:
            return
        ours = (hook.batch for _, hook, *_ in reversed(place.run_on_commit) if isinstance(hook, _Hook))
        batch = next((batch for batch in ours if batch.app is self._app), None) or _Batch(self._app)
        batch.last = _Hook(jobs, batch)
        transaction.on_commit(batch.last, using=self.using)


class _Batch:
    """What the hooks of one transaction share. Django runs no further hook after one that raises, so that
    only the last of them may."""

    last: _Hook

    def __init__(self, app: App) -> None:
        self.app = app
        self.failures = Failures(app)


class _Hook:
    """Pushes some jobs after the commit."""

    __qualname__ = "AfterCommitClient.push"

    def __init__(self, jobs: list[Held], batch: _Batch) -> None:
        self._jobs = jobs
        self.batch = batch

    def __call__(self) -> None:
        release(self.batch.app, self._jobs, self.batch.failures)
        if self is self.batch.last:
            self.batch.failures.check()


def persist_locale(config: Config) -> None:
    """Run jobs in the language (`django.utils.translation`) in which they were enqueued."""
    _persist_locale(config, get=translation.get_language, use=translation.override)


class DjangoDatabase(Database):
    """An outbox's table in a Django database, by its alias."""

    def __init__(self, using: str | None = None) -> None:
        self.using = using or DEFAULT_DB_ALIAS

    def insert(self, sql: str, rows: Sequence[tuple[Any, ...]], where: Any = None) -> None:
        """In the present transaction; `where` is another alias."""
        with connections[where or self.using].cursor() as cursor:
            cursor.executemany(spelled(sql, "format"), rows)

    def read(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        connection = connections[self.using]
        connection.close_if_unusable_or_obsolete()
        with connection.cursor() as cursor:
            cursor.execute(spelled(sql, "format"), values)
            return list(cursor.fetchall())

    def write(self, sql: str, values: Sequence[Any]) -> None:
        with connections[self.using].cursor() as cursor:
            cursor.execute(spelled(sql, "format"), values)

    def close(self) -> None:
        connections[self.using].close()


def create_outbox(table: str = "sidekiq_outbox") -> Any:
    """A migration operation that makes an outbox's table, and whose reverse drops it."""

    def make(apps: Any, schema_editor: Any) -> None:
        schema_editor.execute(ddl(schema_editor.connection.vendor, table))

    def drop(apps: Any, schema_editor: Any) -> None:
        schema_editor.execute(f"DROP TABLE {checked_name(table)}")

    return migrations.RunPython(make, drop)
