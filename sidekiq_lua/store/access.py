"""What each role may do in Redis, as `ACL SETUSER` says it, from the headers and the code of its scripts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .contract import Access, Contract, contracts
from .keys import patterns
from .scripts import library

_CALL = re.compile(r"""redis\.p?call\(\s*"(\w+)\"""")

PLAIN: Mapping[str, tuple[str, ...]] = {
    "enqueuer": ("wait",),
    "worker": (
        "blmove",
        "client|info",
        "client|kill",
        "client|list",
        "client|unblock",
        "info",
        "time",
        "type",
        "wait",
    ),
    "scheduler": (),
    "dashboard": ("hgetall", "info"),
    "admin": ("hgetall", "info", "monitor", "slowlog|get"),
}
"""What a role sends beside scripts; its names are the roles."""

PLAIN_KEYS: Mapping[str, Mapping[str, Access]] = {
    "dashboard": {"scripts": "r", "script_counts": "r"},
    "admin": {"scripts": "r", "script_counts": "r"},
}
"""On which keys, beside those of its scripts."""

CONNECTION = ("+@connection", "-@dangerous", "+script|exists", "+script|load")
"""Log in, choose a database, name the client, PING; and make scripts known."""

CALLS = ("+eval", "+eval_ro", "+evalsha", "+evalsha_ro")

PLACES: Mapping[str, tuple[str, ...]] = {
    "counts": ("script_counts",),
    "crashes": ("crashes",),
    "dead": ("dead",),
    "done": ("flushed",),
    "entries": ("schedule", "retry", "dead"),
    "epoch": ("relay_epoch",),
    "failed": ("failed",),
    "failed_day": ("failed_on",),
    "fallen": ("fallen",),
    "held": ("held",),
    "histograms": ("histogram",),
    "holder": ("relay",),
    "lane": ("sent",),
    "lists": ("queue", "running"),
    "marks": ("marks",),
    "minute": ("minute",),
    "other": ("queue",),
    "owners": ("owners",),
    "paused": ("paused",),
    "places": ("minute", "histogram"),
    "process": ("process",),
    "processed": ("processed",),
    "processed_day": ("processed_on",),
    "processes": ("processes",),
    "profile": ("profile",),
    "profiles": ("profiles",),
    "queue": ("queue",),
    "queues": ("queues",),
    "relayed": ("relayed",),
    "rest": ("queue", "crashes"),
    "resumed": ("resumed_classes",),
    "retry": ("retry",),
    "running": ("running",),
    "schedule": ("schedule",),
    "scripts": ("scripts",),
    "sets": ("schedule", "retry", "dead"),
    "signals": ("signals",),
    "state": ("iteration",),
    "states": ("iteration",),
    "strings": ("processed_on", "failed_on", "leader"),
    "ten": ("minute",),
    "totals": ("processed", "failed"),
    "ward": ("queue",),
    "work": ("work",),
    # Where a name means one thing in one script and another in the next.
    "alive.processes": ("process",),
    "beat.paused": ("paused_classes",),
    "bury_entries.entries": ("schedule", "retry"),
    "bury_entry.entries": ("schedule", "retry"),
    "claim.entries": ("schedule", "retry"),
    "due.sets": ("schedule", "retry"),
    "delete_job.queue": ("queue", "held"),
    "held.running": ("running", "held"),
    "hold.paused": ("paused_classes",),
    "members.set": ("queues", "processes", "paused", "relayed"),
    "mark_deploy.lock": ("deploy_lock",),
    "pause_class.paused": ("paused_classes",),
    "paused_classes.paused": ("paused_classes",),
    "process_info.processes": ("process",),
    "promote.entries": ("schedule", "retry"),
    "promote.lists": ("queue",),
    "prune.hashes": ("process",),
    "prune.lock": ("process_cleanup",),
    "queue_sizes.queues": ("queue",),
    "read_hashes.hashes": ("minute", "marks", "work"),
    "read_profile.hashes": ("profile",),
    "release.lists": ("queue",),
    "resume_class.paused": ("paused_classes",),
    "is_member.set": ("queues", "processes", "paused"),
    # Where a role's code has other keys for it: people add to all three sets, everybody else to one.
    "admin/schedule.schedule": ("schedule", "retry", "dead"),
}
"""The keys that a parameter of KEYS stands for, by their names in store/keys.py."""


