"""AfterCommitClient: what Django's transactions do to pushes."""

# ruff: noqa: PT012 -- blocks that are rolled back by an error

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import contrib.django_project  # noqa: F401 -- settings come first
import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import TestCase
from django.utils import translation
from waiting import wait_until

from sidekiq_lua import Client, Sidekiq
from sidekiq_lua.contrib.django import (
    AfterCommitClient,
    DjangoDatabase,
    close_connections,
    configure,
    persist_locale,
)
from sidekiq_lua.contrib.outbox import Outbox, OutboxClient
from sidekiq_lua.errors import ConfigurationError, InvalidJob, NotPushedAfterCommit, RedisUnavailable
from sidekiq_lua.testing import Testing

DEAD = "redis://127.0.0.1:1/0"
Queued = Callable[..., list[Any]]


class Undo(Exception):
    pass


@pytest.fixture(autouse=True)
def _databases() -> Iterator[None]:
    yield
    for each in connections.all():
        each.close()


@pytest.fixture
def app(make_app: Any) -> Sidekiq:
    return make_app(client_class=AfterCommitClient, pools={"dead": {"url": DEAD}})


@pytest.fixture
def job(app: Sidekiq) -> Any:
    class SomeJob(app.Job):
        def perform(self, n: int, *more: Any) -> None: ...

    return SomeJob


def test_pushed_at_once_in_autocommit_mode(job: Any, queued: Queued) -> None:
    assert job.perform_async(1)
    assert queued() == [1]


def test_pushed_after_the_commit_with_the_jid_that_was_answered(job: Any, queued: Queued) -> None:
    with transaction.atomic():
        jid = job.perform_async(1)
        assert isinstance(jid, str)
        assert queued() == []

    assert [payload["jid"] for payload in queued(whole=True)] == [jid]


def test_a_rollback_drops_its_jobs(job: Any, queued: Queued) -> None:
    with pytest.raises(Undo), transaction.atomic():
        job.perform_async(1)
        job.perform_bulk([[2], [3]])
        raise Undo
    with transaction.atomic():
        job.perform_async(4)

    assert queued() == [4]


def test_a_savepoint_that_is_rolled_back_drops_its_jobs_alone(job: Any, queued: Queued) -> None:
    with transaction.atomic():
        job.perform_async(1)
        with pytest.raises(Undo), transaction.atomic():
            job.perform_async(2)
            with transaction.atomic():
                job.perform_async(3)
            raise Undo
        with transaction.atomic():
            job.perform_async(4)
        assert queued() == []

    assert queued() == [1, 4]


def test_bulk_scheduled_and_other_options_wait_too(job: Any, queued: Queued, redis: Any) -> None:
    with transaction.atomic():
        jids = job.perform_bulk([[n] for n in range(2500)])
        job.set(queue="low").perform_in(3600, "later")
        assert not redis.exists("queue:default", "schedule")

    assert queued() == list(range(2500))
    assert [payload["jid"] for payload in queued(whole=True)] == jids
    assert b'"queue":"low"' in redis.zrange("schedule", 0, -1)[0]


def test_another_database_by_its_alias(make_app: Any, queued: Queued) -> None:
    app = make_app(client_class=partial(AfterCommitClient, using="other"))
    with transaction.atomic():
        app.client.push({"class": "J", "args": [1]})
        assert queued() == [1]
        with transaction.atomic(using="other"):
            app.client.push({"class": "J", "args": [2]})
            assert queued() == [1]
        assert queued() == [1, 2]


def test_for_one_job_class_or_one_push(make_app: Any, queued: Queued) -> None:
    app = make_app()

    class Waits(app.Job):
        sidekiq_options = {"client_class": AfterCommitClient}

        def perform(self, n: int) -> None: ...

    class Hurries(app.Job):
        def perform(self, n: int) -> None: ...

    with transaction.atomic():
        Waits.perform_async(1)
        Hurries.set(client_class=AfterCommitClient).perform_async(2)
        Hurries.perform_async(3)
        Waits.set(client_class=Client).perform_async(4)
        assert queued() == [3, 4]

    assert queued() == [3, 4, 1, 2]
    assert all("client_class" not in payload for payload in queued(whole=True))


