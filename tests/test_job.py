"""Job classes: options, hooks, and the ways to enqueue from the class."""

# ruff: noqa: F401, F811 -- fixtures are imported; hooks are written without self on purpose

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from both_clients import NOW, app, parsed, queued, stored

from sidekiq_lua import Sidekiq
from sidekiq_lua.errors import ConfigurationError, InvalidJob, SignatureMismatch

Dump = Callable[[], dict[str, Any]]


@pytest.fixture
def job(app: Sidekiq) -> Any:
    class HardJob(app.Job):
        sidekiq_options = {"queue": "critical", "retry": 5}

        def perform(self, a, b="b"): ...

    return HardJob


HARD = {"class": "HardJob", "queue": "critical", "retry": 5}


# -- enqueueing from the class ----------------------------------------------------------------


def test_perform_async(job: Any, dump: Dump) -> None:
    jid = job.perform_async(1, "x")
    assert parsed(dump()) == {"queues": ["critical"], "queue:critical": [queued(jid, **HARD, args=[1, "x"])]}


@pytest.mark.parametrize("when", [60, timedelta(minutes=1), datetime.fromtimestamp(NOW + 60, UTC), NOW + 60])
@pytest.mark.parametrize("method", ["perform_in", "perform_at"])
def test_perform_in_and_perform_at_are_the_same(job: Any, dump: Dump, method: str, when: Any) -> None:
    jid = getattr(job, method)(when, 1)
    second = getattr(job.set(retry=0), method)(when, 2)

    found = parsed(dump())
    assert list(found) == ["schedule"]
    wanted = [(stored(jid, **HARD, args=[1]), NOW + 60)]
    wanted += [(stored(second, **{**HARD, "retry": 0}, args=[2]), NOW + 60)]
    assert sorted(found["schedule"], key=lambda entry: entry[0]["args"]) == wanted


@pytest.mark.parametrize("when", [0, -1, timedelta(0), NOW, datetime.fromtimestamp(NOW - 9, UTC)])
def test_what_is_past_is_queued_at_once(job: Any, dump: Dump, when: Any) -> None:
    jid, second = job.perform_in(when, 1), job.set(wait=60).perform_in(when, 2)
    wanted = [queued(second, **HARD, args=[2]), queued(jid, **HARD, args=[1])]
    assert parsed(dump()) == {"queues": ["critical"], "queue:critical": wanted}


def test_perform_bulk(job: Any, dump: Dump) -> None:
    jids = job.perform_bulk([[1], (2, "x")], batch_size=1)
    wanted = [queued(jids[1], **HARD, args=[2, "x"]), queued(jids[0], **HARD, args=[1])]
    assert parsed(dump()) == {"queues": ["critical"], "queue:critical": wanted}


@pytest.mark.parametrize("method", ["perform_async", "perform_inline"])
def test_keyword_arguments_are_refused(job: Any, dump: Dump, method: str) -> None:
    for target in (job, job.set(retry=1)):
        with pytest.raises(
            InvalidJob, match=r"HardJob: jobs take positional arguments only, not b= .*\.set\("
        ):
            getattr(target, method)(1, b=2)
    with pytest.raises(InvalidJob, match=r"not a, b="):
        job.perform_in(60, a=1, b=2)
    assert dump() == {}


# -- set ----------------------------------------------------------------------------------------


def test_set_async_in_and_bulk(job: Any, dump: Dump) -> None:
    first = job.set(queue="low", tags=["t"]).perform_async(1)
    second = job.set(queue="low").set(retry=False).perform_in(60, 2)
    (third,) = job.set(queue="low").perform_bulk([[3]])

    low = {**HARD, "queue": "low"}
    assert parsed(dump()) == {
        "queues": ["low"],
        "queue:low": [queued(third, **low, args=[3]), queued(first, **low, args=[1], tags=["t"])],
        "schedule": [(stored(second, **{**low, "retry": False}, args=[2]), NOW + 60)],
    }


@pytest.mark.parametrize(
    "options",
    [{"wait": 60}, {"wait_until": datetime.fromtimestamp(NOW + 60, UTC)}, {"wait": timedelta(seconds=60)}],
)
def test_wait_and_wait_until(job: Any, dump: Dump, options: dict[str, Any]) -> None:
    jid = job.set(**options).perform_async(1)
    assert parsed(dump()) == {"schedule": [(stored(jid, **HARD, args=[1]), NOW + 60)]}


