"""Whatever another writer leaves in a queue or a set: the worker goes on, and no payload is lost."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from fuzz.hostile import mark, payloads
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from waiting import wait_until

pytestmark = [
    # The worker's threads draw from `random` while a payload is made here.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
]
RUNS = int(os.environ.get("SIDEKIQ_LUA_TEST_FUZZ_RUNS", "0"))


OURS = {
    *("queue", "retry", "at", "jid", "created_at", "enqueued_at", "error_message", "error_class"),
    *("error_backtrace", "failed_at", "retried_at", "retry_count", "discarded_at"),
}
"""The fields that a failure or the scheduler writes."""


def read(lab: Any, raw: bytes) -> Any:
    """What the bytes mean, also where our reader takes what the standard library's refuses, such as `1.`"""
    try:
        return json.loads(raw)
    except json.JSONDecodeError:
        return lab.app.codec.load(raw)


def run(lab: Any, place: str, raws: list[bytes]) -> None:
    """Each payload ends in one place, or has run; its data is what it was, and nothing is left over."""
    lab.clear()
    lab.put(place, raws)
    lab.settle()
    for n, raw in enumerate(raws):
        # The death handler of a dropped job is called when nothing in Redis tells of the job any more.
        places = wait_until(lambda raw=raw, n=n: lab.places(raw, n), 10, f"{raw[:500]!r} is somewhere")
        assert len(places) == 1, (raw[:500], [name for name, _ in places])
        (name, text) = places[0]
        if n in lab.args:
            assert lab.args[n] == read(lab, raw)["args"], raw[:500]
        if text != raw:
            before, after = read(lab, raw), read(lab, text)
            assert after == {**after, **{k: v for k, v in before.items() if k not in OURS}}, (raw[:500], name)


@pytest.mark.timeout(3600 if RUNS else 60)
@settings(
    max_examples=RUNS or 60,
    derandomize=not RUNS,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a payload that is never settled takes seconds to notice, so nothing is shrunk
    suppress_health_check=list(HealthCheck),
)
@given(
    place=st.sampled_from(["queue", "retry", "schedule"]), made=st.lists(payloads(), min_size=4, max_size=20)
)
def test_no_payload_stops_the_worker_or_is_lost(lab: Any, place: str, made: list[Any]) -> None:
    run(lab, place, [mark(one, n) for n, one in enumerate(made)])
