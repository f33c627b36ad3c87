"""assert_enqueued and refute_enqueued: what matches, and what the message says where nothing does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY

import pytest
from both_clients import NOW
from testing_setup import make_app

from sidekiq_lua import Sidekiq, Testing
from sidekiq_lua.errors import ConfigurationError
from sidekiq_lua.testing import assert_enqueued, enqueued_jobs, refute_enqueued


@pytest.fixture(autouse=True)
def fake() -> None:
    Testing.fake()


@pytest.fixture
def app() -> Sidekiq:
    return make_app("redis://127.0.0.1:1")


@pytest.fixture
def job(app: Sidekiq) -> Any:
    class MailJob(app.Job):
        def perform(self, *args): ...

    return MailJob


@pytest.fixture
def other(app: Sidekiq) -> Any:
    class OtherJob(app.Job):
        def perform(self, *args): ...

    return OtherJob


def over_two(n: Any) -> bool:
    return bool(n > 2)


MATCHING: list[Any] = [
    [3, "x", {"k": [1.5, None]}],
    (3, "x", {"k": (1.5, None)}),
    [3, ANY, ANY],
    ANY,
    [3, "x", {"k": [pytest.approx(1.5000001), None]}],
    [over_two, str.islower, {"k": lambda found: len(found) == 2}],
    [int, str, dict],
    [{1, 2, 3}.__contains__, "x", ANY],
    lambda args: len(args) == 3,
    list,
]
OTHER: list[Any] = [
    [],
    [3],
    [3, "x"],
    [3, "x", {"k": [1.5]}],
    [3, "x", {"k": [1.5, None], "l": 1}],
    [3, "x", {}],
    [3, "x", {"k": [1.5, None]}, 4],
    [4, ANY, ANY],
    [over_two, over_two, {}],
    [str, str, dict],
    "x",
    None,
]


@pytest.mark.parametrize("args", MATCHING)
def test_arguments_that_match(job: Any, args: Any) -> None:
    job.perform_async(3, "x", {"k": [1.5, None]})
    assert assert_enqueued(job, args=args) == job.jobs()
    with pytest.raises(AssertionError):
        refute_enqueued(job, args=args)


@pytest.mark.parametrize("args", OTHER)
def test_arguments_that_do_not(job: Any, args: Any) -> None:
    job.perform_async(3, "x", {"k": [1.5, None]})
    refute_enqueued(job, args=args)
    with pytest.raises(AssertionError):
        assert_enqueued(job, args=args)


@pytest.mark.parametrize(
    ("pushed", "expected", "same"),
    [
        (True, 1, False),
        (1, True, False),
        (0, False, False),
        (1, 1.0, True),
        (True, True, True),
        (True, int, False),
        (True, bool, True),
        (None, 0, False),
        (True, ANY, True),
    ],
)
def test_true_is_not_one(job: Any, pushed: Any, expected: Any, same: bool) -> None:
    job.perform_async(pushed)
    assert len(enqueued_jobs(job, args=[expected])) == same


AT: list[tuple[Any, bool]] = [
    (60, True),
    (60.5, True),
    (62, False),
    (timedelta(minutes=1), True),
    (timedelta(minutes=2), False),
    (NOW + 60, True),
    (NOW + 60.01, False),
    (datetime.fromtimestamp(NOW + 60, UTC), True),
    (datetime.fromtimestamp(NOW + 61, UTC), False),
    (pytest.approx(NOW + 61, abs=2), True),
    (lambda at: at > NOW, True),
    (float, True),
    (ANY, True),
    (None, False),
]


@pytest.mark.parametrize(("at", "same"), AT)
def test_times(job: Any, at: Any, same: bool) -> None:
    job.perform_in(60)
    assert len(enqueued_jobs(job, at=at)) == same


@pytest.mark.parametrize(("at", "same"), [(None, True), (0, False), (float, False), (60, False)])
def test_a_job_without_a_time(job: Any, at: Any, same: bool) -> None:
    job.perform_async()
    assert len(enqueued_jobs(at=at)) == same


def test_class_name_queue_fields_and_predicate(app: Sidekiq, job: Any, other: Any) -> None:
    job.set(queue="low", tags=["a", "b"]).perform_async(1)
    other.perform_async(2)
    app.client.enqueue("Ruby::Job", 3)

    def found(*args: Any, **kwargs: Any) -> Any:
        return [payload["args"][0] for payload in enqueued_jobs(*args, **kwargs)]

    assert found() == found(app.Job) == [1, 2, 3]
    assert found(job) == found("MailJob") == found(queue="low") == [1]
    assert found("Ruby::Job") == [3]
    assert found(tags=["a", ANY]) == found(queue=lambda name: name.startswith("l")) == [1]
    assert found(tags=None) == [2, 3]
    assert found(matching=lambda payload: payload["args"][0] > 1) == [2, 3]
    assert found(job, matching=lambda payload: payload["args"][0] > 1) == []


def test_count(job: Any) -> None:
    job.perform_bulk([[1], [1], [2]])
    assert len(assert_enqueued(job)) == len(assert_enqueued(job, count=3)) == 3
    assert_enqueued(job, args=[1], count=2)
    assert assert_enqueued(job, args=[3], count=0) == []
    with pytest.raises(AssertionError, match=r"^3 jobs match MailJob, expected 2\n  MailJob args=\[1\]"):
        assert_enqueued(job, count=2)
    with pytest.raises(AssertionError, match=r"^no job matches MailJob args=\[3\], expected 2\n"):
        assert_enqueued(job, args=[3], count=2)
    with pytest.raises(AssertionError, match=r"^1 job matches MailJob args=\[2\], expected none\n"):
        assert_enqueued(job, args=[2], count=0)


def message(function: Any, *args: Any, **kwargs: Any) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        function(*args, **kwargs)
    return str(caught.value).splitlines()


def test_the_message_shows_where_the_nearest_differ(job: Any, other: Any) -> None:
    other.perform_async(1, {"to": "a@b.c"})
    job.set(queue="low").perform_async(9)
    job.perform_in(60, 2, {"to": "a@b.c", "cc": 1})

    assert message(
        assert_enqueued, job, args=[over_two, {"to": "x@y.z", "bcc": ANY}], queue="default", at=None
    ) == [
        "no job matches MailJob args=[over_two, {'to': 'x@y.z', 'bcc': <ANY>}] queue='default' at=None",
        "3 enqueued, 2 of them MailJob; the nearest first:",
        "  MailJob args=[9] queue='low'",
        "    args[1]: missing, expected {'to': 'x@y.z', 'bcc': <ANY>}",
        "    queue: 'low', expected 'default'",
        "  MailJob args=[2, {'to': 'a@b.c', 'cc': 1}] queue='default' at=1800000060.250 "
        "(2027-01-15 08:01:00 UTC)",
        "    args[0]: over_two(2) is false",
        "    args[1]['to']: 'a@b.c', expected 'x@y.z'",
        "    args[1]['bcc']: missing, expected <ANY>",
        "    args[1]['cc']: 1, expected nothing",
        "    at: 1800000060.25, expected None",
        "  OtherJob args=[1, {'to': 'a@b.c'}] queue='default'",
        "    class: 'OtherJob', expected 'MailJob'",
        "    args[0]: over_two(1) is false",
        "    args[1]['to']: 'a@b.c', expected 'x@y.z'",
        "    args[1]['bcc']: missing, expected <ANY>",
    ]


def test_the_message_where_nothing_is_there(job: Any) -> None:
    assert message(assert_enqueued, job) == ["no job matches MailJob", "nothing is enqueued"]
    assert message(assert_enqueued, retry=5) == ["no job matches any job retry=5", "nothing is enqueued"]


def test_the_message_of_times_and_predicates(job: Any) -> None:
    job.perform_in(60, "x")
    assert message(assert_enqueued, job, args=[over_two], at=timedelta(seconds=90))[2:] == [
        "  MailJob args=['x'] queue='default' at=1800000060.250 (2027-01-15 08:01:00 UTC)",
        "    args[0]: over_two('x') raised "
        "TypeError(\"'>' not supported between instances of 'str' and 'int'\")",
        "    at: 1800000060.250 (2027-01-15 08:01:00 UTC), +60 s, "
        "expected 1800000090.250 (2027-01-15 08:01:30 UTC), +90 s",
    ]
    (line,) = message(assert_enqueued, job, matching=lambda payload: payload["retry"] == 5)[3:]
    assert line.startswith("    the payload: test_the_message_of_times_and_predicates.<locals>.<lambda>(")
    assert line.endswith(" is false")


def test_none_is_not_said_where_a_function_raised(job: Any, other: Any) -> None:
    job.perform_async("x")
    lines = [
        "whether a job matches MailJob args=[over_two] is not known",
        "  MailJob args=['x'] queue='default'",
        "    args[0]: over_two('x') raised "
        "TypeError(\"'>' not supported between instances of 'str' and 'int'\")",
    ]
    assert message(refute_enqueued, job, args=[over_two]) == lines
    assert message(assert_enqueued, job, args=[over_two], count=0)[1:] == lines[1:]
    assert "KeyError" in message(refute_enqueued, matching=lambda payload: payload["arg"])[-1]
    # It was not written for those that differ otherwise.
    refute_enqueued(other, args=[over_two])
    refute_enqueued(job, args=[over_two], queue="low")
    refute_enqueued(job, args=[over_two, 1])


def test_a_long_message_is_cut(job: Any) -> None:
    job.perform_bulk([[n, list(range(1000))] for n in range(8)])
    lines = message(assert_enqueued, job, args=[99, [-1] * 1000])
    assert lines[-1] == "  and 3 more"
    assert lines.count("    and 991 more differences") == 5
    assert max(len(line) for line in lines) < 300
    refuted = message(refute_enqueued, job)
    assert refuted[0] == "8 jobs match MailJob, expected none"
    assert refuted[-1] == "  and 3 more"
    assert len(refuted) == 7


@pytest.mark.parametrize(("mode", "why"), [("inline", "ran as soon as"), ("disable", "go to Redis")])
def test_outside_of_fake_mode_it_says_so(job: Any, mode: str, why: str) -> None:
    getattr(Testing, mode)()
    for function in (assert_enqueued, refute_enqueued, enqueued_jobs):
        with pytest.raises(ConfigurationError, match=why):
            function(job)


def test_matching_must_be_a_function(job: Any) -> None:
    with pytest.raises(ConfigurationError, match="matching must be a function"):
        assert_enqueued(job, matching={"args": [1]})  # type: ignore[arg-type]
