"""For each script whose REPLAY is `repeats`: what comes between two runs, and what the second one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from keyspace import NOW, RUNNING, RUNNING_LOW, job

from sidekiq_lua.store.scripts import library

_SHA = {name: script.sha for name, script in library().items()}


class Repeat(NamedTuple):
    """`between` is added after the first run; `second` is what the second run leaves at these keys.

    None: no such key.
    """

    between: Mapping[str, Any]
    second: Mapping[str, Any]


REPEATS: Mapping[str, Repeat] = {
    "ack_and_fetch": Repeat(
        {"queue:low": [job(14), job(15)]},
        {"queue:low": None, RUNNING_LOW: [job(14), job(15), job(13), job(4)], "stat:processed": "1"},
    ),
    "beat": Repeat({}, {"host:1:aaaa-signals": None}),
    "clear_queue": Repeat({"queue:default": [job(41)]}, {"queue:default": None}),
    "clear_set": Repeat({"dead": [(job(41), 1.0)]}, {"dead": None}),
    "count_scripts": Repeat(
        {},
        {"lua:script_counts": {"since": "1.5", f"{_SHA['push']}:calls": "17", f"{_SHA['ack']}:fenced": "2"}},
    ),
    "delete_job": Repeat({"queue:default": [job(11)]}, {"queue:default": [job(12)]}),
    "fetch": Repeat({}, {"queue:low": None, RUNNING_LOW: [job(13)], RUNNING: [job(12), job(11)]}),
    "move_job": Repeat(
        {"queue:default": [job(12), job(11)]},
        {"queue:default": [job(12), job(12)], "queue:low": [job(11), job(11), job(13)]},
    ),
    "push": Repeat({}, {"queue:default": [job(32), job(31)] * 2 + [job(12), job(11)]}),
    "relay_claim": Repeat({}, {"lua:relay_epoch:shop": "9"}),
    "replace_job": Repeat(
        {"queue:default": [job(11)]},
        {"queue:default": [job(12), job(11, ',"a":1'), job(11, ',"a":1')]},
    ),
    "reset_stats": Repeat({"stat:processed": "7"}, {"stat:processed": "0"}),
    "signal": Repeat({}, {"host:1:aaaa-signals": [b"TERM", b"TERM"]}),
    "trim": Repeat({"dead": [(job(n), 1.0) for n in (41, 42, 43)]}, {"dead": [(job(21), NOW - 1)]}),
}
