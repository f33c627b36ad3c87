"""What becomes of a job that failed, by Sidekiq's arithmetic."""

import base64
import json
import random
import zlib
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from http import HTTPStatus

import pytest

from sidekiq_lua.errors import Shutdown
from sidekiq_lua.worker.retry import (
    NO_MESSAGE,
    Discard,
    Exhausted,
    Policy,
    Retry,
    caused_by_shutdown,
    class_name,
    decide,
    message_of,
)

NOW = 1_800_000_000.5


def policy(**changes):
    fields = {
        "max_retries": 25,
        "now": NOW,
        "stamp": int(NOW * 1000),
        "jitter": lambda limit: limit - 1,
        "retry_in": None,
        "clean": lambda lines: lines,
    }
    return Policy(**{**fields, **changes})


def job(**fields):
    return {"class": "HardJob", "args": [], "jid": "j", "queue": "default", "retry": True, **fields}


def raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


def test_the_first_failure_is_retried_after_15_seconds_and_jitter():
    outcome = decide(job(), "default", ValueError("boom"), True, policy())
    assert outcome == Retry(
        job(
            queue="default",
            error_message="boom",
            error_class="ValueError",
            failed_at=int(NOW * 1000),
            retry_count=0,
        ),
        NOW + 15 + 9,
    )


@pytest.mark.parametrize(("before", "count", "delay"), [(0, 1, 16), (1, 2, 31), (9, 10, 10_015)])
def test_later_failures_wait_for_count_to_the_fourth(before, count, delay):
    outcome = decide(job(retry_count=before, failed_at=1), "q", ValueError(), True, policy())
    assert outcome.payload["retry_count"] == count
    assert outcome.payload["retried_at"] == int(NOW * 1000)
    assert outcome.payload["failed_at"] == 1
    assert outcome.due == NOW + delay + 10 * (count + 1) - 1


@pytest.mark.parametrize("before", [-1, -2, -3])
def test_a_job_that_was_retried_by_hand_twice_without_failing_is_retried(before):
    """Each retry by hand takes one off the count, as in Ruby: a poison pill comes here with -2."""
    policy_ = policy(jitter=random.randrange)
    outcome = decide(job(retry_count=before, failed_at=1), "q", ValueError(), True, policy_)
    assert outcome.payload["retry_count"] == before + 1
    assert isinstance(outcome, Retry)
    assert outcome.due > NOW


def test_retry_2_runs_three_times_and_dies_with_retry_count_2():
    payload = job(retry=2)
    kinds = []
    for _ in range(3):
        outcome = decide(payload, "q", ValueError(), True, policy())
        kinds.append(type(outcome))
        payload = outcome.payload
    assert kinds == [Retry, Retry, Exhausted]
    assert payload["retry_count"] == 2


def test_retry_0_dies_at_the_first_error():
    assert isinstance(decide(job(retry=0), "q", ValueError(), True, policy()), Exhausted)


def test_retry_false_is_forgotten_and_left_as_it_was():
    payload = job(retry=False)
    assert decide(dict(payload), "q", ValueError(), True, policy()) == Discard(payload)


@pytest.mark.parametrize("stored", [{}, {"retry": None}])
@pytest.mark.parametrize(("option", "kind"), [(0, Exhausted), (False, Discard), (5, Retry), (True, Retry)])
def test_without_retry_in_the_payload_the_classs_option_counts(stored, option, kind):
    payload = {k: v for k, v in job().items() if k != "retry"} | stored
    assert isinstance(decide(payload, "q", ValueError(), option, policy()), kind)


def test_any_other_truthy_retry_means_max_retries():
    assert isinstance(
        decide(job(retry="yes", retry_count=1), "q", ValueError(), 0, policy(max_retries=3)), Retry
    )
    last = decide(job(retry="yes", retry_count=2), "q", ValueError(), 0, policy(max_retries=3))
    assert isinstance(last, Exhausted)


def test_the_queue_becomes_retry_queue_else_the_one_it_was_fetched_from():
    assert decide(job(), "fetched", ValueError(), True, policy()).payload["queue"] == "fetched"
    assert decide(job(retry_queue="slow"), "fetched", ValueError(), True, policy()).payload["queue"] == "slow"


class TestRetryFor:
    """With retry_for the number of retries does not count."""

    def test_within_the_time(self):
        payload = job(retry=0, retry_for=60, retry_count=99, failed_at=int((NOW - 59) * 1000))
        assert isinstance(decide(payload, "q", ValueError(), True, policy()), Retry)

    def test_after_the_time(self):
        payload = job(retry_for=60, retry_count=0, failed_at=int((NOW - 61) * 1000))
        assert isinstance(decide(payload, "q", ValueError(), True, policy()), Exhausted)

    def test_sidekiq_7_wrote_seconds(self):
        old = job(retry_for=60, retry_count=0, failed_at=NOW - 61.0)
        young = job(retry_for=60, retry_count=0, failed_at=NOW - 59.0)
        assert isinstance(decide(old, "q", ValueError(), True, policy()), Exhausted)
        assert isinstance(decide(young, "q", ValueError(), True, policy()), Retry)