@dataclass(frozen=True)
class Grant:
    """What one role needs. `keys`: patterns with `r` or `rw`; `commands`: as ACL names them."""

    role: str
    scripts: tuple[str, ...]
    keys: Mapping[str, Access]
    commands: tuple[str, ...]
    everywhere: str
    """The pattern of all keys under the prefix."""
    apart: tuple[str, ...] = ()
    """A selector for each script instead, where one script's commands must not meet another's keys."""

    def line(self, name: str, password: str) -> str:
        """The whole `ACL SETUSER`; `password` is a rule, such as `>secret` or `#` and its SHA-256.

        Redis takes every key of a script that may write for written, also those that it only reads. So the
        calls of scripts stand in a selector of their own, with all keys and without any other command:
        the commands inside a script are checked each by itself, against the keys of the role.
        """
        keys = [] if self.apart else _keys(self.keys)
        commands = [f"+{c}" for c in (PLAIN[self.role] if self.apart else self.commands)]
        selector = f"(~{self.everywhere} {' '.join(CALLS)})"
        return " ".join(
            ["ACL SETUSER", name, "reset on", password, *keys, *CONNECTION, *commands, *self.apart, selector]
        )


def grant(role: str, prefix: str = "") -> Grant:
    """What a role needs, with all keys under a prefix. Raises KeyError for an unknown role.

    `dashboard` has those of its scripts that only read; `admin` has all of `dashboard` and its own.
    """
    names = patterns(prefix)
    mine = [contract for contract in contracts().values() if _calls(role, contract)]
    apart = [_selector(role, contract, names) for contract in mine] if role == "enqueuer" else []
    keys = {names[place]: access for place, access in PLAIN_KEYS.get(role, {}).items()}
    for contract in mine:
        for key in contract.keys:
            for place in places(contract.name, key.name, role):
                if key.access == "rw" or names[place] not in keys:
                    keys[names[place]] = key.access
    inner = {word.lower() for contract in mine for word in commands(contract.name)}
    return Grant(
        role=role,
        scripts=tuple(contract.name for contract in mine),
        keys=dict(sorted(keys.items())),
        commands=tuple(sorted(inner.union(PLAIN[role]))),
        everywhere=patterns(prefix)["queues"].removesuffix("queues") + "*",
        apart=tuple(dict.fromkeys(apart)),
    )


def _selector(role: str, contract: Contract, names: Mapping[str, str]) -> str:
    keys = {
        names[place]: key.access for key in contract.keys for place in places(contract.name, key.name, role)
    }
    inner = [f"+{command.lower()}" for command in sorted(commands(contract.name))]
    return f"({' '.join([*_keys(keys), *inner])})"


def _keys(keys: Mapping[str, Access]) -> list[str]:
    return [f"%{access.upper()}~{pattern}" for pattern, access in keys.items()]


def _calls(role: str, contract: Contract) -> bool:
    if role == "dashboard":
        return role in contract.roles and "no-writes" in contract.flags
    if role == "admin":
        return not {"admin", "dashboard"}.isdisjoint(contract.roles)
    return role in contract.roles


def places(script: str, parameter: str, role: str = "") -> tuple[str, ...]:
    """The keys that a parameter of a script stands for, where a role calls it."""
    name = f"{script}.{parameter}"
    return PLACES.get(f"{role}/{name}") or PLACES.get(name) or PLACES[parameter]


def commands(script: str) -> set[str]:
    """The commands that a script may run, in capitals."""
    return set(_CALL.findall(library()[script].text))


def hashed(password: str) -> str:
    """A password as a rule of ACL that does not show it."""
    return f"#{hashlib.sha256(password.encode()).hexdigest()}"
