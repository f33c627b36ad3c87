"""One ordinary call of every script, and the keyspace that it finds; a new script gets a line here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from keyspace import BURIAL, DAY, ME, MINE, NOW, REGISTERED, RUNNING, RUNNING_LOW, STORE, job

from sidekiq_lua.store.bulk import Return
from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.entries import Entry, Promotion
from sidekiq_lua.store.holding import Held
from sidekiq_lua.store.iterations import RunningJob, State
from sidekiq_lua.store.owners import Orphan
from sidekiq_lua.store.relays import Row
from sidekiq_lua.store.script_counts import News
from sidekiq_lua.store.scripts import library
from sidekiq_lua.store.sent import PushLane, once
from sidekiq_lua.tally import Count


class Case(NamedTuple):
    call: Call[Any]
    found: dict[str, Any]
    removes: tuple[int, ...] = ()
    """The numbers of jobs that are over when the call was carried out."""


QUEUES = ["default", "low"]
WAITING = {"queue:default": [job(12), job(11)], "queue:low": [job(13)]}
HELD = {RUNNING: [job(3), job(2), job(1)], RUNNING_LOW: [job(4)]}
OTHERS = {"dead": [(job(21), NOW - 1)], "retry": [(job(22), NOW - 2)], "schedule": [(job(23), NOW - 3)]}
HEARTBEAT = {ME.identity: {"info": "{}", "busy": "1"}, "processes": {ME.identity, "gone:1:x"}}

KEYS = STORE.keys
LANE = PushLane(KEYS.sent("sender", 1), 7)
_FAILED = job(1, ',"retry_count":0')
_KILLED = job(22, ',"retry_count":1')
_RAN = [Count("SomeJob", 3, 1, 250, {0: 1, 6: 1}), Count("Other", 1, 1, 0, {})]
_MINUTE = {KEYS.minute(NOW): {"SomeJob|p": "2", "SomeJob|ms": "9"}, KEYS.histogram("SomeJob", NOW): "\0\2"}
_PROFILES = {
    "profiles": [("mine-23", NOW + 9), ("over-22", NOW - 9)],
    "mine-23": {"token": "mine", "jid": "23", "type": "SomeJob", "data": "gz"},
}
_ITERATION = {"it-1": {"ex": "1", "c": "3", "rt": "2.5"}}
_JOB, _STATE = RunningJob(MINE, "default", job(1), "1"), State(2, b'["a",7]', 4.25)
_iterations = STORE.iterations
_owners, _processes, _queues = STORE.owners, STORE.processes, STORE.queues

CASES: dict[str, Case] = {
    "ack": Case(MINE.ack([("default", job(1)), ("low", job(4))], DAY), HELD, (1, 4)),
    "ack_and_fetch": Case(
        MINE.ack_and_fetch(QUEUES, 3, [("default", job(1))], DAY), {**REGISTERED, **HELD, **WAITING}, (1,)
    ),
    "admit": Case(MINE.admit("default", job(1)), {**REGISTERED, **HELD, **WAITING, "paused": {"default"}}),
    "alive": Case(_owners.alive([ME.identity, "gone:1:x"]), HEARTBEAT),
    "announce": Case(STORE.counters.announce(), {"lua:scripts": {"schema": "1"}}),
    "beat": Case(
        _processes.beat(ME.identity, [ME], 60, {"info": "{}", "busy": 1}, {"tid": "{}"}),
        {**REGISTERED, **HELD, **HEARTBEAT, f"{ME.identity}-signals": [b"TERM", b"TSTP"]},
    ),
    "bury": Case(MINE.bury("default", job(1), _FAILED, BURIAL, DAY), {**HELD, **OTHERS}),
    "bury_entry": Case(STORE.entries.bury("retry", Entry(job(22), NOW - 2), _KILLED, BURIAL), OTHERS),
    "bury_entries": Case(
        STORE.bulk.bury("retry", [Entry(job(22), NOW - 2), Entry(job(9), 1.0)], BURIAL), OTHERS
    ),
    "cancel_iteration": Case(_iterations.cancel("1", NOW), _ITERATION),
    "claim": Case(STORE.entries.claim("schedule", [(job(23), NOW + 60), (job(9), NOW + 60)], NOW), OTHERS),
    "clear_queue": Case(
        _queues.clear("default"), {**WAITING, **HELD, "queues": {"default", "low"}}, (11, 12)
    ),
    "clear_set": Case(STORE.entries.clear("dead"), OTHERS, (21,)),
    "count_scripts": Case(
        STORE.counters.count_scripts([News("push", "calls", 7), News("ack", "fenced", 1)], NOW),
        {"lua:script_counts": {"since": "1.5", f"{library()['push'].sha}:calls": "3"}},
    ),
    "delete_entries": Case(
        STORE.bulk.delete("schedule", [Entry(job(23), NOW - 3), Entry(job(9), 1.0)]), OTHERS, (23,)
    ),
    "delete_entry": Case(STORE.entries.delete("schedule", Entry(job(23), NOW - 3)), OTHERS, (23,)),
    "delete_job": Case(_queues.delete("default", job(11)), WAITING, (11,)),
    "drop": Case(MINE.drop("default", job(1), DAY), HELD, (1,)),
    "due": Case(STORE.entries.due(NOW, 10, {}), OTHERS),
    "enqueue_entries": Case(
        STORE.bulk.enqueue(
            "dead",
            [
                Return(Entry(job(21), NOW - 1), "low", job(21), "21"),
                Return(Entry(job(24), NOW - 1), "", b"", "24"),
            ],
        ),
        {**WAITING, "dead": [(job(21), NOW - 1), (job(24), NOW - 1)], "lua:crashes:21": "2"},
        (24,),
    ),
    "enqueue_entry": Case(
        STORE.entries.enqueue("dead", Entry(job(21), NOW - 1), "low", job(21), "21"),
        {**WAITING, **OTHERS, "lua:crashes:21": "2"},
    ),
    "fall": Case(
        library()["fall"].call(
            process=KEYS.process(ME.identity),
            work=KEYS.work(ME.identity),
            fallen=KEYS.fallen(ME.identity),
            ttl=60,
            running=["", "1"],
        ),
        {**HEARTBEAT, **HELD, f"{ME.identity}:work": {"tid": "{}"}},
    ),
    "fallen": Case(_owners.fallen(ME.identity), {f"lua:fallen:{ME.identity}": {"", "1"}}),
    "fetch": Case(MINE.fetch(QUEUES, 2), {**REGISTERED, **WAITING}),
    "finish_iteration": Case(_iterations.finish(_JOB, DAY), {**HELD, **_ITERATION}, (1,)),
    "flush_metrics": Case(STORE.metrics.flush("t", 2, NOW, _RAN), {**_MINUTE, "lua:metrics:t": "1"}),
    "forget": Case(_owners.forget(ME), REGISTERED),
    "held": Case(MINE.held("default"), HELD),
    "interrupt_iteration": Case(
        _iterations.interrupt(_JOB, _STATE, job(1, ',"enqueued_at":7'), None),
        {**HELD, **WAITING, **OTHERS, **_ITERATION},
    ),
    "job_metrics": Case(STORE.metrics.of_class("SomeJob", [NOW, NOW - 60], ten=False), _MINUTE),
    "hold": Case(
        STORE.holding.hold("SomeJob", MINE, "default", job(1)),
        {**HELD, "lua:paused_classes": {"SomeJob"}, "lua:held:SomeJob": [b"default\n" + job(41)]},
    ),
    "is_member": Case(_processes.listed(ME.identity), HEARTBEAT),
    "keep_alive": Case(
        library()["keep_alive"].call(process=KEYS.process(ME.identity), work=KEYS.work(ME.identity), ttl=60),
        HEARTBEAT,
    ),
    "leave": Case(_processes.leave(ME), {**REGISTERED, **HEARTBEAT, f"{ME.identity}:work": {"tid": "{}"}}),
    "mark_deploy": Case(
        STORE.metrics.mark("2027-01-15T08:00:00Z", "v2"), {"20270115-marks": {"2027-01-15T07:59:00Z": "v1"}}
    ),
    "members": Case(_queues.names(), {"queues": {"default", "low"}}),
    "owners": Case(_owners.page(), REGISTERED),
    "move_job": Case(_queues.move("default", job(11), "low", job(11)), WAITING),
    "page": Case(STORE.pages.entries("retry", Entry(job(22), NOW), upward=False), OTHERS),
    "pause_class": Case(
        STORE.holding.pause("SomeJob"), {"lua:paused_classes": {"A"}, "lua:resumed_classes": {"SomeJob"}}
    ),
    "paused_classes": Case(STORE.holding.classes(), {"lua:paused_classes": {"A", "B"}}),
    "pause": Case(_queues.pause("default"), {"paused": {"low"}}),
    "preflight": Case(STORE.counters.preflight(ME.identity, [RUNNING, "queue:default"]), {**HELD, **WAITING}),
    "process_info": Case(_processes.info([ME.identity]), HEARTBEAT),
    "profiles": Case(STORE.profiles.page(NOW), _PROFILES),
    "promote": Case(
        STORE.entries.promote("schedule", [Promotion(job(23), "low", job(23)), Promotion(job(24), "")], NOW),
        {**WAITING, "schedule": [(job(23), NOW - 3), (job(24), NOW)]},
        (24,),
    ),
    "prune": Case(_processes.prune([ME.identity, "gone:1:x"]), HEARTBEAT),
    "push": Case(_queues.push("default", [job(31), job(32)]), WAITING),
    "push_once": Case(once(_queues.push("default", [job(31), job(32)]), LANE), WAITING),
    "queue_sizes": Case(_queues.sizes(QUEUES), {**WAITING, "paused": {"low"}}),
    "read_strings": Case(STORE.counters.days("failed", [DAY, "2027-01-14"]), {f"stat:failed:{DAY}": "5"}),
    "read_hashes": Case(STORE.metrics.minutes([NOW, NOW - 60], ten=False), _MINUTE),
    "read_iteration": Case(_iterations.read(["1", "2"]), _ITERATION),
    "read_profile": Case(STORE.profiles.infos([("mine-23", NOW + 9), ("gone-1", NOW)]), _PROFILES),
    "recover": Case(
        _owners.recover(
            ME, "default", [Orphan(job(1), "1", True, _FAILED), Orphan(job(2), "2", True, b"")], 3, 60, BURIAL
        ),
        {**HELD, **WAITING, **OTHERS, "lua:crashes:1": "2"},
    ),
    "release": Case(
        STORE.holding.release("SomeJob", [Held(b"low\n" + job(41), "low", job(41))]),
        {
            **WAITING,
            "lua:resumed_classes": {"SomeJob"},
            "lua:held:SomeJob": [b"low\n" + job(41), b"low\n" + job(42)],
        },
    ),
    "register": Case(_owners.register(ME), {}),
    "relay": Case(
        STORE.relays.push(
            "shop", "host:1:r", 7, 30_000, "low", [Row("1:a", None, job(31)), Row("2:b", NOW, job(32))]
        ),
        {**WAITING, **OTHERS, "lua:relay_epoch:shop": "7", "lua:relayed:shop": {"0:z"}},
    ),
    "relay_claim": Case(STORE.relays.claim("shop", "host:1:r", 30_000), {"lua:relay_epoch:shop": "7"}),
    "relay_settle": Case(
        STORE.relays.settle("shop", "host:1:r", 7, ["0:z"], leaves=True),
        {"lua:relay:shop": "host:1:r", "lua:relay_epoch:shop": "7", "lua:relayed:shop": {"0:z", "1:a"}},
    ),
    "requeue": Case(MINE.requeue("default", [job(1), job(2)]), {**HELD, **WAITING}),
    "replace_entry": Case(STORE.entries.replace("retry", Entry(job(22), NOW - 2), job(22, ',"a":1')), OTHERS),
    "replace_job": Case(_queues.replace("default", job(11), job(11, ',"a":1')), WAITING),
    "resume_class": Case(
        STORE.holding.resume("SomeJob"),
        {"lua:paused_classes": {"SomeJob"}, "lua:held:SomeJob": [b"low\n" + job(41)]},
    ),
    "reschedule_entry": Case(STORE.entries.reschedule("retry", Entry(job(22), NOW - 2), NOW + 60), OTHERS),
    "reset_stats": Case(STORE.counters.reset(["processed"]), {"stat:processed": "5"}),
    "retry": Case(MINE.retry("default", job(1), _FAILED, NOW, DAY), {**HELD, **OTHERS}),
    "save_iteration": Case(_iterations.save(_JOB, _STATE), {**HELD, **_ITERATION}),
    "schedule": Case(_queues.schedule([(NOW, job(31))]), OTHERS),
    "schedule_once": Case(once(_queues.schedule([(NOW, job(31))]), LANE), OTHERS),
    "signal": Case(_processes.signal(ME.identity, "TERM"), {}),
    "stats": Case(STORE.counters.totals(), {**OTHERS, **HEARTBEAT, "stat:processed": "5"}),
    "store_profile": Case(STORE.profiles.store("new-31", {"token": "new", "data": b"gz"}, NOW), _PROFILES),
    "trim": Case(
        STORE.entries.trim(replace(BURIAL, limit=2)),
        {"dead": [(job(21), NOW - 1), (job(24), NOW - 2)]},
        (24,),
    ),
    "waiting": Case(STORE.pages.jobs("default", None), WAITING),
    "unpause": Case(_queues.unpause("default"), {"paused": {"default", "low"}}),
}
