"""What a job says of itself."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from freezegun import freeze_time

from sidekiq_lua import IterableJobQuery, JobRecord, ProcessSet, Sidekiq, WorkSet

NOW_S = 1_795_489_000
AT = datetime(2026, 11, 24, 2, 56, 40, tzinfo=UTC)


def record(app: Sidekiq, **fields: Any) -> JobRecord:
    return JobRecord(app, json.dumps({"class": "A", "args": [1], **fields}).encode())


def test_the_fields(app: Sidekiq) -> None:
    lines = ["a.py:1", "b.py:2"]
    packed = base64.b64encode(zlib.compress(json.dumps(lines).encode())).decode()
    job = record(
        app,
        jid="abc",
        bid="b1",
        queue="low",
        tags=["x", "y"],
        created_at=NOW_S * 1000,
        enqueued_at=NOW_S * 1000 + 500,
        failed_at=float(NOW_S),
        error_class="E",
        error_message="m",
        error_backtrace=packed,
        extra=5,
    )
    assert (job.jid, job.bid, job.queue, job.klass, job.args, job.tags) == (
        *("abc", "b1", "low", "A"),
        *([1], ["x", "y"]),
    )
    assert (job.created_at, job.failed_at, job.retried_at) == (AT, AT, None)
    assert job.enqueued_at == AT.replace(microsecond=500_000)
    assert (job.error_class, job.error_message, job.error_backtrace) == ("E", "m", lines)
    assert (job["extra"], job["nothing"]) == (5, None)
    with freeze_time("2026-11-24T02:56:42Z"):
        assert job.latency == pytest.approx(1.5)
    assert JobRecord(app, job.value, "fetched from").queue == "fetched from"


@pytest.mark.parametrize("text", [b"no JSON", b"[1]", b"\xff\xfe", b"", b"12", b'{"class":'])
def test_what_is_no_job_can_be_looked_at(app: Sidekiq, text: bytes) -> None:
    job = JobRecord(app, text)
    assert (job.item, job.jid, job.klass, job.display_class, job.tags) == ({}, None, None, None, [])
    assert job.args == [text.decode("utf-8", "backslashreplace")]
    assert (job.created_at, job.latency, job.error_backtrace, job.iterable_state) == (None, 0.0, None, None)


@pytest.mark.parametrize("odd", [None, "text", True, [1], {"a": 1}, 1e300, -1e300, 10**40])
def test_odd_fields_are_no_error(app: Sidekiq, odd: Any) -> None:
    names = (
        "jid",
        "queue",
        "tags",
        "created_at",
        "failed_at",
        "error_class",
        "error_backtrace",
        "display_class",
    )
    job = record(app, **dict.fromkeys(names, odd), args=odd)
    for name in (*names, "args", "display_args", "latency", "retried_at", "error_message", "bid"):
        getattr(job, name)


@pytest.mark.parametrize("odd", [None, True, 1, [1], {"a": 1}])
def test_a_class_that_is_no_name_is_no_error(app: Sidekiq, odd: Any) -> None:
    """Such a payload is in the dead set, and `sidekiq-lua jobs` could list nothing of it."""
    job = record(app, **{"class": odd})
    assert (job.klass, job.display_class, job.display_args) == (None, None, [1])


def test_what_is_nested_too_deep_is_no_error(app: Sidekiq, redis: Any) -> None:
    deep = "[" * 30_000 + "]" * 30_000
    packed = base64.b64encode(zlib.compress(deep.encode())).decode()
    redis.hset("it-a", mapping={"ex": 1, "c": deep, "rt": 1})
    redis.sadd("processes", "host:1:abc")
    redis.hset("host:1:abc", mapping={"info": deep, "busy": 1, "beat": 1, "quiet": "false"})
    redis.hset("host:1:abc:work", "t", deep)
    assert record(app, error_backtrace=packed).error_backtrace is None
    assert IterableJobQuery("a", app)["a"].cursor == deep
    assert ProcessSet(app, clean=False)["host:1:abc"].tag == ""
    assert list(WorkSet(app)) == []


_WRAPPED = {"class": "Sidekiq::ActiveJob::Wrapper", "wrapped": "Charge"}
_MAIL = {"class": "Sidekiq::ActiveJob::Wrapper", "wrapped": "ActionMailer::MailDeliveryJob"}


@pytest.mark.parametrize(
    ("fields", "name", "args"),
    [
        ({}, "A", [1]),
        ({"display_class": "Nice"}, "Nice", [1]),
        ({"encrypt": True, "args": [1, "secret"]}, "A", [1, "[encrypted data]"]),
        (
            {**_WRAPPED, "args": [{"arguments": [1, {"_aj_globalid": "gid://a"}, {"a": 2, "_aj_keys": []}]}]},
            "Charge",
            [1, "gid://a", {"a": 2}],
        ),
        (
            {
                **_MAIL,
                "args": [{"arguments": ["User", "hi", "deliver_now", {"params": {"a": 1}, "args": [2]}]}],
            },
            "User#hi",
            [{"a": 1}, [2]],
        ),
        (
            {
                **_WRAPPED,
                "wrapped": "ActionMailer::DeliveryJob",
                "args": [{"arguments": ["User", "hi", "deliver_now", 3]}],
            },
            "User#hi",
            [3],
        ),
        ({**_MAIL, "args": []}, "ActionMailer::MailDeliveryJob", []),
    ],
)
def test_what_people_are_shown(app: Sidekiq, fields: dict[str, Any], name: str, args: list[Any]) -> None:
    job = record(app, **fields)
    assert (job.display_class, job.display_args) == (name, args)


def test_iterable_jobs(app: Sidekiq, redis: Any) -> None:
    redis.hset("it-a", mapping={"ex": 3, "c": "[1,2]", "rt": "4.5"})
    redis.hset("it-b", mapping={"cancelled": 7})
    redis.hset("it-c", mapping={"ex": "x", "c": "no JSON", "rt": "y", "cancelled": "1"})
    states = IterableJobQuery(["a", "b", "c", "none", None, *map(str, range(200))], app)
    assert states["a"][1:] == (3, 4.5, [1, 2], None)
    assert states["b"][1:] == (0, 0.0, None, 7)
    assert states["c"][1:] == (0, 0.0, "no JSON", 1)
    assert ("a" in states, "none" in states, states.get("none")) == (True, False, None)
    with pytest.raises(KeyError):
        states["none"]
    assert record(app, jid="a").iterable_state == states["a"]
    assert IterableJobQuery("a", app).get("a") == states["a"]
