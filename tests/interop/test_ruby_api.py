"""Ruby's Data API reads what Python wrote, and acts on it."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from interop.harness import order
from interop.values import ARGS, FLOATS

pytestmark = pytest.mark.interop


@pytest.fixture
def written(python, events, redis):
    """What a Python worker writes: retries, a dead and a scheduled job, running, waiting and done ones."""
    worker = python.start().ready()
    orders = {
        "done": order("EchoJob", *ARGS, count=3),
        "always": order("FailAlwaysJob", "é ✓ 😀 /"),
        "once": order("FailOnceJob", *ARGS),
        "dead": order("DieJob", "</é>"),
        "later": order("EchoJob", *ARGS, in_=3600),
        "held": order("HoldJob", *ARGS),
        "waiting": order("EchoJob", *ARGS, options={"queue": "low"}),
    }
    jids = dict(zip(orders, python.produce_all(list(orders.values())), strict=True))

    def all_there():
        sizes = (redis.zcard("retry"), redis.zcard("dead"), len(events(event="perform")), worker.beat("busy"))
        return sizes == (2, 1, 5, "1") and redis.get("stat:processed") == b"6"

    worker.wait_for(all_there, "six jobs done and one running")
    return worker, jids


def test_ruby_reads_all_that_python_wrote(written, ruby, redis, events):
    worker, jids = written
    now = time.time()
    seen = ruby.inspect()

    stats = seen["stats"]
    assert (stats["processed"], stats["failed"], stats["enqueued"]) == (6, 3, 1)
    assert (stats["scheduled_size"], stats["retry_size"], stats["dead_size"]) == (1, 2, 1)
    assert (stats["processes_size"], stats["workers_size"]) == (1, 1)
    assert stats["queues"]["low"] == 1
    today = time.strftime("%Y-%m-%d", time.gmtime(now))
    assert (seen["history"]["processed"][today], seen["history"]["failed"][today]) == (6, 3)

    retries = {entry["jid"]: entry for entry in seen["retry"]}
    assert set(retries) == {*jids["always"], *jids["once"]}
    always, once = retries[jids["always"][0]], retries[jids["once"][0]]
    assert always["item"]["error_class"] == "ValueError"
    assert always["item"]["error_message"] == "é ✓ 😀 /"
    assert always["item"]["retry_count"] == 0
    assert always["error_backtrace"][0].endswith("in 'raise_from_afar'")
    assert any(line.endswith("in 'perform'") for line in always["error_backtrace"])
    assert all("jobs.py:" in line for line in always["error_backtrace"][:8])
    assert len(once["error_backtrace"]) == 3
    assert (once["args"], once["display_args"], once["tags"]) == (ARGS, ARGS, ["interop", "once"])
    for entry in retries.values():
        assert (entry["error"], entry["class"]) == (True, entry["display_class"])
        assert entry["score"] == entry["at"]
        assert now + 40 < entry["score"] < now + 70

    [dead] = seen["dead"]
    assert (dead["jid"], dead["class"], dead["args"]) == (*jids["dead"], "DieJob", ["</é>"])
    assert (dead["item"]["error_message"], dead["item"]["retry_count"]) == ("</é>", 0)
    assert len(dead["error_backtrace"]) == 5
    [later] = seen["schedule"]
    assert (later["jid"], later["args"], later["error"]) == (*jids["later"], ARGS, False)
    assert abs(later["score"] - now - 3600) < 20
    assert "enqueued_at" not in later["item"]
    low = seen["queues"]["low"]
    assert [(job["jid"], job["args"]) for job in low["jobs"]] == [(*jids["waiting"], ARGS)]
    assert 0 < low["latency"] < 20

    for job in (*retries.values(), dead, *low["jobs"]):
        assert 0 < job["latency"] < 20
        assert now - 20 < job["created_at"] <= job["enqueued_at"] < now
    form = float if ruby.form == "7" else int
    times = [always["item"][name] for name in ("created_at", "enqueued_at", "failed_at")]
    assert {type(value) for value in times} == {form}

    [process] = seen["processes"]["list"]
    assert process["identity"] == worker.identity
    assert (process["pid"], process["tag"], process["labels"]) == (worker.pid, "interop", ["python"])
    assert (process["concurrency"], process["queues"], process["busy"]) == (3, ["default"], 1)
    assert now - 20 < process["started_at"] < process["beat"] < time.time()
    assert now - 2 < process["beat"]
    assert process["rss"] > 5000
    assert 0 < process["rtt_us"] < 1_000_000
    assert (process["quiet"], process["stopping"]) == ("false", False)
    processes = seen["processes"]
    assert (processes["size"], processes["total_concurrency"]) == (1, 3)
    assert processes["total_rss"] == process["rss"]

    assert seen["work"]["size"] == 1
    [work] = seen["work"]["list"]
    assert (work["process"], work["queue"], work["jid"]) == (worker.identity, "default", *jids["held"])
    assert work["args"] == ARGS
    assert now - 20 < work["run_at"] < now

    redis.rpush("interop:go", 1)
    worker.wait_for(lambda: events(event="end"), "the held job to end")
    worker.wait_for(lambda: worker.beat("busy") == "0", "a beat after it")
    assert ruby.inspect("work")["work"] == {"size": 0, "list": []}
    worker.stop()
    assert ruby.inspect("processes")["processes"]["list"] == []


def test_quiet_and_stop_from_ruby_reach_a_python_worker(python, ruby, redis, events):
    worker = python.start().ready()
    other = python.start("elsewhere").ready()
    ruby.control("quiet", worker.identity)
    worker.wait_for(lambda: worker.beat("quiet") == "true", "a beat that says quiet")
    [left] = python.produce("EchoJob", 1)
    stopping = {p["identity"]: p["stopping"] for p in ruby.inspect("processes")["processes"]["list"]}
    assert stopping == {worker.identity: True, other.identity: False}

    ruby.control("stop", worker.identity)
    worker.ended()

    assert redis.smembers("processes") == {other.identity.encode()}
    assert redis.llen("queue:default") == 1
    assert events(jid=left) == []
    other.stop()


def test_ruby_moves_what_python_wrote(python, ruby, entry, redis, events, settled):
    """Retry, kill and delete on retries and dead jobs, and "add to queue" on a scheduled one."""
    worker = python.start().ready()
    [[retried, killed, deleted, stays], [revived, erased, rests], [early]] = python.produce_all(
        [
            order("FailOnceJob", *ARGS, count=4),
            order("DieJob", "é ✓ 😀 /", count=3),
            order("EchoJob", *ARGS, in_=3600),
        ]
    )
    worker.wait_for(lambda: (redis.zcard("retry"), redis.zcard("dead")) == (4, 3), "7 jobs to fail")
    worker.stop()
    doomed, staying, resting = entry("retry", killed)[0], entry("retry", stays), entry("dead", rests)[0]

    ruby.control("retry", "retry", retried)
    ruby.control("kill", "retry", killed)
    ruby.control("delete", "retry", deleted)
    ruby.control("retry", "dead", revived)
    ruby.control("delete", "dead", erased)
    ruby.control("enqueue", "schedule", early)

    assert redis.zrange("retry", 0, -1, withscores=True) == [staying]
    assert set(redis.zrange("dead", 0, -1)) == {doomed, resting}
    assert redis.exists("schedule") == 0
    queued = {job["jid"]: job for job in map(json.loads, redis.lrange("queue:default", 0, -1))}
    assert set(queued) == {retried, revived, early}
    # Ruby takes one off, so that a retry by hand does not use up a try.
    assert (queued[retried]["retry_count"], queued[revived]["retry_count"]) == (-1, -1)

    redis.delete("retry")
    again = python.start().ready()
    again.wait_for(lambda: entry("dead", revived) and settled(), "three jobs to run")
    again.stop()
    assert [event["first"] for event in events(jid=retried, event="perform")] == [True, False]
    assert events(jid=early)[0]["args"] == ARGS
    assert [event["event"] for event in events(jid=revived)] == ["death", "death"]
    assert json.loads(entry("dead", revived)[0])["retry_count"] == 0


def test_ruby_reschedules_what_python_wrote_and_one_entry_is_left(python, ruby, entry, redis):
    """Ruby writes the entry anew to address it, so this holds only if Python's bytes are Ruby's."""
    worker = python.start().ready()
    cases = {
        "ASCII": ["plain", 1, None, True, {"a": [1]}],
        "other text": ["é ✓ 😀", {"é": "✓"}, "\u2028\u007f\u0001", 'a"b\\c'],
        "slash": ["</script>", "/"],
        "floats": FLOATS,
        "nested": [[[[{"a": {"b": [{}, [], [{"c": [1.5, {"d": None}]}]]}}]]]],
        "everything": ARGS,
    }
    ours: dict[tuple[str, str], dict[str, Any]] = {}
    theirs: dict[tuple[str, str], dict[str, Any]] = {}
    for name, args in cases.items():
        ours["schedule", name] = order("EchoJob", *args, in_=3600)
        ours["retry", name] = order("FailOnceJob", *args)
        theirs["retry", f"{name}, from Ruby"] = order("FailOnceJob", *args)
    for text in ("plain", "é ✓ 😀", "</script>"):
        ours["retry", f"error {text}"] = order("FailAlwaysJob", text)
        ours["dead", f"error {text}"] = order("DieJob", text)
    made = [*python.produce_all(list(ours.values())), *ruby.produce_all(list(theirs.values()))]
    moved = dict(zip([*ours, *theirs], (jid for [jid] in made), strict=True))
    worker.wait_for(lambda: (redis.zcard("retry"), redis.zcard("dead")) == (15, 3), "18 jobs to fail")
    worker.stop()
    stored = {(key, name): entry(key, jid)[0] for (key, name), jid in moved.items()}

    soon = time.time() + 1000.25
    for key in ("schedule", "retry", "dead"):
        ruby.control("reschedule", key, soon, *(jid for (of, _), jid in moved.items() if of == key))

    assert [redis.zcard(key) for key in ("schedule", "retry", "dead")] == [6, 15, 3]
    for (key, name), jid in moved.items():
        raw, score = entry(key, jid)
        assert raw == stored[key, name]
        assert score == pytest.approx(soon, abs=1e-3)


def test_what_is_no_job_goes_to_the_dead_set_as_it_was(python, ruby, redis, events):
    texts = [b'{"bad json', "é ✓ no job".encode(), b'{"class":"EchoJob","args":[\xff\xfe', b"", b"\x00\r\n"]
    ruby.control("push_raw", "default", *(base64.b64encode(text).decode() for text in texts))
    worker = python.start().ready()
    python.produce("EchoJob", "behind them")
    worker.wait_for(lambda: events() and redis.zcard("dead") == len(texts), "five dead and one done")
    worker.wait_for(lambda: redis.get("stat:processed") == b"1", "one to be counted")
    worker.stop()

    assert set(redis.zrange("dead", 0, -1)) == set(texts)
    assert not redis.get("stat:failed")
    shown = [job["args"] for job in ruby.inspect()["dead"]]
    assert sorted(shown) == sorted([text.decode("utf-8", "replace")] for text in texts)