def test_what_is_wrong_with_a_job_is_said_where_it_is_made(job: Any, queued: Queued) -> None:
    with transaction.atomic():
        for wrong in (lambda: job.perform_async(), lambda: job.perform_async({1, 2})):
            with pytest.raises(InvalidJob):
                wrong()
        with pytest.raises(ConfigurationError, match="no Redis pool is called 'nowhere'"):
            job.set(pool="nowhere").perform_async(1)

    assert queued() == []


def test_arguments_are_taken_as_they_are_when_the_job_is_made(job: Any, queued: Queued) -> None:
    with transaction.atomic():
        numbers = [1]
        job.perform_async(numbers)
        numbers.append(2)

    assert queued() == [[1]]


def test_client_middleware_runs_where_the_job_is_made(app: Sidekiq, job: Any, queued: Queued) -> None:
    class Stop:
        def call(self, job_class: Any, payload: Any, queue: Any, redis: Any, next: Any) -> Any:
            return next() if payload["args"][0] else None

    app.config.client_middleware.use(Stop)
    with transaction.atomic():
        assert job.perform_async(0) is None
        assert job.perform_async(1) is not None
        assert [bool(jid) for jid in job.perform_bulk([[0], [2]])] == [False, True]

    assert queued() == [1, 2]


def test_without_autocommit_and_atomic_django_refuses(job: Any) -> None:
    transaction.set_autocommit(False)
    try:
        with pytest.raises(TransactionManagementError):
            job.perform_async(1)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def test_what_cannot_be_pushed_is_reported_and_the_rest_is_pushed(
    job: Any, queued: Queued, log: io.StringIO, reports: list[Any]
) -> None:
    committed = "the transaction is committed"
    with pytest.raises(NotPushedAfterCommit, match=committed) as caught, transaction.atomic():
        lost = job.set(pool="dead").perform_async(1, "secret to nobody")
        job.perform_async(2)
        also_lost = job.set(pool="dead").perform_async(3)
        job.perform_async(4)

    assert queued() == [2, 4]
    assert [payload["jid"] for payload in caught.value.payloads] == [lost, also_lost]
    assert isinstance(caught.value.__cause__, RedisUnavailable)
    told = [(type(error), context["job"]["jid"]) for error, context in reports]
    assert told == [(RedisUnavailable, lost), (RedisUnavailable, also_lost)]
    lines = [line for line in log.getvalue().splitlines() if "not pushed after its transaction" in line]
    assert len(lines) == 2
    assert '"args":[1,"secret to nobody"]' in lines[0]


def test_an_error_in_autocommit_mode_is_raised_as_by_any_client(job: Any, reports: list[Any]) -> None:
    with pytest.raises(RedisUnavailable):
        job.set(pool="dead").perform_async(1)
    assert reports == []


def test_in_a_test_case_of_django(job: Any, queued: Queued) -> None:
    class Case(TestCase):
        def runTest(self) -> None:
            job.perform_async(1)  # before the block, in the same transaction
            with self.captureOnCommitCallbacks(execute=True) as callbacks:
                job.perform_async(2)
                job.perform_async(3)
            assert len(callbacks) == 2

    Case().debug()

    assert queued() == [2, 3]


def test_safe_pushes_wait_for_the_commit_too(make_app: Any, queued: Queued, redis: Any) -> None:
    app = make_app(client_class=AfterCommitClient, reliable_push=True)
    with transaction.atomic():
        app.client.push({"class": "J", "args": [1]})
        assert queued() == []
    assert queued() == [1]
    assert list(redis.scan_iter("lua:sent:*"))

    app = make_app(client_class=AfterCommitClient, wait_replicas=1, wait_timeout_ms=20)
    with pytest.raises(NotPushedAfterCommit, match="may be lost in a failover"), transaction.atomic():
        app.client.push({"class": "J", "args": [2]})
    assert queued() == [1, 2]


