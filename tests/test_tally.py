"""The tally: nothing is lost or counted twice between threads that count and one that takes."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sidekiq_lua.tally import BOUNDS_MS, CLASSES, Batch, Count, Tally

ECHO = {"class": "Echo"}


def taken(tally: Tally) -> list[Count]:
    batch = tally.batch(0.0)
    if batch is None:
        return []
    tally.settle(batch)
    return batch.counts


def test_runs_failures_and_time() -> None:
    tally = Tally()
    tally.succeeded(ECHO, 0.0104)
    tally.succeeded(ECHO, 0.2501)
    tally.failed(ECHO)

    assert taken(tally) == [Count("Echo", 3, 1, 260, {0: 1, 7: 1})]
    assert taken(tally) == []


def test_parts_of_milliseconds_are_not_lost() -> None:
    tally = Tally()
    ms = 0
    for _ in range(10):
        tally.succeeded(ECHO, 0.00031)
        ms += sum(count.ms for count in taken(tally))

    assert ms == 3


@pytest.mark.parametrize("bucket", range(25))
def test_a_bound_is_the_first_of_the_next_bucket(bucket: int) -> None:
    tally = Tally()
    tally.succeeded(ECHO, BOUNDS_MS[bucket] / 1000 - 0.0001)
    tally.succeeded(ECHO, BOUNDS_MS[bucket] / 1000)

    assert taken(tally)[0].buckets == {bucket: 1, bucket + 1: 1}


def test_a_wrapped_job_counts_for_what_it_wraps() -> None:
    tally = Tally()
    wrapper = {"class": "Wrapper", "wrapped": "Inner"}
    tally.succeeded(wrapper, 0.001)
    tally.failed(wrapper)

    assert [(count.name, count.runs) for count in taken(tally)] == [("Inner", 2)]


@pytest.mark.parametrize("wrapped", [7, ["a"], {"a": 1}, "x" * 201, None, ""])
def test_what_cannot_be_a_name_counts_for_the_class(wrapped: Any) -> None:
    tally = Tally()
    tally.succeeded({"class": "Echo", "wrapped": wrapped}, 0.001)
    tally.failed({"class": "Echo", "wrapped": wrapped})

    assert [(count.name, count.runs) for count in taken(tally)] == [("Echo", 2)]


def test_hostile_names_do_not_fill_the_memory() -> None:
    tally = Tally()
    for n in range(1500):
        tally.succeeded({"class": "Echo", "wrapped": f"x{n}"}, 0.001)

    assert len(tally.totals()) == 1001
    assert tally.totals()["Echo"][2] == 500


def test_a_batch_stays_until_it_is_settled_and_then_has_only_what_is_new() -> None:
    tally = Tally()
    tally.succeeded(ECHO, 0.001)
    first = tally.batch(5.0)
    tally.succeeded(ECHO, 0.001)

    assert tally.batch(9.0) is first
    assert first == Batch(1, 5.0, [Count("Echo", 1, 0, 1, {0: 1})])
    tally.settle(first)
    assert tally.batch(9.0) == Batch(2, 9.0, [Count("Echo", 1, 0, 1, {0: 1})])


def test_a_refused_batch_is_part_of_the_next() -> None:
    tally = Tally()
    tally.succeeded(ECHO, 0.001)
    assert tally.batch(5.0)
    tally.refuse()
    tally.succeeded(ECHO, 0.001)

    assert tally.batch(9.0) == Batch(2, 9.0, [Count("Echo", 2, 0, 2, {0: 2})])


def test_many_classes_come_in_batches() -> None:
    tally = Tally()
    for n in range(CLASSES + 20):
        tally.failed({"class": f"C{n}"})

    assert [len(taken(tally)) for _ in range(3)] == [CLASSES, 20, 0]


def test_exact_among_threads() -> None:
    tally, done = Tally(), threading.Event()
    found: list[Count] = []

    def take() -> None:
        while not done.is_set():
            found.extend(taken(tally))

    def work(n: int) -> None:
        for i in range(5000):
            tally.succeeded({"class": f"C{i % 3}"}, 0.0001 * n)
            if i % 5 == 0:
                tally.failed({"class": f"C{i % 3}"})

    taker = threading.Thread(target=take)
    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    taker.start()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done.set()
    taker.join()
    found += taken(tally)

    assert sum(count.runs for count in found) == 4 * 6000
    assert sum(count.failed for count in found) == 4 * 1000
    assert sum(sum(count.buckets.values()) for count in found) == 4 * 5000
    assert abs(sum(count.ms for count in found) - 5000 * 0.1 * (0 + 1 + 2 + 3)) <= 3