class TestRetryIn:
    @pytest.mark.parametrize(
        ("wish", "delay"),
        [
            (1, 1), (2.9, 2), (timedelta(minutes=2), 120), (Decimal("3600.5"), 3600), (Fraction(7, 2), 3),
            (HTTPStatus.OK, 200),
        ],
    )  # fmt: skip
    def test_a_time_replaces_the_delay_and_keeps_the_jitter(self, wish, delay):
        outcome = decide(job(), "q", ValueError(), True, policy(retry_in=lambda *_: wish))
        assert outcome.due == NOW + delay + 9

    @pytest.mark.parametrize(
        "wish", [0, -5, 0.5, None, "later", True, float("nan"), float("inf"), 10**400, Decimal("sNaN")]
    )
    def test_anything_else_means_the_default(self, wish):
        assert decide(job(), "q", ValueError(), True, policy(retry_in=lambda *_: wish)).due == NOW + 15 + 9

    def test_kill_and_discard(self):
        killed = decide(job(), "q", ValueError(), True, policy(retry_in=lambda *_: "kill"))
        dropped = decide(job(), "q", ValueError(), True, policy(retry_in=lambda *_: "discard"))
        assert isinstance(killed, Exhausted)
        assert isinstance(dropped, Discard)
        assert dropped.payload["discarded_at"] == int(NOW * 1000)

    def test_it_is_called_with_count_error_and_payload(self):
        calls = []
        error = ValueError("x")
        decide(job(retry_count=1), "q", error, True, policy(retry_in=lambda *args: calls.append(args)))
        ((count, seen, payload),) = calls
        assert (count, seen, payload["error_message"]) == (2, error, "x")


class TestBacktrace:
    def unpack(self, payload):
        return json.loads(zlib.decompress(base64.b64decode(payload["error_backtrace"])))

    def test_all_lines_innermost_first(self):
        error = raised(ValueError())
        payload = decide(job(backtrace=True), "q", error, True, policy()).payload
        assert payload["error_backtrace"].startswith("eJ")
        assert [line.rsplit(":", 1)[1] for line in self.unpack(payload)] == ["in 'raised'"]

    def test_the_first_n_lines_after_the_cleaner(self):
        cleaner = policy(clean=lambda lines: ["a", "b", "c"])
        payload = decide(job(backtrace=2), "q", raised(ValueError()), True, cleaner).payload
        assert self.unpack(payload) == ["a", "b"]

    def test_none_without_the_option(self):
        assert "error_backtrace" not in decide(job(), "q", raised(ValueError()), True, policy()).payload


class TestHostilePayloads:
    """Other writers leave anything; a decision is taken all the same."""

    @pytest.mark.parametrize("count", ["3", 1.5, None, [], True])
    def test_a_count_that_is_none_starts_anew(self, count):
        assert decide(job(retry_count=count), "q", ValueError(), True, policy()).payload["retry_count"] == 0

    @pytest.mark.parametrize("failed_at", [None, "then", [], True])
    def test_a_first_failure_that_is_no_time_does_not_exhaust(self, failed_at):
        payload = job(retry_for=60, retry_count=0, failed_at=failed_at)
        assert isinstance(decide(payload, "q", ValueError(), True, policy()), Retry)

    def test_no_time_is_a_limit_too(self):
        payload = job(retry_for=0, failed_at=int(NOW * 1000) - 1, retry_count=0)
        assert isinstance(decide(payload, "q", ValueError(), True, policy()), Exhausted)

    @pytest.mark.parametrize("retry_for", ["1 day", [], True, False, None])
    def test_a_retry_for_that_is_no_number_is_ignored(self, retry_for):
        assert isinstance(
            decide(job(retry_for=retry_for, retry=0), "q", ValueError(), 1, policy()), Exhausted
        )


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no")


def test_messages_are_cut_and_always_text():
    assert message_of(ValueError("x" * 20_000)) == "x" * 10_000
    assert message_of(ValueError("a\udc80b")) == "a\ufffd\ufffd\ufffdb"
    assert message_of(Mute()) == NO_MESSAGE


def test_class_names_are_those_of_a_traceback():
    assert class_name(KeyError()) == "KeyError"
    assert class_name(json.JSONDecodeError("m", "d", 0)) == "json.decoder.JSONDecodeError"


def test_an_error_raised_because_of_the_hard_stop_is_a_hard_stop():
    error = ValueError()
    error.__context__ = KeyError()
    error.__context__.__cause__ = Shutdown()
    assert caused_by_shutdown(error)
    assert caused_by_shutdown(Shutdown())
    assert not caused_by_shutdown(ValueError())
    circle = ValueError()
    circle.__context__ = other = KeyError()
    other.__context__ = circle
    assert not caused_by_shutdown(circle)
