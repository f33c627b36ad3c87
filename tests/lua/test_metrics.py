"""flush_metrics, read_hashes, job_metrics and mark_deploy: what ran, minute by minute."""

from __future__ import annotations

from typing import Any

import pytest
from keyspace import NOW, STORE

from sidekiq_lua.errors import RedisError
from sidekiq_lua.store.metrics import JobCounts
from sidekiq_lua.tally import Count

METRICS = STORE.metrics
MINUTE, TEN = "j|270115|8:00", "j|270115|8:0"
HISTOGRAM = "h|Echo-15-8:0"
ECHO = Count("Echo", 12, 2, 310, {0: 9, 7: 1})


def test_a_flush_writes_sidekiq_s_keys(run: Any, redis: Any) -> None:
    assert run(METRICS.flush("t", 1, NOW, [ECHO])) == (True, "")

    fields = {b"Echo|p": b"12", b"Echo|f": b"2", b"Echo|ms": b"310"}
    assert redis.hgetall(MINUTE) == fields
    assert redis.hgetall(TEN) == fields
    assert redis.get(HISTOGRAM) == b"\0\x09" + b"\0" * 12 + b"\0\1"
    ttls = {key: redis.ttl(key) for key in (MINUTE, HISTOGRAM, TEN, "lua:metrics:t")}
    assert ttls == {MINUTE: 28_800, HISTOGRAM: 28_800, TEN: 259_200, "lua:metrics:t": 259_200}
    assert redis.dbsize() == 4


def test_flushes_add_up_also_in_what_ruby_wrote(run: Any, put: Any, redis: Any) -> None:
    put({MINUTE: {"Echo|p": "1", "Ruby|p": "1"}, TEN: {"Echo|p": "1"}, HISTOGRAM: "\0\1"})

    for number in (1, 2):
        assert run(METRICS.flush("t", number, NOW, [ECHO])).added
    assert run(METRICS.flush("another", 2, NOW, [ECHO])).added

    assert redis.hgetall(MINUTE) == {
        b"Echo|p": b"37", b"Echo|f": b"6", b"Echo|ms": b"930", b"Ruby|p": b"1",
    }  # fmt: skip
    assert redis.hget(TEN, "Echo|p") == b"37"
    assert redis.get(HISTOGRAM)[:2] == b"\0\x1c"


def test_the_same_flush_counts_once(run: Any, redis: Any) -> None:
    call = METRICS.flush("t", 7, NOW, [ECHO])

    assert [run(call).added for _ in range(3)] == [True, False, False]

    assert redis.hget(MINUTE, "Echo|p") == b"12"


def test_only_failures_write_no_time_and_no_histogram(run: Any, db: Any) -> None:
    run(METRICS.flush("t", 1, NOW, [Count("Echo", 3, 3, 0, {})]))

    fields = {"Echo|p": "3", "Echo|f": "3"}
    assert db() == {MINUTE: fields, TEN: fields, "lua:metrics:t": "1"}


def test_counters_of_16_bits_stay_full(run: Any, redis: Any) -> None:
    for number in (1, 2):
        run(METRICS.flush("t", number, NOW, [Count("Echo", 40_000, 0, 0, {3: 40_000})]))

    assert redis.get(HISTOGRAM) == b"\0" * 6 + b"\xff\xff"


@pytest.mark.parametrize("key", [MINUTE, TEN, HISTOGRAM])
def test_a_foreign_key_refuses_the_flush_whole(run: Any, put: Any, db: Any, key: str) -> None:
    put({key: [b"a list"]})
    before = db()

    with pytest.raises(RedisError):
        run(METRICS.flush("t", 1, NOW, [Count("Other", 1, 0, 5, {0: 1}), ECHO]))

    assert db() == before


def test_a_foreign_field_is_told_and_the_rest_is_written(run: Any, put: Any, redis: Any) -> None:
    put({MINUTE: {"Echo|p": "many"}})

    added, problem = run(METRICS.flush("t", 1, NOW, [ECHO]))

    assert (added, problem) == (True, "ERR hash value is not an integer")
    assert redis.hmget(MINUTE, "Echo|p", "Echo|f") == [b"many", b"2"]
    assert redis.hget(TEN, "Echo|p") == b"12"


def test_a_bar_in_a_name_divides_nothing(run: Any, redis: Any) -> None:
    run(METRICS.flush("t", 1, NOW, [Count("A|p", 1, 0, 5, {0: 1})]))

    assert set(redis.hgetall(MINUTE)) == {b"A_p|p", b"A_p|ms"}
    assert run(METRICS.of_class("A|p", [NOW], ten=False))[0].runs == 1


# -- reads ----------------------------------------------------------------------------------


def test_minutes_are_read_in_order(run: Any, put: Any, db: Any) -> None:
    put({MINUTE: {"Echo|p": "1"}, "j|270115|7:58": {"Echo|p": "2", "Größe|ms": "3"}, TEN: {"Echo|p": "4"}})
    before = db()

    assert run(METRICS.minutes([NOW, NOW - 60, NOW - 120], ten=False)) == [
        {"Echo|p": 1},
        {},
        {"Echo|p": 2, "Größe|ms": 3},
    ]
    assert run(METRICS.minutes([NOW, NOW - 600], ten=True)) == [{"Echo|p": 4}, {}]
    assert db() == before


def test_many_fields_end_a_read(run: Any, put: Any) -> None:
    put({MINUTE: {f"C{n}|p": "1" for n in range(1000)}})

    assert len(run(METRICS.minutes([NOW, NOW - 60, NOW - 120], ten=False))) == 1


def test_one_class_with_its_histogram(run: Any, put: Any, db: Any) -> None:
    put({MINUTE: {"Echo|p": "3", "Echo|ms": "5"}, HISTOGRAM: "\0\2\0\1"})
    before = db()
    nothing = JobCounts(None, None, None, [])

    assert run(METRICS.of_class("Echo", [NOW, NOW - 60], ten=False)) == [
        JobCounts(3, None, 5, [2, 1, *[0] * 24]),
        nothing,
    ]
    assert run(METRICS.of_class("Echo", [NOW], ten=True)) == [nothing]
    assert db() == before


# -- marks ----------------------------------------------------------------------------------

STAMP = "2027-01-15T08:00:00Z"


def test_a_mark_and_its_lock(run: Any, redis: Any, db: Any) -> None:
    assert run(METRICS.mark(STAMP, "v2 größer"))

    assert db() == {"20270115-marks": {STAMP: "v2 größer"}, "deploylock-v2 größer": STAMP}
    assert redis.ttl("20270115-marks") == 7_776_000
    assert redis.ttl("deploylock-v2 größer") == 60
    assert run(METRICS.marks(["2027-01-14", "2027-01-15"])) == [{}, {STAMP: "v2 größer"}]


def test_a_label_is_marked_once_in_a_minute(run: Any, redis: Any) -> None:
    assert run(METRICS.mark(STAMP, "v2"))

    assert not run(METRICS.mark("2027-01-15T08:01:00Z", "v2"))

    assert redis.hlen("20270115-marks") == 1


def test_the_first_mark_of_a_minute_stays(run: Any, redis: Any) -> None:
    assert run(METRICS.mark(STAMP, "first"))

    assert not run(METRICS.mark(STAMP, "second"))

    assert redis.hgetall("20270115-marks") == {STAMP.encode(): b"first"}
