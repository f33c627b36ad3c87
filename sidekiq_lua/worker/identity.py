"""What a process says of itself: identity, info, memory, title."""

from __future__ import annotations

import json
import os
import resource
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import setproctitle

from ..config import Capsule
from ..version import SIDEKIQ_VERSION, __version__

if TYPE_CHECKING:
    from ..config import Config


def hostname() -> str:
    """DYNO on Heroku, else the host's name."""
    return os.environ.get("DYNO") or socket.gethostname()


def new_identity() -> str:
    """HOST:PID:NONCE, unique for each start of a worker."""
    return f"{hostname()}:{os.getpid()}:{secrets.token_hex(6)}"


def info(
    config: Config, capsules: Sequence[Capsule], identity: str, started_at: float, embedded: bool
) -> str:
    """The JSON of the heartbeat's field `info`, in Sidekiq's order of keys.

    `version` is the Sidekiq version whose data this process writes: Ruby's pages show another one as a
    warning. `concurrency` stands here for readers before 8.1.2, and as a field of the hash for later ones.
    """
    weights: list[dict[str, Any]] = [dict(capsule.weights) for capsule in capsules]
    queues = list(dict.fromkeys(name for capsule in capsules for name in capsule.weights))
    return json.dumps(
        {
            "hostname": hostname(),
            "started_at": started_at,
            "pid": os.getpid(),
            "tag": config.tag or "",
            "capsules": {
                capsule.name: {
                    "concurrency": capsule.concurrency,
                    "mode": capsule.mode,
                    "weights": weight,
                }
                for capsule, weight in zip(capsules, weights, strict=True)
            },
            "concurrency": sum(capsule.concurrency for capsule in capsules),
            "queues": queues,
            "weights": weights,
            "labels": list(config.labels),
            "identity": identity,
            "version": SIDEKIQ_VERSION,
            "embedded": embedded,
            "lua_version": __version__,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def rss_kb() -> int:
    """Resident memory of this process in KB; 0 where it cannot be had."""
    try:
        with Path("/proc/self/statm").open("rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except (OSError, ValueError, IndexError):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def set_title(tag: str, busy: int, total: int, stopping: bool) -> None:
    """The process title, as Sidekiq's."""
    parts = ["sidekiq-lua", __version__, *([tag] if tag else []), f"[{busy} of {total} busy]"]
    setproctitle.setproctitle(" ".join(parts + (["stopping"] if stopping else [])))
