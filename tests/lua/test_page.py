"""page and waiting: reading a set or a queue that changes, page by page."""

from __future__ import annotations

import random
from typing import Any

import pytest
from keyspace import STORE, job

from sidekiq_lua.store.entries import Entry
from sidekiq_lua.store.pages import JobPage

PAGES = STORE.pages


def walk(run: Any, *, upward: bool, n: int, between: Any = lambda: None, text: bytes = b"") -> list[bytes]:
    """What page after page of `retry` brings; `between` happens after each."""
    found: list[bytes] = []
    after = None
    while True:
        page = run(PAGES.entries("retry", after, upward=upward, n=n, text=text))
        if page.last is None:
            return found
        found += [entry.raw for entry in page.entries]
        after = page.last
        between()


@pytest.mark.parametrize("upward", [True, False])
@pytest.mark.parametrize("n", [1, 3, 1000])
def test_a_set_comes_in_its_order(run: Any, put: Any, redis: Any, upward: bool, n: int) -> None:
    put({"retry": [(job(k), float(k // 4)) for k in range(40)]})
    expected = redis.zrange("retry", 0, -1, desc=not upward)

    assert walk(run, upward=upward, n=n) == expected


@pytest.mark.parametrize("upward", [True, False])
def test_bytes_decide_among_equal_scores_whatever_the_locale_says(run: Any, put: Any, upward: bool) -> None:
    members = [
        b"",
        b"a",
        b"B",
        b"a\x00",
        b"\xff",
        b"\xc3\xa9",
        b"Z" * 300,
        b"Z" * 300 + b"a",
        b"Z" * 299 + b"z",
    ]
    put({"retry": [(member, 5.0) for member in members]})
    for gone in members:
        page = run(PAGES.entries("retry", Entry(gone + b"!", 5.0), upward=upward))
        behind = [m for m in members if (m > gone + b"!") is upward]
        assert [entry.raw for entry in page.entries] == sorted(behind, reverse=not upward)


@pytest.mark.parametrize("upward", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_what_nobody_touches_comes_exactly_once(
    run: Any, put: Any, redis: Any, upward: bool, seed: int
) -> None:
    dice = random.Random(seed)
    put({"retry": [(job(k), float(dice.randrange(6))) for k in range(300)]})
    mine = {job(k) for k in range(0, 300, 3)}
    others = [job(k) for k in range(300) if k % 3]

    def change() -> None:
        for raw in dice.sample(others, 25):
            redis.zrem("retry", raw) if dice.random() < 0.5 else redis.zadd("retry", {raw: dice.randrange(6)})
        redis.zadd("retry", {job(dice.randrange(1000, 9999)): dice.randrange(6) for _ in range(5)})

    found = walk(run, upward=upward, n=7, between=change)

    assert sorted(raw for raw in found if raw in mine) == sorted(mine)


@pytest.mark.parametrize("upward", [True, False])
def test_infinite_scores_are_places_too(run: Any, put: Any, upward: bool) -> None:
    put({"retry": [(job(1), float("-inf")), (job(2), 0.0), (job(3), float("inf")), (job(4), float("inf"))]})

    assert walk(run, upward=upward, n=1) == [job(k) for k in ((1, 2, 3, 4) if upward else (4, 3, 2, 1))]


def test_a_text_is_looked_for_as_it_is(run: Any, put: Any) -> None:
    put({"retry": [(job(1, ',"a":"50%.*"'), 1.0), (job(2, ',"a":"5000"'), 2.0), (job(3), 3.0)]})

    assert walk(run, upward=True, n=1, text=b"50%.*") == [job(1, ',"a":"50%.*"')]
    assert run(PAGES.entries("retry", None, upward=True, text=b"nowhere")).looked_at == 3


def test_a_page_ends_with_its_bytes(run: Any, put: Any) -> None:
    large = [job(k, ',"a":"%s"' % ("x" * 300_000)) for k in range(9)]
    put({"retry": [(raw, 1.0) for raw in large], "queue:default": large})

    assert run(PAGES.entries("retry", None, upward=True)).looked_at == 4
    assert walk(run, upward=True, n=1000) == sorted(large)
    page = run(PAGES.jobs("default", None))
    assert (page.jobs, page.left, page.anchor) == (large[:4], 5, large[4])


# -- queues ---------------------------------------------------------------------------------


def test_a_queue_comes_newest_first(run: Any, put: Any) -> None:
    put({"queue:default": [job(k) for k in range(7)]})

    page = run(PAGES.jobs("default", None, n=3))
    assert page == JobPage([job(0), job(1), job(2)], 4, job(3))
    page = run(PAGES.jobs("default", page, n=3))
    assert page == JobPage([job(3), job(4), job(5)], 1, job(6))
    assert run(PAGES.jobs("default", page, n=3)) == JobPage([job(6)], 0, b"")
    assert run(PAGES.jobs("nowhere", None)) == JobPage([], 0, b"")


@pytest.mark.parametrize("back", [0, 1, 40, 99])
@pytest.mark.parametrize("taken", [0, 1, 40])
def test_the_next_page_is_found_again(run: Any, put: Any, redis: Any, back: int, taken: int) -> None:
    """Pushes, deletions, jobs taken and jobs that come back move a queue's jobs about."""
    put({"queue:default": [job(k) for k in range(300)]})
    page = run(PAGES.jobs("default", None, n=50))
    redis.lpush("queue:default", *(job(k) for k in range(1000, 1030)))
    for k in range(0, 50, 2):
        redis.lrem("queue:default", 1, job(k))
    if taken:
        redis.rpop("queue:default", taken)
    if back:
        redis.rpush("queue:default", *(job(k) for k in range(2000, 2000 + back)))

    page = run(PAGES.jobs("default", page, n=50))

    assert page.jobs == [job(k) for k in range(50, 100)]


def test_a_queue_that_was_emptied_ends(run: Any, put: Any, redis: Any) -> None:
    put({"queue:default": [job(k) for k in range(9)]})
    page = run(PAGES.jobs("default", None, n=3))
    redis.delete("queue:default")

    assert run(PAGES.jobs("default", page, n=3)) == JobPage([], 0, b"")


def test_where_the_anchor_is_gone_jobs_come_twice_rather_than_never(run: Any, put: Any, redis: Any) -> None:
    put({"queue:default": [job(k) for k in range(20)]})
    page = run(PAGES.jobs("default", None, n=5))
    for k in (5, 7, 9):
        redis.lrem("queue:default", 1, job(k))

    left = run(PAGES.jobs("default", page, n=50)).jobs

    assert {job(k) for k in range(6, 20) if k not in (7, 9)} <= set(left)
