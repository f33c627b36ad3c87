"""Jobs go from one language to the other, and between them when they fail."""

from __future__ import annotations

import json
import time

import pytest
from interop.harness import order
from interop.values import ARGS, DEEP

pytestmark = pytest.mark.interop


@pytest.fixture
def sides(python, ruby):
    return {"python": python, "ruby": ruby}


@pytest.mark.parametrize(("giver", "runner"), [("ruby", "python"), ("python", "ruby")])
def test_one_enqueues_and_the_other_runs(sides, events, settled, redis, giver, runner):
    worker = sides[runner].start("default", "low").ready()
    asked = sides[giver].produce_all(
        [
            order("EchoJob", *ARGS),
            order("EchoJob", "low", options={"queue": "low"}),
            order("EchoJob", "bulk", bulk=True, count=30),
            order("EchoJob", "soon", DEEP, in_=0.3),
            order("EchoJob", "terse", options={"log_level": "warning"}),
        ]
    )
    jids = [jid for some in asked for jid in some]
    assert len(set(jids)) == 34

    worker.wait_for(lambda: len(events()) >= 34 and settled(), "34 jobs")

    assert {event["lang"] for event in events()} == {runner}
    assert sorted(event["jid"] for event in events()) == sorted(jids)
    [echo] = events(jid=asked[0][0])
    assert json.dumps(echo["args"]) == json.dumps(ARGS)
    assert redis.exists("dead") == 0
    worker.stop()


@pytest.mark.parametrize(("first", "second"), [("ruby", "python"), ("python", "ruby")])
def test_a_job_fails_in_one_and_is_retried_in_the_other(
    sides, events, entry, due_now, settled, redis, first, second
):
    [[saved], [doomed]] = sides[second].produce_all(
        [order("FailOnceJob", *ARGS), order("FailAlwaysJob", "é ✓ 😀 /", options={"retry": 1})]
    )
    began = time.time()
    worker = sides[first].start().ready()
    worker.wait_for(lambda: entry("retry", saved) and entry("retry", doomed), "both jobs to fail")
    worker.stop()

    form = float if sides[first].form == "7" else int
    once = json.loads(entry("retry", saved)[0])
    assert once["args"] == ARGS
    assert (once["error_class"], once["error_message"]) == ("RuntimeError", "first try fails")
    assert (once["retry_count"], once["retry"], once["tags"]) == (0, 5, ["interop", "once"])
    assert {type(once[name]) for name in ("created_at", "enqueued_at", "failed_at")} == {form}
    # The class's delay of 60 s, and a jitter of 0 to 9 s.
    assert began + 60 <= entry("retry", saved)[1] <= time.time() + 69

    due_now("retry", saved)
    due_now("retry", doomed)
    other = sides[second].start().ready()
    # Ruby's poller takes a job out of `retry` before it is in a queue, and its fetch out of the queue.
    other.wait_for(
        lambda: entry("dead", doomed) and len(events(jid=saved)) == 2 and settled(), "the second runs"
    )
    other.stop()

    tries = [(event["lang"], event["first"]) for event in events(jid=saved)]
    assert tries == [(first, True), (second, False)]
    assert events(jid=saved)[1]["args"] == ARGS
    ends = [(event["lang"], event["event"]) for event in events(jid=doomed)]
    assert ends == [(first, "perform"), (second, "perform"), (second, "exhausted"), (second, "death")]
    dead = json.loads(entry("dead", doomed)[0])
    assert dead["error_class"] == {"ruby": "ArgumentError", "python": "ValueError"}[second]
    assert (dead["error_message"], dead["retry_count"]) == ("é ✓ 😀 /", 1)
    assert type(dead["failed_at"]) is type(dead["retried_at"]) is form
    assert dead["failed_at"] < dead["retried_at"]
    assert redis.zcard("dead") == 1
