"""Jobs and Django's transactions; the extra `django`.

`client_class = AfterCommitClient` makes every push of an instance, or of one job class, wait for the commit.
`DjangoDatabase` lets an Outbox write in Django's transactions, `persist_locale` carries the language along,
`close_connections` lets each job begin with connections that work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

from ..app import App
from ..config import Config
from ..current import persist_locale as _persist_locale
from ..instance import sidekiq
from ..middleware import wait_for
from .databases import Database, checked_name, ddl, spelled
from .held import Failures, Held, HoldingClient, missing, release

try:
    from asgiref.sync import sync_to_async
    from django.conf import settings as django_settings
    from django.db import DEFAULT_DB_ALIAS, close_old_connections, connections, migrations, transaction
    from django.utils import translation
    from django.utils.deconstruct import deconstructible
except ImportError as error:
    raise missing("Django", "django") from error


def configure(app: App | None = None) -> None:
    """Take the mapping SIDEKIQ_LUA of Django's settings; its keys are those of docs/configuration.md.

    Workers `close_connections` then. Without `app` the default instance. Raises ConfigurationError.
    """
    given = getattr(django_settings, "SIDEKIQ_LUA", {})
    app = app or sidekiq
    app.preset(given, "SIDEKIQ_LUA in Django's settings")
    app.configure_server(close_connections)


def close_connections(config: Config) -> None:
    """Do around each job what Django does around each request, for configure_server: close connections that
    failed or are older than CONN_MAX_AGE. Without it a thread whose connection the database has ended, as at
    its restart, fails every job from then on.
    """
    config.server_middleware.prepend(CloseConnections)


class CloseConnections:
    """Server middleware: see `close_connections`. A job that runs within another leaves them alone."""

    def call(self, job: Any, payload: dict[str, Any], queue: str, next: Callable[[], Any]) -> Any:
        if _within.get():
            return next()
        close: Callable[[], Any] = close_old_connections
        if job.is_async:
            # Django's ORM runs in another thread then, the one that sync_to_async finds.
            close = partial(wait_for, sync_to_async(close_old_connections))
        close()
        _within.set(True)
        try:
            return next()
        finally:
            _within.set(False)
            try:
                close()
            except Exception:  # the job has run, and must not be tried again for this
                job.logger.exception("a connection to the database could not be closed")


_within: ContextVar[bool] = ContextVar("within_a_job", default=False)


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
    return migrations.RunPython(OutboxTable(table), OutboxTable(table, drop=True))


@deconstructible
class OutboxTable:
    """What `create_outbox` runs; a class, for `squashmigrations` to write down."""

    def __init__(self, table: str, drop: bool = False) -> None:
        self._table = table
        self._drop = drop

    def __call__(self, apps: Any, schema_editor: Any) -> None:
        if self._drop:
            schema_editor.execute(f"DROP TABLE {checked_name(self._table)}")
        else:
            schema_editor.execute(ddl(schema_editor.connection.vendor, self._table))
