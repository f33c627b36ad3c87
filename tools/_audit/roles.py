"""Writes docs/acl.md: what each role may do, and the line that allows it."""

from __future__ import annotations

from pathlib import Path

from sidekiq_lua.store.access import PLAIN, Grant, grant

INTRODUCTION = (Path(__file__).parent / "acl.md").read_text("utf-8")
TEXTS = {
    "enqueuer": "Pushes jobs. It can neither take a job nor read one.",
    "worker": "Runs jobs and schedules; may push, since jobs do.",
    "scheduler": "Moves what is due into its queue: for a process of your own; each worker does this itself.",
    "dashboard": "Reads. A push, a deletion or a pause is refused.",
    "admin": "Reads, deletes, moves, retries, pauses, signals; for `sidekiq-lua slowlog` and `trace` too.",
}


def page() -> str:
    return INTRODUCTION + "".join(_section(grant(role)) for role in PLAIN)


def _section(granted: Grant) -> str:
    role = granted.role
    return (
        f"\n## {role}\n\n{TEXTS[role]}\n\n```\n{granted.line(f'sidekiq-{role}', '>PASSWORD')}\n```\n\n"
        f"Scripts: {', '.join(f'[{name}](scripts.md#{name})' for name in granted.scripts)}.\n"
    )
