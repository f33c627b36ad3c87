"""ScheduledSet, RetrySet and DeadSet, and one entry of them, on a real server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import ujson
from freezegun import freeze_time

from sidekiq_lua import DeadSet, Queue, RetrySet, ScheduledSet, Sidekiq, SortedEntry
from sidekiq_lua.errors import InvalidJob, JobKilled, UnparsablePayload

SETS = {"schedule": ScheduledSet, "retry": RetrySet, "dead": DeadSet}
NOW = "2026-11-24T02:56:40Z"
NOW_S = 1_795_489_000.0


@pytest.fixture(params=SETS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def filled(app: Sidekiq, redis: Any, raw: Any, name: str) -> Any:
    redis.zadd(name, {raw(n, retry_count=n, error_class="E"): float(n // 2) for n in range(6)})
    return SETS[name](app)


def first(entries: Any) -> SortedEntry:
    return next(iter(entries))


def test_looking(filled: Any, name: str) -> None:
    assert (filled.name, len(filled), filled.size, bool(filled)) == (name, 6, 6, True)
    assert [entry.args[0] for entry in filled] == [5, 4, 3, 2, 1, 0]
    entry = first(filled)
    assert (entry.score, entry.parent, entry.is_error, entry.id) == (2.0, name, True, f"2.0|{5:024}")
    assert (entry.at, entry.queue) == (datetime.fromtimestamp(2, UTC), "default")


def test_finding(filled: Any) -> None:
    assert filled.find_job(f"{3:024}").args == [3]
    assert filled.find_job("3") is None
    assert [entry.args[0] for entry in filled.scan('"args":[4]')] == [4]
    assert [entry.args[0] for entry in filled.scan("[5]*retry_count")] == [5]
    assert [entry.args[0] for entry in filled.select(job_class="A", text="[2]")] == [2]


@pytest.mark.parametrize("dumps", [json.dumps, ujson.dumps])
def test_finding_what_foreign_programs_wrote(app: Sidekiq, redis: Any, dumps: Any) -> None:
    """They may write é as \\u00e9, and / as \\/."""
    job = {"class": "Café", "args": [], "jid": "a/b", "tags": ["team/mail", "é"]}
    redis.zadd("retry", {dumps(job): 1, dumps({**job, "class": "Caf", "jid": "ab", "tags": []}): 1})
    redis.lpush("queue:default", dumps(job))
    retries = RetrySet(app)
    for wanted in ({"job_class": "Café"}, {"tag": "team/mail"}, {"tag": "é"}):
        assert [entry.jid for entry in retries.select(**wanted)] == ["a/b"]
    found = retries.find_job("a/b"), Queue("default", app).find_job("a/b")
    assert all(one and one.klass == "Café" for one in found)
    assert retries.delete_all(tag="é").done == 1
    assert retries.size == 1


def test_fetching_by_time(app: Sidekiq, redis: Any, raw: Any) -> None:
    start = 1_800_000_000
    redis.zadd("schedule", {raw(n): float(start + n // 2) for n in range(6)})
    scheduled = ScheduledSet(app)
    moment = datetime.fromtimestamp(start + 1, UTC)
    for score in (start + 1, moment):
        assert [entry.args[0] for entry in scheduled.fetch(score)] == [2, 3]
        assert [entry.args[0] for entry in scheduled.fetch(score, f"{3:024}")] == [3]
    assert [e.args[0] for e in scheduled.fetch((moment, moment + timedelta(seconds=1)))] == [2, 3, 4, 5]
    assert scheduled.fetch(start + 9) == []
    assert (scheduled.delete_by_jid(moment, f"{4:024}"), scheduled.delete_by_jid(moment, f"{2:024}")) == (
        False,
        True,
    )
    assert len(scheduled) == 5


def test_deleting(filled: Any, redis: Any, name: str) -> None:
    entry = first(filled)
    assert (entry.delete(), entry.delete(), redis.zcard(name)) == (True, False, 5)


def test_rescheduling(filled: Any, redis: Any, name: str) -> None:
    entry, stale = first(filled), first(filled)
    with freeze_time(NOW):
        assert entry.reschedule(60)
    assert (entry.score, redis.zscore(name, entry.value)) == (NOW_S + 60, NOW_S + 60)
    for act in (stale.delete, stale.retry, stale.add_to_queue, stale.kill, lambda: stale.reschedule(5)):
        assert act() is False
    assert entry.reschedule(datetime.fromtimestamp(2e9, UTC))
    assert redis.zscore(name, entry.value) == 2e9
    with pytest.raises(InvalidJob, match="no time zone"):
        entry.reschedule(datetime(2026, 1, 1))  # noqa: DTZ001
    assert (redis.zcard(name), redis.exists("queue:default")) == (6, 0)


@pytest.mark.parametrize(("act", "count"), [("retry", 4), ("add_to_queue", 5)])
def test_back_to_the_queue(filled: Any, redis: Any, name: str, act: str, count: int) -> None:
    redis.set(f"lua:crashes:{5:024}", 2)
    with freeze_time(NOW):
        assert getattr(first(filled), act)()
    pushed = json.loads(redis.lpop("queue:default"))
    assert (pushed["retry_count"], pushed["enqueued_at"], pushed["args"]) == (count, NOW_S * 1000, [5])
    assert (redis.zcard(name), redis.smembers("queues")) == (5, {b"default"})
    assert redis.exists(f"lua:crashes:{5:024}") == (0 if name == "dead" else 1)


def test_client_middleware_sees_it_and_may_stop_it(app: Sidekiq, filled: Any, redis: Any, name: str) -> None:
    seen = []

    @app.config.client_middleware.add
    class Watch:
        def call(self, job_class: Any, payload: Any, queue: str, pool: Any, next: Any) -> Any:
            seen.append((job_class, queue))
            return next() if payload["args"] != [5] else None

    entries = list(filled)
    assert entries[0].retry()
    assert entries[1].retry()
    assert (seen, redis.llen("queue:default"), redis.zcard(name)) == ([("A", "default")] * 2, 1, 4)


def test_what_is_no_job_is_not_pushed(app: Sidekiq, redis: Any, name: str) -> None:
    redis.zadd(name, {b"no JSON": 1.0})
    with pytest.raises(UnparsablePayload):
        first(SETS[name](app)).retry()
    assert redis.zcard(name) == 1


def test_killing(app: Sidekiq, filled: Any, redis: Any, name: str) -> None:
    told: list[Any] = []
    app.config.death_handlers.append(lambda payload, error: told.append((payload["args"], error)))
    app.config.death_handlers.append(lambda payload, error: 1 / 0)
    entry, other = list(filled)[:2]
    cause = ValueError("why")
    with freeze_time(NOW):
        assert entry.kill()
        assert other.kill(ex=cause)
        assert filled.find_job(f"{3:024}").kill(notify_failure=False)
    assert redis.zscore("dead", entry.value) == NOW_S
    assert (len(told), told[0][0], type(told[0][1]), told[1]) == (2, [5], JobKilled, ([4], cause))
    assert redis.zcard("dead") == (6 if name == "dead" else 3)


def test_editing_and_moving(filled: Any, redis: Any, name: str) -> None:
    entry = first(filled)
    assert entry.edit_args("new")
    assert entry.move_to("low")
    assert (entry.args, entry.queue, redis.zscore(name, entry.value), redis.zcard(name)) == (
        ["new"],
        "low",
        2.0,
        6,
    )
    with pytest.raises(InvalidJob):
        entry.edit_args(object())
    entry.delete()
    assert (entry.edit_args(1), entry.move_to("x"), entry.args) == (False, False, ["new"])


def test_adding_and_clearing(filled: Any, redis: Any, name: str) -> None:
    with freeze_time(NOW):
        filled.schedule(60, {"class": "B", "args": ["é"], "jid": "b"})
    assert redis.zscore(name, '{"class":"B","args":["é"],"jid":"b"}'.encode()) == NOW_S + 60
    with pytest.raises(InvalidJob):
        filled.schedule(60, {"class": "B"})
    assert (filled.clear(), len(filled)) == (7, 0)


def test_the_dead_set(app: Sidekiq, redis: Any, raw: Any) -> None:
    told: list[Any] = []
    app.config.death_handlers.append(lambda payload, error: told.append(payload["args"]))
    app.config.dead_max_jobs = 4
    dead = DeadSet(app)
    dead.kill(raw(1), trim=False)
    dead.kill(raw(2).decode(), notify_failure=False, trim=False)
    dead.kill({"class": "B", "args": [3]}, trim=False)
    dead.kill(b"no JSON", trim=False)
    redis.zadd("dead", {raw(9): 5.0})
    assert (told, len(dead)) == ([[1], [3]], 5)
    assert (dead.trim(), dead.trim(), len(dead)) == (2, 0, 3)
    redis.zadd("dead", {raw(n): 5.0 for n in range(10, 2600)})
    dead.kill(raw(4))
    assert len(dead) == 3


def test_equal_jobs_that_are_added_stay_two(app: Sidekiq) -> None:
    """A set holds equal texts once, and the second one was gone."""
    job, at = {"class": "B", "args": [1]}, 1_900_000_000
    for _ in range(2):
        ScheduledSet(app).schedule(at, job)
        with freeze_time(NOW):
            DeadSet(app).kill(job, trim=False)
    assert len(ScheduledSet(app)) == len(DeadSet(app)) == 2
    assert all(entry.jid for entry in ScheduledSet(app))
    ScheduledSet(app).schedule(at, {**job, "jid": "mine"})
    assert ScheduledSet(app).find_job("mine")
