"""Bugs to plant: each is a slip that a change of lua/ could make, and that the model must find."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sidekiq_lua.store.scripts import Script, library, read, script_dir


class Bug(NamedTuple):
    name: str
    file: str
    old: str
    new: str


_LOOK = 'if not redis.call("LPOS", running, raw) then'
_REGISTERED = 'redis.call("HEXISTS", owners, owner) == 0'
_FORGET_ENTRY = 'redis.call("ZREM", entries, entry)\n'
_REMOVE = 'redis.call("LREM", running, -1, raw)\n'

QUICK = {
    "a stale retry puts its job",
    "a stale burial puts its job",
    "retry removes, then puts",
    "retry forgets to remove",
    "the day is not counted",
    "a jobless owner fetches",
    "jobs go back to the wrong end",
    "a zombie keeps its right to fetch",
    "a promoted entry stays",
    "an enqueued entry stays",
    "the dead set keeps the old",
    "push turns the order round",
}
"""Those that come to light within a second."""

BUGS = [
    Bug("a stale retry puts its job", "retry.lua", _LOOK, "if false then"),
    Bug("a stale burial puts its job", "bury.lua", _LOOK, "if false then"),
    Bug(
        "retry removes, then puts",
        "retry.lua",
        f'redis.call("ZADD", retry, due, payload)\n{_REMOVE}',
        f'{_REMOVE}redis.call("ZADD", retry, due, payload)\n',
    ),
    Bug(
        "requeue removes, then puts, and looks at no type",
        "requeue.lua",
        'redis.call("LLEN", queue)\n',
        'for i = 2, #ARGV do\n  redis.call("LREM", running, 1, ARGV[i])\nend\n',
    ),
    Bug("retry forgets to remove", "retry.lua", _REMOVE, ""),
    Bug("all equal jobs are dropped at once", "drop.lua", "running, -1, raw", "running, 0, raw"),
    Bug("the newest of equal jobs is acknowledged", "ack.lua", "-1, ARGV[i + 1]", "1, ARGV[i + 1]"),
    Bug("jobs that were gone are counted", "ack.lua", "(#ARGV - 1) / 2 - #gone", "(#ARGV - 1) / 2"),
    Bug("a drop is not counted as failed", "drop.lua", "count(failed, failed_day, ttl, 1)", '""'),
    Bug("the day is not counted", "lib/count.lua", 'redis.pcall("INCRBY", day, n)', "n"),
    Bug("a jobless owner fetches", "fetch.lua", 'redis.call("HEXISTS", owners, owner) == 0', "false"),
    Bug(
        "a jobless owner acknowledges",
        "ack_and_fetch.lua",
        'redis.call("HEXISTS", owners, owner) == 0',
        "false",
    ),
    Bug(
        "a paused queue is fetched from",
        "lib/take.lua",
        'some > 0 and redis.call("SISMEMBER"',
        'false and redis.call("SISMEMBER"',
    ),
    Bug("admit keeps a job of a paused queue", "admit.lua", "paused, name) == 0", "paused, name) >= 0"),
    Bug("jobs go back to the wrong end", "lib/put_back.lua", "RPUSH", "LPUSH"),
    Bug("requeue turns the order round", "requeue.lua", "for i = #ARGV, 2, -1 do", "for i = 2, #ARGV do"),
    Bug(
        "a stale requeue puts its job",
        "lib/put_back.lua",
        'not redis.call("LPOS", running, payload)',
        "false",
    ),
    Bug("the living lose their jobs", "recover.lua", 'redis.call("EXISTS", process) == 1', "false"),
    Bug("recover forgets a queue's name", "recover.lua", 'redis.call("SADD", queues, name)\n', ""),
    Bug("a poison pill is buried and returned", "recover.lua", 'redis.call("LREM", running, 1, raw)\n', ""),
    Bug("a poison pill's crashes stay", "recover.lua", 'redis.call("DEL", crash)\n', ""),
    Bug("an innocent job's crashes are counted", "recover.lua", 'ARGV[i + 1] == "1"', "true"),
    Bug("an owner that holds jobs is forgotten", "forget.lua", "unpack(KEYS, 3)", "process"),
    Bug("an owner that holds jobs leaves", "leave.lua", "if held == 0 then", "if true then"),
    Bug(
        "an entry is promoted before it is due", "promote.lua", "tonumber(scores[n]) <= tonumber(now)", "true"
    ),
    Bug("a promoted entry stays", "promote.lua", "if #gone > 0", "if false"),
    Bug("the dead set keeps one too many", "lib/trim_dead.lua", "limit + 1", "limit"),
    Bug("the dead set keeps the old", "lib/trim_dead.lua", "old > 0", "old > 1000"),
    Bug(
        "entries are taken by their bytes alone",
        "lib/holds.lua",
        "tonumber(found) == tonumber(score)",
        "true",
    ),
    Bug("an enqueued entry stays", "enqueue_entry.lua", 'redis.call("ZREM", entries, entry)\n', ""),
    Bug(
        "an entry's queue is not looked at",
        "enqueue_entry.lua",
        'redis.call("LLEN", queue)\n',
        'redis.call("ZREM", entries, entry)\n',
    ),
    Bug("a job out of the dead set is not forgiven", "enqueue_entry.lua", 'forgive == "1"', "false"),
    Bug("a cleared queue's name stays", "clear_queue.lua", 'redis.call("SREM", queues, name)\n', ""),
    Bug("push turns the order round", "push.lua", '"LPUSH"', '"RPUSH"'),
    Bug("a zombie keeps its right to fetch", "recover.lua", "reap(owners, owner, reaped)\n", ""),
    Bug("a reaped owner is never forgotten", "forget.lua", "owners, owner, reaped)", "owners, owner)"),
    Bug("poison does not trim the dead set", "recover.lua", "if buried then", "if false then"),
]


def plant(bug: Bug, where: Path) -> Mapping[str, Script]:
    """The scripts that a bug changes, from a copy of lua/."""
    root = where / "lua"
    shutil.copytree(Path(str(script_dir())), root)
    path = root / bug.file
    text = path.read_text("utf-8")
    assert text.count(bug.old) == 1, f"{bug.name}: {bug.old!r} is not once in {bug.file}"
    path.write_text(text.replace(bug.old, bug.new), "utf-8")
    changed = {name: read(name, root) for name in library()}
    return {name: script for name, script in changed.items() if script.sha != library()[name].sha}
