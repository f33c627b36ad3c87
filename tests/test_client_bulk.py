"""push_bulk and perform_bulk: slices, times, and how far a bulk came that failed."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, overload

import pytest
from both_clients import NOW, app, client, parsed, queued, stored

from sidekiq_lua import Sidekiq
from sidekiq_lua.enqueue import Enqueuer
from sidekiq_lua.errors import InvalidJob, SignatureMismatch, UnserializableArguments
from sidekiq_lua.store import fault

Dump = Callable[[], dict[str, Any]]


@pytest.fixture
def job(app: Sidekiq) -> Any:
    class BulkJob(app.Job):
        sidekiq_options = {"queue": "low"}

        def perform(self, a, b="b"): ...

    return BulkJob


def rows(n: int) -> list[list[int]]:
    return [[number] for number in range(n)]


def calls(redis: Any) -> int:
    """How many scripts the server has run."""
    return redis.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]


# -- what is written ------------------------------------------------------------------------


def test_each_job_has_a_jid_of_its_own_and_its_arguments(client: Any, job: Any, dump: Dump) -> None:
    jids = client.push_bulk({"class": job, "args": [[1], [2, "x"], (3,)], "tags": ["t"]})

    assert len({re.fullmatch("[0-9a-f]{24}", jid)[0] for jid in jids}) == 3  # type: ignore[index]
    common = {"class": "BulkJob", "queue": "low", "tags": ["t"]}
    wanted = [queued(jid, **common, args=args) for jid, args in zip(jids, ([1], [2, "x"], [3]), strict=True)]
    assert parsed(dump()) == {"queues": ["low"], "queue:low": wanted[::-1]}


def test_no_jobs_are_nothing(client: Any, job: Any, dump: Dump) -> None:
    assert client.push_bulk({"class": job, "args": []}) == []
    assert client.push_bulk({"class": job, "args": [], "at": []}) == []
    assert job.perform_bulk([]) == []
    assert dump() == {}


def test_a_jid_can_be_given_for_one_job_only(client: Any, dump: Dump) -> None:
    assert client.push_bulk({"class": "A", "args": [[1]], "jid": "mine"}) == ["mine"]
    before = parsed(dump())
    assert before["queue:default"] == [queued("mine", **{"class": "A"}, args=[1])]
    with pytest.raises(InvalidJob, match="A: jid cannot be given for more than one job"):
        client.push_bulk({"class": "A", "args": [[1], [2]], "jid": "mine"})
    assert parsed(dump()) == before


# -- when -----------------------------------------------------------------------------------


def test_at_is_absolute_for_all_or_for_each(client: Any, redis: Any, dump: Dump) -> None:
    (first,) = client.push_bulk({"class": "A", "args": [[1]], "at": 60})
    second, third, fourth = client.push_bulk(
        {"class": "A", "args": [[2], [3], [4]], "at": [NOW + 5.5, None, NOW + 7]}
    )

    a = {"class": "A"}
    assert parsed(dump()) == {
        "schedule": [
            (stored(first, **a, args=[1]), 60.0),
            (stored(second, **a, args=[2]), NOW + 5.5),
            (stored(fourth, **a, args=[4]), NOW + 7),
        ],
        "queues": ["default"],
        "queue:default": [queued(third, **a, args=[3])],
    }


def test_perform_bulk_at_60_means_in_60_seconds(job: Any, dump: Dump) -> None:
    job.perform_bulk([[1]], at=60)
    job.set(wait=5).perform_bulk([[2]], at=timedelta(minutes=2))
    job.set(wait=180).perform_bulk([[3]])
    job.perform_bulk([[4], [5], [6]], at=[NOW + 240, datetime.fromtimestamp(NOW + 300, UTC), -1])

    found = parsed(dump())
    scores = {payload["args"][0]: due for payload, due in found["schedule"]}
    assert scores == {1: NOW + 60, 2: NOW + 120, 3: NOW + 180, 4: NOW + 240, 5: NOW + 300}
    assert [payload["args"] for payload in found["queue:low"]] == [[6]]


@pytest.mark.parametrize("at", [0, -5, NOW - 1, [0, -5]])
def test_perform_bulk_puts_what_is_past_in_the_queue_at_once(job: Any, dump: Dump, at: Any) -> None:
    job.set(wait=60).perform_bulk([[1], [2]], at=at)

    assert list(dump()) == ["queue:low", "queues"]


@pytest.mark.parametrize(("spread", "width"), [(100, 100), (0.5, 5)])
def test_spread_interval_is_at_least_5_seconds(
    client: Any, job: Any, dump: Dump, spread: float, width: float
) -> None:
    client.push_bulk({"class": "A", "args": rows(200), "spread_interval": spread})
    job.perform_bulk(rows(200), spread_interval=spread)

    due = [score for _, score in parsed(dump())["schedule"]]
    assert len(set(due)) > 390
    assert NOW <= min(due) < NOW + width * 0.1
    assert NOW + width * 0.9 < max(due) <= NOW + width


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"at": 5, "spread_interval": 5}, "A: give at or spread_interval, not both"),
        ({"at": [1]}, "A: at has 1 times for 2 jobs"),
        ({"at": [1, "x"]}, "A: at must be epoch seconds or a list of them"),
        ({"at": "12"}, "A: at must be epoch seconds or a list of them"),
        ({"at": [1, float("nan")]}, "A: at must be epoch seconds or a list of them"),
        ({"spread_interval": 0}, "A: spread_interval must be a number of seconds above 0"),
        ({"spread_interval": "5"}, "A: spread_interval must be a number of seconds above 0"),
        ({"batch_size": 0}, "A: batch_size must be a number of jobs"),
        ({"batch_size": True}, "A: batch_size must be a number of jobs"),
        ({"args": [1, 2]}, "A: bulk args must be a list of lists, not 1"),
        ({"args": ["ab", "cd"]}, "A: bulk args must be a list of lists, not 'ab'"),
        ({"args": "ab"}, "A: bulk args must be a list of lists, one for each job, not 'ab'"),
        ({"args": iter([[1]])}, "A: bulk args must be a list of lists, one for each job, not <list_iter"),
        ({"class": None}, "class must be a job class or its name"),
        ({"queue": ""}, "A: queue must be a name"),
    ],
)
def test_what_is_refused(client: Any, dump: Dump, more: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidJob, match=re.escape(why)):
        client.push_bulk({"class": "A", "args": [[1], [2]], **more})
    assert dump() == {}


@pytest.mark.parametrize("item", ["A", None, {"args": [[1]]}, {"class": "A"}])
def test_what_is_no_bulk(client: Any, dump: Dump, item: Any) -> None:
    with pytest.raises(InvalidJob):
        client.push_bulk(item)
    assert dump() == {}


@pytest.mark.parametrize("at", ["60", datetime.fromisoformat("2030-01-01"), [60, "x"]])
def test_what_is_no_time_for_perform_bulk(job: Any, dump: Dump, at: Any) -> None:
    with pytest.raises(InvalidJob, match=r"a time must be|has no time zone"):
        job.perform_bulk([[1], [2]], at=at)
    assert dump() == {}


# -- slices ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "more", "slices"),
    [
        (1000, {}, 1),
        (1001, {}, 2),
        (100, {"at": NOW + 60}, 1),
        (101, {"at": NOW + 60}, 2),
        (101, {"spread_interval": 60}, 2),
        (101, {"at": [None] * 101}, 1),
        (10, {"batch_size": 4}, 3),
        (10, {"batch_size": 4, "at": NOW + 60}, 3),
        (250, {"batch_size": 1000, "at": NOW + 60}, 3),
        (2500, {"batch_size": 2500}, 1),
    ],
)
def test_a_call_carries_so_many_jobs(
    client: Any, redis: Any, n: int, more: dict[str, Any], slices: int
) -> None:
    client.enqueue("A")
    client.push({"class": "A", "args": [], "at": 1})
    before = calls(redis)

    assert len(set(client.push_bulk({"class": "A", "args": rows(n), **more}))) == n

    assert calls(redis) - before == slices
    assert redis.llen("queue:default") + redis.zcard("schedule") == n + 2


@pytest.mark.parametrize("more", [{}, {"at": 60}])
def test_a_call_carries_at_most_8_mb(client: Any, redis: Any, more: dict[str, Any]) -> None:
    client.enqueue("A")
    client.push({"class": "A", "args": [], "at": 1})
    before = calls(redis)

    # Twice 3.9 MB fit, and one of 9 MB goes alone.
    sizes = (3_900_000, 3_900_000, 9_000_000, 3_900_000, 100)
    jids = client.push_bulk({"class": "A", "args": [["x" * size] for size in sizes], **more})

    assert calls(redis) - before == 3
    stored_ = redis.zrange("schedule", 1, -1) if more else redis.lrange("queue:default", 0, -2)[::-1]
    assert sorted(json.loads(raw)["jid"] for raw in stored_) == sorted(jids)


class Lazy(Sequence[list[Any]]):
    """Rows that are made when they are asked for; each notes how many jobs Redis has by then."""

    def __init__(self, redis: Any, n: int, broken: dict[int, Any] | None = None) -> None:
        self._redis, self._n, self._broken = redis, n, broken or {}
        self.seen: list[int] = []

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> list[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[list[Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        self.seen.append(self._redis.llen("queue:default"))
        row = self._broken.get(index, [index])  # type: ignore[arg-type]
        if row is KeyError:
            raise KeyError("the user's own")
        return row


def test_rows_are_asked_for_slice_by_slice(client: Any, redis: Any) -> None:
    lazy = Lazy(redis, 10)
    client.push_bulk({"class": "A", "args": lazy, "batch_size": 4})

    assert lazy.seen == [0] * 4 + [4] * 4 + [8] * 2
    assert redis.llen("queue:default") == 10


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ([1, 2, 3], SignatureMismatch),
        ([{1}], UnserializableArguments),
        ("ab", InvalidJob),
        (KeyError, KeyError),
    ],
)
def test_an_error_in_a_later_slice_says_how_many_were_pushed(
    app: Sidekiq, client: Any, redis: Any, row: Any, error: type[Exception]
) -> None:
    class HereJob(app.Job):
        def perform(self, a, b="b"): ...

    with pytest.raises(error) as caught:
        client.push_bulk({"class": HereJob, "args": Lazy(redis, 10, {9: row}), "batch_size": 4})

    assert caught.value.__notes__ == ["8 jobs of this bulk were pushed before"]
    assert redis.llen("queue:default") == 8


def test_the_next_slice_is_made_while_the_server_works(app: Sidekiq, monkeypatch: Any) -> None:
    told: list[str] = []
    make = Enqueuer.calls

    def making(self: Enqueuer, payloads: list[Any], **words: Any) -> Any:
        told.append("made")
        return make(self, payloads, **words)

    monkeypatch.setattr(Enqueuer, "calls", making)
    monkeypatch.setattr(fault, "at", lambda stage, call: told.append(stage))
    app.client.push_bulk({"class": "A", "args": rows(6), "batch_size": 3})

    assert told == ["made", "before", "sent", "made", "after", "before", "sent", "after"]


@pytest.mark.parametrize("row", [[{1}], "ab"])
def test_what_is_wrong_with_it_is_raised_when_the_one_before_it_is_pushed(
    app: Sidekiq, redis: Any, row: Any
) -> None:
    with pytest.raises(InvalidJob) as caught:
        app.client.push_bulk({"class": "A", "args": [*rows(9), row], "batch_size": 4})

    assert caught.value.__notes__ == ["8 jobs of this bulk were pushed before"]
    assert redis.llen("queue:default") == 8
    app.client.push({"class": "A", "args": []})  # its connection is free again


def test_client_middleware_never_runs_while_a_connection_is_held(url: str) -> None:
    """It may want one, and here is one alone."""
    app = Sidekiq(redis={"url": url, "pool_size": 1})

    class Counting:
        def call(self, job_class: Any, job: Any, queue: Any, pool: Any, call_next: Any) -> Any:
            app.transport().command("INCR", "made")
            return call_next()

    app.config.client_middleware.add(Counting)
    app.client.push_bulk({"class": "A", "args": rows(6), "batch_size": 3})
    assert app.transport().command("GET", "made") == b"6"
    app.close()


def test_an_error_in_the_first_slice_has_no_such_note(client: Any, dump: Dump) -> None:
    with pytest.raises(UnserializableArguments) as caught:
        client.push_bulk({"class": "A", "args": [[1], [{1}]]})
    assert not hasattr(caught.value, "__notes__")
    assert dump() == {}
