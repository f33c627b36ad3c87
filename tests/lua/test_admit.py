"""admit.lua: what a blocking move delivered is kept, or put back."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import MINE, REGISTERED, RUNNING, job

from sidekiq_lua.errors import ScriptError


def test_a_job_is_kept(run: Any, put: Any, db: Any) -> None:
    before = {**REGISTERED, RUNNING: [job(1)], "paused": {"low"}}
    put(before)

    assert run(MINE.admit("default", job(1))) == "KEPT"

    assert db() == before


def test_a_job_of_a_paused_queue_goes_back_to_the_consuming_end(run: Any, put: Any, db: Any) -> None:
    before = {**REGISTERED, "paused": {"default"}}
    put(before, {RUNNING: [job(2), job(1)], "queue:default": [job(4), job(3)]})

    assert run(MINE.admit("default", job(1))) == "BACK"

    assert db() == {
        **before,
        RUNNING: [job(2)],
        "queue:default": [job(4), job(3), job(1)],
        "queues": {"default"},
    }


def test_a_job_that_another_process_recovered_is_gone(run: Any, put: Any, db: Any) -> None:
    before = {**REGISTERED, "paused": {"default"}, RUNNING: [job(2)]}
    put(before)

    assert run(MINE.admit("default", job(1))) == "GONE"

    assert db() == before


def test_an_owner_that_was_reaped_starts_nothing(run: Any, put: Any, db: Any) -> None:
    before = {RUNNING: [job(1)], "paused": {"default"}}
    put(before)

    assert run(MINE.admit("default", job(1))) == "REAPED"

    assert db() == before


def test_of_equal_payloads_one_goes_back(run: Any, put: Any, db: Any) -> None:
    before = {**REGISTERED, "paused": {"default"}}
    put(before, {RUNNING: [job(1), job(1)]})

    assert run(MINE.admit("default", job(1))) == "BACK"

    assert db() == {**before, RUNNING: [job(1)], "queue:default": [job(1)], "queues": {"default"}}


def test_a_queue_of_a_wrong_type_leaves_the_job_where_it_was(run: Any, put: Any, db: Any) -> None:
    before = {**REGISTERED, "paused": {"default"}, RUNNING: [job(1)], "queue:default": "a string"}
    put(before)

    with pytest.raises(ScriptError, match=r"^admit\.lua:\d+: WRONGTYPE"):
        run(MINE.admit("default", job(1)))

    assert db() == before
