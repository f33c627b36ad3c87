"""Iterable jobs that begin in one language and end in the other, with the cursor as the first left it."""

from __future__ import annotations

import json

import pytest

from sidekiq_lua import Sidekiq

pytestmark = pytest.mark.interop


@pytest.fixture
def kind(checkout):
    """Debian's Sidekiq has no iterable jobs."""
    return checkout


@pytest.fixture
def sides(python, ruby):
    return {"python": python, "ruby": ruby}


@pytest.fixture
def app(url):
    made = Sidekiq(redis=url)
    yield made
    made.close()


def items(events, lang):
    return [event["item"] for event in events(event="item") if event["lang"] == lang]


@pytest.mark.parametrize(("first", "second"), [("ruby", "python"), ("python", "ruby")])
@pytest.mark.parametrize("job_class", ["WalkJob", "PairsJob"])
def test_one_begins_and_the_other_goes_on(sides, events, settled, redis, first, second, job_class):
    [jid] = sides[second].produce(job_class, 60, 0.02)
    begun = sides[first].start().ready()
    begun.wait_for(lambda: len(items(events, first)) >= 20, "20 items")
    begun.stop()

    done = items(events, first)
    state = redis.hgetall(f"it-{jid}")
    cursor = json.loads(state[b"c"])
    assert (cursor[1] if job_class == "PairsJob" else cursor) == len(done) < 60
    assert state[b"ex"] == b"1"
    assert float(state[b"rt"]) > 0.3
    assert 2_591_000 < redis.ttl(f"it-{jid}") <= 2_592_000
    [raw] = redis.lrange("queue:default", 0, -1)
    assert json.loads(raw)["jid"] == jid

    other = sides[second].start().ready()
    other.wait_for(lambda: events(event="complete") and settled(), "the rest")
    other.stop()

    assert done == list(range(len(done)))
    assert items(events, second) == list(range(len(done), 60))
    assert [event["cursor"] for event in events(event="from")] == [None, cursor]
    assert [(e["lang"], e["event"]) for e in events() if e["event"] in ("start", "resume", "complete")] == [
        (first, "start"), (second, "resume"), (second, "complete"),
    ]  # fmt: skip
    assert not redis.exists(f"it-{jid}", "retry", "dead")


@pytest.mark.parametrize(
    ("canceller", "runner"), [("ruby", "python"), ("python", "ruby"), ("python", "python")]
)
def test_one_cancels_what_the_other_runs(sides, app, ruby, kind, events, settled, redis, canceller, runner):
    """Ruby's cancel leaves a state without a cursor, on which Ruby itself fails; ours is whole."""
    [jid] = sides[runner].produce("WalkJob", 60, 0.02)
    if canceller == "python":
        assert app.client.cancel(jid) is True
    else:
        [moment] = ruby.control("cancel", jid)
        assert redis.hgetall(f"it-{jid}") == {b"cancelled": str(moment).encode()}
        assert app.client.cancel(jid) is False
    worker = sides[runner].start().ready()
    worker.wait_for(lambda: events(event="complete") and settled(), "the end")
    worker.stop()
    told = ["start", "cancel", "complete"]
    if runner == "ruby" and kind.form == "7":
        told.remove("cancel")  # a hook that came with 8.0
    assert [event["event"] for event in events(jid=jid) if event["event"] != "from"] == told
    assert not redis.exists(f"it-{jid}", "retry", "dead")


def test_a_running_job_is_cancelled_across_languages(python, ruby, events, settled, redis):
    """Ruby cancels, and Python sees it at its next save, within 5 seconds."""
    [jid] = ruby.produce("WalkJob", 100_000, 0.02)
    worker = python.start().ready()
    worker.wait_for(lambda: len(items(events, "python")) >= 5, "5 items")
    ruby.control("cancel", jid)
    worker.wait_for(lambda: events(event="complete") and settled(), "the end")
    worker.stop()
    assert events(event="cancel")
    assert not redis.exists(f"it-{jid}")
