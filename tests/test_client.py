"""What both clients put in Redis, and what they refuse. After each push the whole database is compared."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from both_clients import NOW, NOW_MS, Fixed, app, client, parsed, queued, stored

from sidekiq_lua import Sidekiq
from sidekiq_lua.errors import (
    InvalidJob,
    PayloadTooLarge,
    RedisError,
    SidekiqError,
    SignatureMismatch,
    UnserializableArguments,
)

Dump = Callable[[], dict[str, Any]]


@pytest.fixture
def job(app: Sidekiq) -> Any:
    class HardJob(app.Job):
        sidekiq_options = {"queue": "critical", "retry": 5, "tags": ["x"]}

        def perform(self, a, b="b"): ...

    return HardJob


# -- push ---------------------------------------------------------------------------------


def test_a_string_class_byte_for_byte(client: Any, dump: Dump) -> None:
    jid = client.push({"class": "Billing::ChargeJob", "args": [1, "é/", None, {"k": [1.5, True]}]})

    assert re.fullmatch("[0-9a-f]{24}", jid)
    assert dump() == {
        "queues": ["default"],
        "queue:default": [
            '{"retry":true,"queue":"default","class":"Billing::ChargeJob","args":[1,"é/",null,{"k":[1.5,true]}],'
            f'"jid":"{jid}","created_at":{NOW_MS},"enqueued_at":{NOW_MS}}}'
        ],
    }


def test_a_job_class_brings_its_name_and_options(client: Any, job: Any, dump: Dump) -> None:
    jid = client.push({"class": job, "args": [1]})

    wanted = queued(jid, **{"class": "HardJob"}, queue="critical", retry=5, tags=["x"], args=[1])
    assert parsed(dump()) == {"queues": ["critical"], "queue:critical": [wanted]}


def test_a_string_class_does_not_take_the_options_of_a_class_of_that_name(
    client: Any, job: Any, dump: Dump
) -> None:
    jid = client.push({"class": "HardJob", "args": [1, 2, 3]})

    assert parsed(dump())["queue:default"] == [queued(jid, **{"class": "HardJob"}, args=[1, 2, 3])]


def test_every_option_is_carried_and_outweighs_the_classs(client: Any, job: Any, dump: Dump) -> None:
    given = {
        "queue": "low",
        "retry": False,
        "retry_for": 3600,
        "retry_queue": "slow",
        "backtrace": 10,
        "dead": False,
        "tags": ["a", "b"],
        "wrapped": "RealJob",
        "display_class": "Shown",
        "log_level": "debug",
        "profile": "token",
        "profiler_options": {"mode": "cpu"},
        "locale": "de",
        "bid": "b",
        "tenant": {"id": 7},
        "created_at": 5,
        "jid": "a" * 24,
    }

    assert client.push({"class": job, "args": [1], **given}) == "a" * 24

    wanted = {"class": "HardJob", "args": [1], "enqueued_at": NOW_MS, **given}
    assert parsed(dump()) == {"queues": ["low"], "queue:low": [wanted]}


LEVELS = {"warning": "warn", " CRITICAL ": "fatal", 30: "warn", 3: "error", 25: 25, "loud": None, True: None}


@pytest.mark.parametrize(("given", "written"), LEVELS.items())
def test_a_log_level_is_written_as_ruby_names_it(client: Any, dump: Dump, given: Any, written: Any) -> None:
    """Of another name a Ruby worker loses the job."""
    client.push({"class": "A", "args": [], "log_level": given})

    assert parsed(dump())["queue:default"][0].get("log_level") == written


def test_pool_and_client_class_stay_out_of_the_payload(client: Any, url: str, dump: Dump) -> None:
    jid = client.push({"class": "A", "args": [], "pool": url, "client_class": "X"})

    assert parsed(dump())["queue:default"] == [queued(jid, **{"class": "A"})]


def test_the_newest_is_at_the_left(client: Any, redis: Any) -> None:
    jids = [client.enqueue("A", n) for n in range(3)]

    assert [json.loads(raw)["jid"] for raw in redis.lrange("queue:default", 0, -1)] == jids[::-1]


def test_the_callers_dict_and_list_are_left_alone(client: Any, job: Any) -> None:
    args = [1]
    item = {"class": job, "args": args, "pool": None, "jid": None}
    client.push(item)

    assert item == {"class": job, "args": [1], "pool": None, "jid": None}
    assert item["args"] is args


def test_enqueue_and_enqueue_to(client: Any, job: Any, dump: Dump) -> None:
    first, second = client.enqueue(job, 1, "x"), client.enqueue_to("low", job, 2)

    common = {"class": "HardJob", "retry": 5, "tags": ["x"]}
    assert parsed(dump()) == {
        "queues": ["critical", "low"],
        "queue:critical": [queued(first, queue="critical", args=[1, "x"], **common)],
        "queue:low": [queued(second, queue="low", args=[2], **common)],
    }


def test_the_payload_format_of_version_7(url: str, dump: Dump) -> None:
    app = Sidekiq(redis=url, clock=Fixed(), payload_format="7")
    jid = app.client.push({"class": "A", "args": []})
    app.close()

    assert dump()["queue:default"] == [
        f'{{"retry":true,"queue":"default","class":"A","args":[],"jid":"{jid}",'
        f'"created_at":{NOW},"enqueued_at":{NOW}}}'
    ]


# -- later --------------------------------------------------------------------------------


def test_at_is_the_score_and_not_in_the_payload(client: Any, job: Any, dump: Dump) -> None:
    jid = client.push({"class": job, "args": [1], "at": NOW + 60.5, "enqueued_at": 1})

    wanted = stored(jid, **{"class": "HardJob"}, queue="critical", retry=5, tags=["x"], args=[1])
    assert parsed(dump()) == {"schedule": [(wanted, NOW + 60.5)]}


def test_push_with_a_past_at_goes_to_the_schedule(client: Any, dump: Dump) -> None:
    jid = client.push({"class": "A", "args": [], "at": 5})

    assert parsed(dump()) == {"schedule": [(stored(jid, **{"class": "A"}), 5.0)]}


class Nowhere(tzinfo):
    """A time zone that tells no offset, which makes a datetime naive."""

    def utcoffset(self, when: datetime | None) -> None:
        return None


LATER = [
    (60, NOW + 60),
    (0.5, NOW + 0.5),
    (timedelta(minutes=1), NOW + 60),
    (999_999_999, NOW + 999_999_999),
    (NOW + 7, NOW + 7),
    (1_900_000_000, 1_900_000_000),
    (datetime.fromtimestamp(NOW + 7, UTC), NOW + 7),
    (datetime.fromtimestamp(NOW + 7, timezone(timedelta(hours=-5))), NOW + 7),
]
AT_ONCE = [
    *(0, -1, -0.5, NOW, 1_000_000_000, timedelta(0), timedelta(days=-1)),
    datetime.fromtimestamp(NOW, UTC),
    datetime(1, 1, 1, tzinfo=UTC),
]


@pytest.mark.parametrize(("when", "due"), LATER, ids=repr)
def test_enqueue_in_takes_seconds_a_timedelta_and_a_datetime(
    client: Any, dump: Dump, when: Any, due: float
) -> None:
    first, second = client.enqueue_in(when, "A", 1), client.enqueue_to_in("low", when, "A", 2)

    found = parsed(dump())
    assert list(found) == ["schedule"]
    wanted = [(stored(first, **{"class": "A"}, args=[1]), due)]
    wanted += [(stored(second, **{"class": "A"}, args=[2], queue="low"), due)]
    assert sorted(found["schedule"], key=lambda entry: entry[0]["args"]) == wanted


@pytest.mark.parametrize("when", AT_ONCE, ids=repr)
def test_what_is_past_is_queued_at_once(client: Any, dump: Dump, when: Any) -> None:
    jid = client.enqueue_in(when, "A")

    assert parsed(dump()) == {"queues": ["default"], "queue:default": [queued(jid, **{"class": "A"})]}


@pytest.mark.parametrize(
    ("when", "why"),
    [
        (
            datetime.fromisoformat("2030-01-01"),
            r"has no time zone: use datetime\.now\(timezone\.utc\) or \.replace\(tzinfo",
        ),
        (datetime(2030, 1, 1, tzinfo=Nowhere()), "has no time zone"),
        ("60", "a time must be seconds, a timedelta or a datetime, not '60'"),
        (None, "a time must be seconds"),
        (True, "a time must be seconds"),
        (float("nan"), "a time must be seconds"),
        (float("inf"), "a time must be seconds"),
        (10**400, "a time must be seconds"),
        (Decimal(5), "a time must be seconds"),
    ],
)
def test_what_is_no_time_is_refused(client: Any, dump: Dump, when: Any, why: str) -> None:
    with pytest.raises(InvalidJob, match=why):
        client.enqueue_in(when, "A")
    assert dump() == {}


# -- refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ("A", "a job must be a dict with `class` and `args`, not 'A'"),
        ({"class": "A"}, "a job must be a dict with `class` and `args`"),
        ({"class": object, "args": []}, "class must be a job class or its name, not <class 'object'>"),
        ({"class": "A", "args": (1,)}, r"A: args must be a list, not \(1,\)"),
        ({"class": "A", "args": [], "at": "x"}, "A: at must be epoch seconds"),
        ({"class": "A", "args": [], "at": 10**400}, "A: at must be epoch seconds"),
        ({"class": "A", "args": [], "queue": "a b"}, "A: queue must be a name without spaces"),
        ({"class": "A", "args": [], "tags": "x"}, "A: tags must be a list"),
        ({"class": "A", "args": [], "retry_for": 2e9}, "A: retry_for must be a number of seconds"),
        ({"class": "A", "args": [], 1: 2}, "A: the job's keys must be text, not 1"),
    ],
)
def test_what_is_no_job_is_refused_and_nothing_written(client: Any, dump: Dump, item: Any, why: str) -> None:
    with pytest.raises(InvalidJob, match=why) as caught:
        client.push(item)
    assert isinstance(caught.value, SidekiqError)
    assert isinstance(caught.value, ValueError)
    assert dump() == {}


@pytest.mark.parametrize(
    ("args", "more", "why"),
    [
        ([1, (2,)], {}, r"A: argument 1 is \(2,\), a tuple; pass a list"),
        ([{"k": [0, {1}]}], {}, r"A: argument 0\['k'\]\[1\] is \{1\}, a set"),
        ([{5: 1}], {}, "A: argument 0 has the key 5, a int"),
        ([float("nan")], {}, "A: argument 0 is nan"),
        ([Decimal("1.5")], {}, r"a Decimal; pass str\(\) of it"),
        (["\ud800"], {}, "lone surrogate"),
        ([{1}], {"wrapped": "Real"}, "Real: argument 0"),
        ([], {"mine": object()}, "A: the job cannot be written as JSON"),
    ],
)
def test_what_json_would_change_is_refused_with_its_path(
    client: Any, dump: Dump, args: list[Any], more: dict[str, Any], why: str
) -> None:
    with pytest.raises(UnserializableArguments, match=why):
        client.push({"class": "A", "args": args, **more})
    with pytest.raises(UnserializableArguments, match=why):
        client.push_bulk({"class": "A", "args": [args], **more})
    assert dump() == {}


@pytest.mark.parametrize("args", [[], [1, 2, 3]])
def test_arguments_that_do_not_fit_perform(client: Any, job: Any, dump: Dump, args: list[Any]) -> None:
    with pytest.raises(
        SignatureMismatch, match=rf"perform\(a, b='b'\) cannot take {len(args)} arguments: "
    ) as caught:
        client.enqueue(job, *args)
    assert isinstance(caught.value, TypeError)
    assert dump() == {}


def test_a_huge_argument_is_not_repeated_in_the_error(client: Any, job: Any) -> None:
    with pytest.raises(SignatureMismatch) as caught:
        client.enqueue(job, "x" * 100_000, 2, 3)
    assert len(str(caught.value)) < 400


def test_a_job_over_the_limit(app: Sidekiq, client: Any, dump: Dump) -> None:
    app.config.payload_limit = 200
    client.enqueue("A")
    before = dump()
    with pytest.raises(
        PayloadTooLarge, match=r"^A: the job is [\d,]+ bytes, payload_limit is 200: store the data"
    ):
        client.enqueue("A", "x" * 200)
    assert dump() == before


def test_abstract_classes_are_no_jobs(app: Sidekiq, client: Any, dump: Dump) -> None:
    class Base(app.Job):
        abstract = True

    for kind in (Base, app.Job):
        with pytest.raises(InvalidJob, match=r"is abstract: only its subclasses are jobs"):
            client.enqueue(kind)
    assert dump() == {}


def test_what_is_refused_is_told_before_the_server_is_asked(app: Sidekiq, client: Any) -> None:
    app.config.redis = "redis://127.0.0.1:1"
    with pytest.raises(InvalidJob):
        client.push({"class": "A", "args": "x"})
    with pytest.raises(InvalidJob):
        client.push_bulk({"class": "A", "args": "x"})
    with pytest.raises(RedisError, match=r"127\.0\.0\.1:1"):
        client.push({"class": "A", "args": []})


def test_strict_args_warn(app: Sidekiq, client: Any, dump: Dump) -> None:
    app.config.strict_args = "warn"
    with pytest.warns(UserWarning, match=r"A: argument 0 is \(1, 2\), a tuple; pass a list") as caught:
        jid = client.enqueue("A", (1, 2))
    with pytest.warns(UserWarning, match=r"A: argument 0 is \(1, 2\), a tuple; pass a list") as in_bulk:
        client.push_bulk({"class": "A", "args": [[(1, 2)]]})
    # Where the user called us, not somewhere inside: Python shows each place once.
    for warning in (*caught, *in_bulk):
        assert Path(warning.filename).parent.name == "tests"
    assert parsed(dump())["queue:default"][1] == queued(jid, **{"class": "A"}, args=[[1, 2]])


def test_strict_args_none(app: Sidekiq, client: Any, dump: Dump) -> None:
    app.config.strict_args = "none"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jid = client.enqueue("A", (1, 2), {5: 1})
    assert parsed(dump())["queue:default"] == [queued(jid, **{"class": "A"}, args=[[1, 2], {"5": 1}])]
    with pytest.raises(UnserializableArguments):
        client.enqueue("A", float("nan"))
