"""requeue.lua and lib/put_back.lua: jobs go back to the consuming end of their queue."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import MINE, REGISTERED, RUNNING, job

from sidekiq_lua.errors import ScriptError


def test_the_oldest_is_taken_first_again(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(4), job(3), job(2), job(1)], "queue:default": [job(6), job(5)]})

    assert run(MINE.requeue("default", [job(1), job(3), job(4)])) == []

    assert db() == {
        "queues": {"default"},
        RUNNING: [job(2)],
        "queue:default": [job(6), job(5), job(4), job(3), job(1)],
    }


def test_a_fetch_brings_them_in_the_order_of_before(run: Any, put: Any) -> None:
    jobs = [job(n) for n in range(5)]
    put(REGISTERED, {"queue:default": jobs[::-1]})
    before = run(MINE.fetch(["default"], 5)).jobs

    run(MINE.requeue("default", [raw for _, raw in before]))

    assert run(MINE.fetch(["default"], 5)).jobs == before


def test_jobs_that_are_gone_are_told_by_position(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2)]})

    assert sorted(run(MINE.requeue("default", [job(1), job(2), job(3)]))) == [0, 2]

    assert db() == {"queues": {"default"}, "queue:default": [job(2)]}


def test_requeue_again_does_nothing_more(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(2), job(1)]})
    run(MINE.requeue("default", [job(1), job(2)]))
    after = db()

    assert sorted(run(MINE.requeue("default", [job(1), job(2)]))) == [0, 1]

    assert db() == after


def test_equal_payloads_are_two_jobs(run: Any, put: Any, db: Any) -> None:
    put({RUNNING: [job(1), job(1), job(1)]})

    assert run(MINE.requeue("default", [job(1), job(1)])) == []

    assert db() == {"queues": {"default"}, RUNNING: [job(1)], "queue:default": [job(1), job(1)]}


@pytest.mark.parametrize("key", ["queue:default", "queues"])
def test_a_wrong_type_leaves_every_job_where_it_was(run: Any, put: Any, db: Any, key: str) -> None:
    before = {RUNNING: [job(2), job(1)], key: "a string"}
    put(before)

    with pytest.raises(ScriptError, match=r"^requeue\.lua:\d+: WRONGTYPE"):
        run(MINE.requeue("default", [job(1), job(2)]))

    assert db() == before
