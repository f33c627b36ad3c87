"""Client middleware around pushes: what it sees, stops, changes and breaks."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from both_clients import NOW, app, client, parsed, queued, stored

from sidekiq_lua import Sidekiq
from sidekiq_lua.errors import ConfigurationError, InvalidJob, UnserializableArguments

Dump = Callable[[], dict[str, Any]]
Around = Callable[[dict[str, Any], Callable[[], Any]], Any]


@pytest.fixture
def job(app: Sidekiq) -> Any:
    class ThisJob(app.Job):
        sidekiq_options = {"tags": ["x"]}

        def perform(self, *args): ...

    return ThisJob


@pytest.fixture
def around(app: Sidekiq) -> Callable[[Around], None]:
    """Add a middleware that is `function(payload, next)`."""

    def add(function: Around) -> None:
        class Middleware:
            def call(self, job_class, payload, queue, redis, next):
                return function(payload, next)

        app.config.client_middleware.add(Middleware)

    return add


def test_what_it_is_given_and_in_which_order(app: Sidekiq, client: Any, job: Any, url: str) -> None:
    seen: list[Any] = []

    class Outer:
        def call(self, job_class, payload, queue, redis, next):
            seen.append((job_class, payload["args"], queue, redis))
            result = next()
            seen.append(("outer got", result is payload))
            return result

    class Inner:
        def call(self, job_class, payload, queue, redis, next):
            seen.append("inner")
            return next()

    app.config.client_middleware.add(Outer)
    app.config.client_middleware.add(Inner)
    client.enqueue(job, 1)
    client.push({"class": "A", "args": [2], "queue": "low", "pool": url})

    assert seen == [
        *((job, [1], "default", None), "inner", ("outer got", True)),
        *(("A", [2], "low", url), "inner", ("outer got", True)),
    ]


@pytest.mark.parametrize("answer", [None, False, ""])
def test_it_can_stop_a_push(
    app: Sidekiq, client: Any, job: Any, around: Any, dump: Dump, answer: Any
) -> None:
    around(lambda payload, next: answer if payload["args"] == [2] else next())

    assert client.push({"class": job, "args": [2]}) is None
    assert client.enqueue_in(60, job, 2) is None
    assert job.perform_async(2) is None
    assert client.push_bulk({"class": job, "args": [[2], [2]]}) == [None, None]
    assert dump() == {}

    first, stopped, third = client.push_bulk({"class": job, "args": [[1], [2], [3]]})
    assert stopped is None
    assert [payload["jid"] for payload in parsed(dump())["queue:default"]] == [third, first]


def test_it_can_change_anything(client: Any, around: Any, dump: Dump) -> None:
    def change(payload: dict[str, Any], next: Any) -> Any:
        payload.update({"class": "B", "args": [7], "queue": "other", "jid": "mine", "tenant": 5})
        return next()

    around(change)
    assert client.enqueue("A", 1) == "mine"
    wanted = queued("mine", **{"class": "B"}, args=[7], queue="other", tenant=5)
    assert parsed(dump()) == {"queues": ["other"], "queue:other": [wanted]}


def test_it_can_answer_another_payload(client: Any, around: Any, dump: Dump) -> None:
    around(lambda payload, next: {**next(), "args": ["new"]})
    jid = client.enqueue("A", 1)
    assert parsed(dump())["queue:default"] == [queued(jid, **{"class": "A"}, args=["new"])]


def test_the_jobs_of_a_bulk_may_go_to_several_queues_and_times(client: Any, around: Any, dump: Dump) -> None:
    def route(payload: dict[str, Any], next: Any) -> Any:
        where = payload["args"][0]
        if where == "later":
            payload["at"] = NOW + 60
        else:
            payload["queue"] = where
        return next()

    around(route)
    jids = client.push_bulk({"class": "A", "args": [["a"], ["b"], ["later"], ["a"]]})

    a = {"class": "A"}
    assert parsed(dump()) == {
        "queues": ["a", "b"],
        "queue:a": [queued(jids[n], **a, queue="a", args=["a"]) for n in (3, 0)],
        "queue:b": [queued(jids[1], **a, queue="b", args=["b"])],
        "schedule": [(stored(jids[2], **a, args=["later"]), NOW + 60)],
    }


def test_it_can_take_the_time_away(client: Any, around: Any, dump: Dump) -> None:
    around(lambda payload, next: payload.pop("at", None) and next())
    first, second = client.push_bulk({"class": "A", "args": [[1], [2]], "at": NOW + 60})

    found = parsed(dump())
    assert list(found) == ["queue:default", "queues"]
    assert [payload["jid"] for payload in found["queue:default"]] == [second, first]


def test_what_it_appends_stays_in_that_job(client: Any, job: Any, around: Any, dump: Dump) -> None:
    def tag(payload: dict[str, Any], next: Any) -> Any:
        payload["tags"].append(f"n{payload['args'][0]}")
        payload["args"].append("more")
        return next()

    around(tag)
    args = [1]
    client.push({"class": job, "args": args})
    client.push_bulk({"class": job, "args": [[2], [3]]})

    assert args == [1]
    assert job.get_sidekiq_options() == {"tags": ["x"]}
    found = parsed(dump())["queue:default"]
    assert [payload["tags"] for payload in found] == [["x", "n3"], ["x", "n2"], ["x", "n1"]]
    assert found[0]["args"] == [3, "more"]


def test_its_errors_reach_the_caller_and_nothing_is_written(client: Any, around: Any, dump: Dump) -> None:
    def fail(payload: dict[str, Any], next: Any) -> Any:
        next()
        raise LookupError("no tenant")

    around(fail)
    with pytest.raises(LookupError, match="no tenant"):
        client.enqueue("A")
    with pytest.raises(LookupError, match="no tenant"):
        client.push_bulk({"class": "A", "args": [[1], [2]]})
    assert dump() == {}


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        ({"args": [{1}]}, UnserializableArguments, "A: argument 0 is {1}, a set"),
        ({"args": "x"}, InvalidJob, "A: args must be a list"),
        ({"at": "soon"}, InvalidJob, "A: at must be epoch seconds"),
        ({"class": 5}, InvalidJob, "class must be a job class or its name"),
        ({"queue": ""}, InvalidJob, "A: client middleware made '' the job's queue"),
        ({"queue": "a b"}, InvalidJob, "A: client middleware made 'a b' the job's queue"),
        ({"queue": None}, InvalidJob, "A: client middleware made None the job's queue"),
        ({"jid": None}, InvalidJob, "A: client middleware made None the job's jid"),
    ],
)
def test_what_it_left_is_checked(
    client: Any, around: Any, dump: Dump, change: dict[str, Any], error: type[Exception], why: str
) -> None:
    around(lambda payload, next: payload.update(change) or next())
    with pytest.raises(error) as caught:
        client.enqueue("A", 1)
    assert why in str(caught.value)
    assert dump() == {}


@pytest.mark.parametrize("answer", [True, "yes", [1]])
def test_an_answer_that_is_no_job(client: Any, around: Any, dump: Dump, answer: Any) -> None:
    around(lambda payload, next: next() and answer)
    with pytest.raises(
        ConfigurationError, match=r"client middleware must answer what next\(\) answers, or None"
    ):
        client.enqueue("A")
    assert dump() == {}


def test_the_signature_is_checked_before_it_and_the_limit_after(
    app: Sidekiq, client: Any, around: Any, dump: Dump
) -> None:
    class OneJob(app.Job):
        def perform(self, a): ...

    seen = []
    around(lambda payload, next: seen.append(payload["args"]) or next())
    with pytest.raises(InvalidJob, match="cannot take 2 arguments"):
        client.enqueue(OneJob, 1, 2)
    with pytest.raises(UnserializableArguments):
        client.enqueue(OneJob, {1})
    assert seen == [[{1}]]
    assert dump() == {}


def test_an_async_one_is_refused(app: Sidekiq, client: Any, dump: Dump) -> None:
    class Async:
        async def call(self, job_class, payload, queue, redis, next):
            return await next()

    app.config.client_middleware.add(Async)
    with pytest.raises(ConfigurationError, match=r"Async\.call is `async def`"):
        client.enqueue("A")
    assert dump() == {}
