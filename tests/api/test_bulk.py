"""Actions on all entries of a set, or on those of a class, with a tag, with a text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidekiq_lua import DeadSet, Progress, RetrySet, ScheduledSet, Sidekiq
from sidekiq_lua.errors import ConfigurationError
from sidekiq_lua.store import Transport

MANY = 2300


@pytest.fixture
def retries(app: Sidekiq, redis: Any, raw: Any) -> RetrySet:
    """Jobs of the classes A and B, one in ten with a tag; many have the same score."""
    entries = {
        raw(n, **{"class": "AB"[n % 2]}, retry_count=3, **({"tags": ["vip"]} if n % 10 == 0 else {})): float(
            n // 3
        )
        for n in range(MANY)
    }
    redis.zadd("retry", entries)
    return RetrySet(app)


def args(texts: list[bytes]) -> list[int]:
    return [json.loads(text)["args"][0] for text in texts]


def test_retry_all(retries: RetrySet, redis: Any) -> None:
    told: list[Progress] = []

    result = retries.retry_all(progress=told.append)

    assert result == told[-1] == Progress(total=MANY, seen=MANY, done=MANY)
    assert [step.done for step in told] == [1000, 2000, MANY]
    pushed = redis.lrange("queue:default", 0, -1)
    assert sorted(args(pushed)) == list(range(MANY))
    # Those that are due first run first.
    assert [n // 3 for n in args(pushed[::-1])] == sorted(n // 3 for n in range(MANY))
    assert {json.loads(text)["retry_count"] for text in pushed} == {2}
    assert redis.exists("retry") == 0


def test_enqueue_all_keeps_the_count(app: Sidekiq, redis: Any, raw: Any) -> None:
    redis.zadd("schedule", {raw(1, retry_count=3): 5.0})
    assert ScheduledSet(app).enqueue_all().done == 1
    assert json.loads(redis.lpop("queue:default"))["retry_count"] == 3


@pytest.mark.parametrize(
    ("conditions", "chosen"),
    [
        ({"job_class": "A"}, lambda n: n % 2 == 0),
        ({"tag": "vip"}, lambda n: n % 10 == 0),
        ({"tag": "vip", "text": '"args":[1*'}, lambda n: n % 10 == 0 and str(n)[0] == "1"),
        ({"job_class": "B", "tag": "vip"}, lambda n: False),
    ],
)
@pytest.mark.parametrize("action", ["retry_all", "kill_all", "delete_all"])
def test_filtered(
    retries: RetrySet, redis: Any, conditions: dict[str, Any], chosen: Any, action: str
) -> None:
    wanted = {n for n in range(MANY) if chosen(n)}

    result = getattr(retries, action)(**conditions)

    assert result == Progress(total=MANY, seen=MANY, done=len(wanted))
    assert set(args(redis.zrange("retry", 0, -1))) == set(range(MANY)) - wanted
    there = {"retry_all": redis.lrange("queue:default", 0, -1), "kill_all": redis.zrange("dead", 0, -1)}
    assert set(args(there.get(action, []))) == (wanted if action != "delete_all" else set())


def test_kill_all_tells_death_handlers_if_asked(app: Sidekiq, retries: RetrySet, redis: Any) -> None:
    told: list[Any] = []
    app.config.death_handlers.append(lambda payload, error: told.append((payload["args"][0], error)))

    retries.kill_all(tag="vip")
    assert told == []
    cause = ValueError("why")
    retries.kill_all(notify_failure=True, ex=cause)

    assert sorted(n for n, _ in told) == [n for n in range(MANY) if n % 10]
    assert {error for _, error in told} == {cause}
    assert (redis.zcard("dead"), redis.exists("retry")) == (MANY, 0)


def test_kill_all_keeps_the_dead_set_small(app: Sidekiq, retries: RetrySet, redis: Any) -> None:
    app.config.dead_max_jobs = 50
    assert retries.kill_all().done == MANY
    assert (redis.zcard("dead"), redis.exists("retry")) == (49, 0)
    with pytest.raises(ConfigurationError, match="dead already"):
        DeadSet(app).kill_all()


def test_what_cannot_be_pushed_stays(app: Sidekiq, redis: Any, raw: Any, log: Any) -> None:
    redis.zadd("retry", {b"no JSON": 1.0, raw(1, queue="bad"): 2.0, raw(2): 3.0, raw(3): 4.0, b"[]": 5.0})
    redis.set("queue:bad", "a string")

    @app.config.client_middleware.add
    class Refuse:
        def call(self, job_class: Any, payload: Any, queue: str, pool: Any, next: Any) -> Any:
            if payload["args"] == [2]:
                raise ValueError("not this one")
            return next()

    assert RetrySet(app).retry_all() == Progress(total=5, seen=5, done=1, left=4)
    assert redis.zrange("retry", 0, -1) == [b"no JSON", raw(1, queue="bad"), raw(2), b"[]"]
    assert log.getvalue().count("stays there") == 1


def test_a_crash_in_the_middle_loses_nothing(app: Sidekiq, retries: RetrySet, redis: Any) -> None:
    def crash(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retries.retry_all(progress=crash)
    pushed, waiting = redis.lrange("queue:default", 0, -1), redis.zrange("retry", 0, -1)
    assert (len(pushed), sorted(args(pushed + waiting))) == (1000, list(range(MANY)))

    assert retries.retry_all().done == MANY - 1000
    assert sorted(args(redis.lrange("queue:default", 0, -1))) == list(range(MANY))


def test_jobs_that_come_back_do_not_keep_it_going(app: Sidekiq, retries: RetrySet, redis: Any) -> None:
    """Workers run what is retried, it fails again, and goes to the set with a later time."""

    def fail_again(progress: Progress) -> None:
        for text in redis.lpop("queue:default", 5000) or []:
            redis.zadd("retry", {text: 800.0 + json.loads(text)["args"][0]})

    result = retries.retry_all(progress=fail_again)

    assert result.done + result.left <= MANY
    assert sorted(args(redis.zrange("retry", 0, -1))) == list(range(MANY))


def test_entries_that_others_take_meanwhile_are_theirs(app: Sidekiq, retries: RetrySet, redis: Any) -> None:
    taken: list[bytes] = []

    def take(progress: Progress) -> None:
        taken.extend(text for text, _ in redis.zpopmin("retry", 300))

    result = retries.delete_all(progress=take)

    assert (result.done + len(taken), redis.exists("retry")) == (MANY, 0)


def test_every_call_is_bounded(app: Sidekiq, retries: RetrySet, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, int] = {}
    run = Transport.run

    def measured(transport: Transport, call: Any) -> Any:
        sizes[call.script.name] = max(sizes.get(call.script.name, 0), len(call.argv))
        return run(transport, call)

    monkeypatch.setattr(Transport, "run", measured)
    retries.retry_all()
    assert sizes == {"stats": 0, "page": 6, "enqueue_entries": 1 + 1 + 4 * 100}


def test_an_empty_set(app: Sidekiq) -> None:
    told: list[Progress] = []
    assert RetrySet(app).retry_all(progress=told.append) == Progress(total=0)
    assert told == []
