"""`sidekiq-lua monitor` and Ruby's `sidekiqmon` show the same of one Redis with workers of both languages."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from interop.harness import Python, Ruby, RubyKind

pytestmark = pytest.mark.interop


@pytest.fixture
def kind(sidekiq_8_1: RubyKind) -> RubyKind:
    """Older ones show less of a process."""
    return sidekiq_8_1


def alike(text: str) -> str:
    """Without blanks at a line's end, and what differs since the two do not look at the same moment."""
    text = re.sub(" +$", "", text, flags=re.M)
    return re.sub(r"  \d+\.\d\d$", lambda found: re.sub(r"\d", "9", found[0]), text, flags=re.M)


def test_both_show_the_same(ruby: Ruby, python: Python, redis: Any) -> None:
    workers = [ruby.start("served", "low,3"), python.start("served", "critical,2", "low")]
    for worker in workers:
        worker.ready()
    redis.mset({"stat:processed": 1_234_567, "stat:failed": 1018})
    # Far from where a latency gets one digit more, for the second of the two may be slow to look.
    for name, count, waited_s in (("mail", 12, 7205), ("a-much-longer-name", 1, 103), ("empty", 0, 0)):
        redis.sadd("queues", name)
        for number in range(count):
            stamp = int((time.time() - waited_s) * 1000)
            redis.rpush(f"queue:{name}", json.dumps({"class": "A", "jid": str(number), "enqueued_at": stamp}))
    for name, size in (("retry", 2), ("schedule", 4), ("dead", 3)):
        redis.zadd(name, {json.dumps({"jid": f"{number}"}): number for number in range(size)})
    quiet = {"identity": "vm:1:aaaaaaaaaaaa", "hostname": "vm", "started_at": time.time() - 4000, "pid": 1,
             "tag": "", "labels": ["reliable"], "concurrency": 10, "queues": ["b", "a"],
             "version": "8.1.7"}  # fmt: skip
    seven = {**quiet, "identity": "vm:2:bbbbbbbbbbbb", "tag": "old", "version": "7.3.10",
             "weights": [{f"{name}-{n}": n for n in range(4)} for name in ("mail", "reports", "solo")],
             }  # fmt: skip
    for info, busy in ((quiet, 3), (seven, 2)):
        redis.sadd("processes", info["identity"])
        fields = {"info": json.dumps(info), "concurrency": 10, "busy": busy, "quiet": "true", "beat": 1.5}
        redis.hset(info["identity"], mapping={**fields, "rss": 1, "rtt_us": 1})

    command = str(Path(ruby.command).with_name("sidekiqmon"))
    theirs = ruby.run(["ruby", command], ruby.environment(TZ="UTC")).rstrip("\n")
    ours = python.run([sys.executable, "-m", "sidekiq_lua", "monitor"], python.environment()).rstrip("\n")

    (their_head, *their_rest), (our_head, *our_rest) = theirs.split("\n\n"), ours.split("\n\n")
    assert re.fullmatch(r"Sidekiq [\d.]+\n[\d-]+ [\d:]+ UTC", their_head)
    assert re.fullmatch(r"sidekiq-lua [\w.]+\n[\d-]+ [\d:]+ UTC", our_head)
    # An empty tag is shown as [] there, and is left out here.
    their_rest = [part.replace("vm:1:aaaaaaaaaaaa [] [", "vm:1:aaaaaaaaaaaa [") for part in their_rest]
    assert [alike(part) for part in our_rest] == [alike(part) for part in their_rest]
    assert len(our_rest) == 6