def test_the_last_time_given_counts(job: Any, dump: Dump) -> None:
    jid = job.set(wait=60).set(wait=5).perform_async(1)
    now = job.set(wait=60).set(wait=None).set(wait=0).perform_async(2)
    assert parsed(dump()) == {
        "schedule": [(stored(jid, **HARD, args=[1]), NOW + 5)],
        "queues": ["critical"],
        "queue:critical": [queued(now, **HARD, args=[2])],
    }


def test_what_set_answers_can_be_kept_and_shared(job: Any, dump: Dump) -> None:
    low = job.set(queue="low")
    low.perform_in(60, 1)
    low.perform_bulk([[2]], at=60)
    low.set(retry=0, tags=["t"])
    last = low.perform_async(3)

    assert parsed(dump())["queue:low"] == [queued(last, **{**HARD, "queue": "low"}, args=[3])]
    assert job.get_sidekiq_options() == {"queue": "critical", "retry": 5}


def test_sync_runs_at_once(app: Sidekiq, dump: Dump) -> None:
    ran = []

    class NowJob(app.Job):
        def perform(self, a):
            ran.append(a)

    assert NowJob.set(sync=True).perform_async(1) is True
    assert NowJob.set(sync=True).perform_in(60, 2) is True
    assert ran == [1, 2]
    assert dump() == {}
    NowJob.set(sync=False).perform_async(3)
    assert ran == [1, 2]


def test_a_pool_of_the_class_and_of_one_push(app: Sidekiq, make_server: Any, dump: Dump) -> None:
    other = make_server()

    class AwayJob(app.Job):
        sidekiq_options = {"pool": "away"}

        def perform(self): ...

    app.config.pools = {"away": {"url": other.url}}
    AwayJob.perform_async()
    AwayJob.set(retry=1).perform_bulk([[], []])
    assert dump() == {}
    with other.client() as redis:
        assert redis.llen("queue:default") == 3
    AwayJob.set(pool=str(app.config.redis["url"])).perform_async()
    assert len(dump()["queue:default"]) == 1


# -- options --------------------------------------------------------------------------------------


def test_options_are_inherited_and_changed_by_each_class_alone(app: Sidekiq) -> None:
    class Base(app.Job):
        abstract = True
        sidekiq_options = {"queue": "base", "retry": 3}

    class First(Base):
        sidekiq_options = {"retry": 1}

        def perform(self): ...

    class Second(First):
        def perform(self): ...

    assert First.get_sidekiq_options() == {"queue": "base", "retry": 1}
    First.queue_as("first")
    First.set_sidekiq_options(dead=False)
    Second.set_sidekiq_options(retry=2)
    assert Base.get_sidekiq_options() == {"queue": "base", "retry": 3}
    assert First.get_sidekiq_options() == {"queue": "first", "retry": 1, "dead": False}
    assert Second.get_sidekiq_options() == {"queue": "base", "retry": 2}


@pytest.mark.parametrize("options", ["critical", [("queue", "x")], {5: "x"}, None])
def test_options_that_are_none(app: Sidekiq, options: Any) -> None:
    with pytest.raises(ConfigurationError, match="OddJob: sidekiq_options must be a dict with text as keys"):
        type("OddJob", (app.Job,), {"sidekiq_options": options, "perform": lambda self: None})


def test_options_are_checked_when_a_job_is_made(job: Any, dump: Dump) -> None:
    job.set_sidekiq_options(retry_for="an hour")
    with pytest.raises(InvalidJob, match="HardJob: retry_for must be a number of seconds"):
        job.perform_async(1)
    assert dump() == {}


# -- hooks ----------------------------------------------------------------------------------------------


def by_decorator(app: Sidekiq) -> Any:
    class HookJob(app.Job):
        def perform(self): ...

    @HookJob.retry_in
    def soon(count, error, payload):
        return ("retry", count, error, payload)

    @HookJob.retries_exhausted
    def gone(payload, error):
        return ("gone", payload, error)

    assert soon(1, 2, 3) == ("retry", 1, 2, 3)  # the decorator gives the function back
    return HookJob


def plain(app: Sidekiq) -> Any:
    class HookJob(app.Job):
        def sidekiq_retry_in(count, error, payload):
            return ("retry", count, error, payload)

        def sidekiq_retries_exhausted(payload, error):
            return ("gone", payload, error)

        def perform(self): ...

    return HookJob


