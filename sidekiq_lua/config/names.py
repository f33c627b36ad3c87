"""Other spellings of settings' names."""

from __future__ import annotations

import re


def snake(name: str) -> str:
    """`heartbeatInterval`, `heartbeat-interval` and Ruby's `:heartbeat_interval` as `heartbeat_interval`."""
    bare = name.removeprefix(":").removesuffix(":").replace("-", "_")
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", bare).lower()


def keep_all(lines: list[str]) -> list[str]:
    """The default `backtrace_cleaner`: every line."""
    return lines