def test_nothing_waits_where_pushes_are_faked(make_app: Any, job: Any, dump: Any) -> None:
    outbox = Outbox("shop", DjangoDatabase())
    other = make_app(client_class=partial(OutboxClient, outbox=outbox))
    with Testing.fake(), transaction.atomic():
        job.perform_async(1)
        other.client.push({"class": "J", "args": [2]})
        assert [one["args"] for one in job.jobs()] == [[1]]
        assert Testing.clear_all() == 2
    assert dump() == {}


def test_two_instances_in_one_transaction(make_app: Any, job: Any, queued: Queued) -> None:
    other = make_app(client_class=AfterCommitClient, redis=DEAD)
    with pytest.raises(NotPushedAfterCommit), transaction.atomic():
        job.perform_async(1)
        job.perform_async(2)
        other.client.push({"class": "J", "args": [9]})

    assert queued() == [1, 2]


def test_settings_come_from_django(make_app: Any) -> None:
    app = make_app()
    configure(app)

    assert (app.config.concurrency, app.config.queues) == (7, ["critical", "default"])


def use_up() -> None:
    """Use the connection of this thread, and leave it as a server does that was restarted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connection.connection.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_each_job_begins_with_a_connection_that_works(make_app: Any, reports: list[Any], kind: str) -> None:
    app = make_app()
    configure(app)
    app.configure_server(lambda config: config.update({"concurrency": 1, "queues": ["default"]}))
    ran = []
    if kind == "sync":

        class Use(app.Job):
            def perform(self, n: int) -> None:
                use_up()
                ran.append(n)
    else:

        class Use(app.Job):  # type: ignore[no-redef]
            async def perform(self, n: int) -> None:
                await sync_to_async(use_up)()
                ran.append(n)

    Use.perform_bulk([[n] for n in range(3)])
    runner = app.run()
    try:
        wait_until(lambda: len(ran) + len(reports) == 3)
    finally:
        runner.stop()
    assert ran == [0, 1, 2]


def test_a_job_within_a_job_leaves_its_connection_alone(make_app: Any) -> None:
    app = make_app()
    close_connections(app.config)
    found = []

    class Inner(app.Job):
        def perform(self) -> None:
            found.append(connection.connection)

    class Outer(app.Job):
        def perform(self) -> None:
            connection.ensure_connection()
            Inner.perform_inline()
            found.append(connection.connection)

    Outer.perform_inline()
    assert found[0] is found[1] is not None
    assert connection.connection is None


def test_a_job_that_has_run_does_not_fail_for_its_connection(make_app: Any, log: io.StringIO) -> None:
    app = make_app()
    close_connections(app.config)

    with pytest.MonkeyPatch.context() as patch:

        class Break(app.Job):
            def perform(self) -> None:
                connection.ensure_connection()
                patch.setattr(connection, "close", lambda: 1 / 0)

        assert Break.perform_inline()
    assert "could not be closed" in log.getvalue()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_language_travels(make_app: Any, queued: Queued, kind: str) -> None:
    app = make_app()
    persist_locale(app.config)
    seen = []
    if kind == "sync":

        class Speak(app.Job):
            def perform(self) -> None:
                seen.append(translation.get_language())
    else:

        class Speak(app.Job):  # type: ignore[no-redef]
            async def perform(self) -> None:
                seen.append(translation.get_language())

    with translation.override("de"):
        Speak.perform_inline()
    app.client.push({"class": "Speak", "args": [0], "locale": "fr"})
    assert queued(whole=True)[0]["locale"] == "fr"
    assert seen == ["de"]
    assert translation.get_language() == "en-us"
