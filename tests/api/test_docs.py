"""docs/data-api.md lists every public method of Ruby's API, and each name of ours in it exists."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import sidekiq_lua
from sidekiq_lua.api.classes import HeldJob
from sidekiq_lua.api.iteration import IterationState
from sidekiq_lua.api.profiles import ProfileRecord

PAGE = (Path(__file__).parents[2] / "docs" / "data-api.md").read_text("utf-8")
TABLE = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][1:]
MORE = {"HeldJob": HeldJob, "IterationState": IterationState, "ProfileRecord": ProfileRecord}
NAMES = sorted({name for _, ours in TABLE for name in re.findall(r"`([A-Z]\w+(?:\.\w+)?)`", ours)})

RUBY = """
processed failed scheduled_size retry_size dead_size enqueued processes_size workers_size
default_queue_latency queues queue_summaries reset fetch_stats! all name id size paused? latency each
find_job clear as_json item value queue klass display_class display_args args jid iterable_state bid
failed_at retried_at enqueued_at created_at tags error_backtrace delete [] score at parent error?
reschedule add_to_queue retry kill scan schedule pop_each retry_all kill_all fetch remove_job
delete_by_value delete_by_jid trim total_concurrency total_rss_in_kb total_rss leader cleanup tag labels
identity weights capsules version embedded? quiet! stop! dump_threads stopping? leader? find_work
find_work_by_jid process_id thread_id run_at job payload started_at type token elapsed key data
executions runtime cursor cancelled Stats::History Queue JobRecord SortedEntry SortedSet JobSet
ScheduledSet RetrySet DeadSet ProcessSet Process WorkSet Workers Work ProfileSet ProfileRecord
IterableJobQuery
""".split()  # noqa: SIM905
"""The public methods and classes of lib/sidekiq/api.rb in Sidekiq 8.1.7."""


def has(kind: Any, name: str) -> bool:
    annotated = any(name in getattr(base, "__annotations__", {}) for base in kind.__mro__)
    if hasattr(kind, name) or annotated:
        return True
    source = "".join(Path(str(found)).read_text("utf-8") for found in _files(kind))
    return f"self.{name} = " in source or f"self.{name}: " in source


def _files(kind: Any) -> list[str]:
    return [inspect.getfile(base) for base in kind.__mro__ if base.__module__.startswith("sidekiq_lua")]


def exists(name: str) -> bool:
    first, _, attribute = name.partition(".")
    kind = MORE.get(first) or getattr(sidekiq_lua, first)
    return not attribute or has(kind, attribute)


def test_the_names_in_the_table_exist() -> None:
    assert len(NAMES) > 120
    assert [name for name in NAMES if not exists(name)] == []


def test_the_table_names_all_of_ruby() -> None:
    told = " ".join(ruby for ruby, _ in TABLE)
    words = set(re.findall(r"[`.# ]([\w:]+[?!]?|\[\])(?=[`#. ])", told))
    assert [name for name in RUBY if name not in words] == []
    assert all(len(row) == 2 and row[1].strip() for row in TABLE)