def short_names(app: Sidekiq) -> Any:
    class HookJob(app.Job):
        def retry_in(count, error, payload):
            return ("retry", count, error, payload)

        def retries_exhausted(payload, error):
            return ("gone", payload, error)

        def perform(self): ...

    return HookJob


def static(app: Sidekiq) -> Any:
    class HookJob(app.Job):
        @staticmethod
        def sidekiq_retry_in(count, error, payload):
            return ("retry", count, error, payload)

        @staticmethod
        def retries_exhausted(payload, error):
            return ("gone", payload, error)

        def perform(self): ...

    return HookJob


def with_self_or_cls(app: Sidekiq) -> Any:
    class HookJob(app.Job):
        word = "retry"

        def retry_in(self, count, error, payload):
            return (self.word, count, error, payload)

        @classmethod
        def sidekiq_retries_exhausted(cls, payload, error):
            return ("gone" if cls.word else "", payload, error)

        def perform(self): ...

    return HookJob


def lambdas(app: Sidekiq) -> Any:
    class HookJob(app.Job):
        retry_in = lambda *args: ("retry", *args)  # noqa: E731
        sidekiq_retries_exhausted = lambda payload, error, more=0: ("gone", payload, error)  # noqa: E731

        def perform(self): ...

    return HookJob


@pytest.mark.parametrize("make", [by_decorator, plain, short_names, static, with_self_or_cls, lambdas])
def test_hooks_in_every_form(app: Sidekiq, make: Callable[[Sidekiq], Any]) -> None:
    job = make(app)

    class HeirJob(job):
        def perform(self): ...

    for each in (job, HeirJob):
        assert each._retry_in(1, "error", "payload") == ("retry", 1, "error", "payload")
        assert each._exhausted("payload", "error") == ("gone", "payload", "error")
    # The names are decorators again, for the class and for its heirs.
    HeirJob.retry_in(lambda count, error, payload: "new")
    job.retries_exhausted(lambda payload, error: "new")
    assert (job._retry_in(1, 2, 3)[0], HeirJob._retry_in(1, 2, 3)) == ("retry", "new")
    assert job._exhausted(1, 2) == HeirJob._exhausted(1, 2) == "new"


def test_a_hook_with_self_belongs_to_the_class_that_fails(app: Sidekiq) -> None:
    class Base(app.Job):
        abstract = True
        delay = 1

        def sidekiq_retry_in(self, count, error, payload):
            return self.delay

    class SlowJob(Base):
        delay = 60

        def perform(self): ...

    assert SlowJob._retry_in(0, None, {}) == 60


def test_an_heir_can_do_without(app: Sidekiq) -> None:
    class HeirJob(plain(app)):
        retry_in = None
        sidekiq_retries_exhausted = None

        def perform(self): ...

    assert HeirJob._retry_in is HeirJob._exhausted is None
    assert HeirJob.retry_in(lambda *args: 5)() == 5


@pytest.mark.parametrize(
    ("name", "hook"),
    [
        ("retry_in", 5),
        ("sidekiq_retry_in", lambda count: 5),
        ("retry_in", lambda self, count: 5),
        ("sidekiq_retry_in", classmethod(lambda cls, count: 5)),
        ("retries_exhausted", staticmethod(lambda payload: 5)),
        ("sidekiq_retries_exhausted", lambda payload, error, more: 5),
    ],
)
def test_a_hook_that_cannot_be_called_is_refused_when_it_is_defined(
    app: Sidekiq, name: str, hook: Any
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        type("OddJob", (app.Job,), {name: hook, "perform": lambda self: None})
    assert str(caught.value) in (
        "OddJob: retry_in must be callable with (count, error, payload)",
        "OddJob: retries_exhausted must be callable with (payload, error)",
    )
    if not isinstance(hook, classmethod | staticmethod):
        with pytest.raises(ConfigurationError, match="must be callable with"):
            getattr(by_decorator(app), name.removeprefix("sidekiq_"))(hook)


@pytest.mark.parametrize("name", ["retry_in", "sidekiq_retries_exhausted"])
def test_a_hook_with_yield_is_refused(app: Sidekiq, name: str) -> None:
    def yielding(*_: Any) -> Any:
        yield

    with pytest.raises(ConfigurationError, match=r"OddJob: retr.* must not contain `yield`"):
        type("OddJob", (app.Job,), {name: yielding, "perform": lambda self: None})
