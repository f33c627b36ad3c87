"""Every Redis key, with its type and who writes it. Nothing else in the package spells a key."""

from __future__ import annotations

import time
from collections.abc import Mapping


class Keys:
    """The key layout under one prefix.

    The empty prefix is Sidekiq's own layout, which Ruby shares. A hash-tagged prefix such as
    ``{shard-1}:`` keeps all keys in one slot of a Redis Cluster.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.queues = f"{prefix}queues"  # set of queue names
        self.paused = f"{prefix}paused"  # set of queue names
        self.schedule = f"{prefix}schedule"  # zset, payloads by due time (s)
        self.retry = f"{prefix}retry"  # zset, payloads by time of the next try (s)
        self.dead = f"{prefix}dead"  # zset, payloads by time of death (s)
        self.processes = f"{prefix}processes"  # set of identities
        self.process_cleanup = f"{prefix}process_cleanup"  # string, a lock of 60 s
        self.processed = f"{prefix}stat:processed"  # string, a counter
        self.failed = f"{prefix}stat:failed"  # string, a counter
        self.profiles = f"{prefix}profiles"  # zset, names of profiles by the time of their end (s)
        self.owners = f"{prefix}lua:owners"  # hash, IDENTITY:EPOCH to JSON
        self.paused_classes = f"{prefix}lua:paused_classes"  # set of names of job classes
        self.resumed_classes = f"{prefix}lua:resumed_classes"  # set of names, jobs of theirs are held still
        self.leader = f"{prefix}dear-leader"  # string, an identity; Sidekiq Enterprise writes it
        self.scripts = f"{prefix}lua:scripts"  # hash, script hash to name and version
        self.script_counts = f"{prefix}lua:script_counts"  # hash, SCRIPT HASH:KIND to a number
        self.test_claim = f"{prefix}lua:test-claim"  # string, in a database that a test run uses

    def queue(self, name: str) -> str:
        """List: a queue; jobs enter at the left and leave at the right."""
        return f"{self.prefix}queue:{name}"

    def running(self, identity: str, epoch: str, queue: str) -> str:
        """List: the jobs that one process holds from one queue."""
        return f"{self.prefix}lua:running:{identity}:{epoch}:{queue}"

    def process(self, identity: str) -> str:
        """Hash: the heartbeat of a process."""
        return f"{self.prefix}{identity}"

    def work(self, identity: str) -> str:
        """Hash: the running jobs of a process by thread."""
        return f"{self.prefix}{identity}:work"

    def signals(self, identity: str) -> str:
        """List: signals sent to a process."""
        return f"{self.prefix}{identity}-signals"

    def processed_on(self, day: str) -> str:
        """String: runs on one UTC day, YYYY-MM-DD."""
        return f"{self.prefix}stat:processed:{day}"

    def failed_on(self, day: str) -> str:
        """String: failed runs on one UTC day, YYYY-MM-DD."""
        return f"{self.prefix}stat:failed:{day}"

    def held(self, name: str) -> str:
        """List: the jobs of a paused class, each after its queue's name and a line feed; the newest first."""
        return f"{self.prefix}lua:held:{name}"

    def iteration(self, jid: str) -> str:
        """Hash: how far an iterable job has come."""
        return f"{self.prefix}it-{jid}"

    def fallen(self, identity: str) -> str:
        """Set: crash keys of the jobs that a process was running when it was seen to die."""
        return f"{self.prefix}lua:fallen:{identity}"

    def crashes(self, job: str) -> str:
        """String: how many processes died running this job; `job` is its crash key."""
        return f"{self.prefix}lua:crashes:{job}"

    # -- what ran, and how; `at` is epoch seconds, times in keys are UTC --------------------

    def minute(self, at: float) -> str:
        """Hash: CLASS|p, CLASS|f and CLASS|ms of one minute, `j|YYMMDD|H:MM`."""
        t = time.gmtime(at)
        return f"{self.prefix}j|{t.tm_year % 100:02}{t.tm_mon:02}{t.tm_mday:02}|{t.tm_hour}:{t.tm_min:02}"

    def ten_minutes(self, at: float) -> str:
        """Hash: the same of ten minutes, `j|YYMMDD|H:M`."""
        return self.minute(at)[:-1]

    def histogram(self, name: str, at: float) -> str:
        """String of 26 counters of 16 bits: how long jobs of a class ran in a minute, `h|CLASS-D-H:M`."""
        t = time.gmtime(at)
        return f"{self.prefix}h|{name}-{t.tm_mday}-{t.tm_hour}:{t.tm_min}"

    def flushed(self, token: str) -> str:
        """String: the number of the last batch of metrics that a process has written."""
        return f"{self.prefix}lua:metrics:{token}"

    def marks(self, day: str) -> str:
        """Hash: labels of deploys by minute, of one day, given as YYYY-MM-DD."""
        return f"{self.prefix}{day.replace('-', '')}-marks"

    def deploy_lock(self, label: str) -> str:
        """String: a deploy was marked a minute ago."""
        return f"{self.prefix}deploylock-{label}"

    def profile(self, name: str) -> str:
        """Hash: the profile of one run; `name` is TOKEN-JID."""
        return f"{self.prefix}{name}"

    def sent(self, sender: str, lane: int) -> str:
        """String: the number of the last push that one sender made on one lane; lives for 300 s."""
        return f"{self.prefix}lua:sent:{sender}:{lane}"

    def relay(self, outbox: str) -> str:
        """String: the relay that works for an outbox now, with the TTL of its claim."""
        return f"{self.prefix}lua:relay:{outbox}"

    def relay_epoch(self, outbox: str) -> str:
        """String: how many claims on an outbox there have been."""
        return f"{self.prefix}lua:relay_epoch:{outbox}"

    def relayed(self, outbox: str) -> str:
        """Set: rows of an outbox that were pushed and may still be in its table."""
        return f"{self.prefix}lua:relayed:{outbox}"


_ESCAPED = str.maketrans({c: f"\\{c}" for c in "*?[]^\\"})
_IDENTITY = "*:[0-9]*:" + "[0-9a-f]" * 12
_JID = "[0-9a-f]" * 24


def patterns(prefix: str = "") -> Mapping[str, str]:
    """Glob patterns of ACL for what :class:`Keys` calls its keys; `minute` stands for ten minutes too."""
    escaped = prefix.translate(_ESCAPED)
    keys = Keys(escaped)
    fixed = {name: key for name, key in vars(keys).items() if name not in ("prefix", "test_claim")}
    return {
        **fixed,
        "queue": keys.queue("*"),
        "running": keys.running("*", "*", "*"),
        "process": keys.process(_IDENTITY),
        "work": keys.work(_IDENTITY),
        "signals": keys.signals(_IDENTITY),
        "processed_on": keys.processed_on("*"),
        "failed_on": keys.failed_on("*"),
        "fallen": keys.fallen("*"),
        "crashes": keys.crashes("*"),
        "minute": f"{escaped}j|*",
        "histogram": f"{escaped}h|*",
        "flushed": keys.flushed("*"),
        "marks": f"{escaped}{'[0-9]' * 8}-marks",
        "deploy_lock": keys.deploy_lock("*"),
        "profile": keys.profile(f"*-{_JID}"),
        "sent": f"{escaped}lua:sent:*",
        "iteration": keys.iteration("*"),
        "held": keys.held("*"),
        "relay": keys.relay("*"),
        "relay_epoch": keys.relay_epoch("*"),
        "relayed": keys.relayed("*"),
    }
