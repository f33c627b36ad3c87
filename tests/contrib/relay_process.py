"""A relay in a process of its own, which kills itself at one step: `relay_process.py URL DATABASE STEP`.

Steps: `before relay`, `sent relay`, … as in store/fault.py; `before` and `after` `read` or `delete`.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from typing import Any

from sidekiq_lua import Sidekiq
from sidekiq_lua.contrib.outbox import DbApi, Outbox
from sidekiq_lua.store import fault

step = ""


def come_to(stage: str, name: str) -> None:
    if step == f"{stage} {name}":
        os.kill(os.getpid(), signal.SIGKILL)


class Watched(DbApi):
    def read(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        come_to("before", "read")
        found = super().read(sql, values)
        come_to("after", "read")
        return found

    def write(self, sql: str, values: Sequence[Any]) -> None:
        come_to("before", "delete")
        super().write(sql, values)
        come_to("after", "delete")


if __name__ == "__main__":
    url, path, step = sys.argv[1:]
    fault.at = come_to
    outbox = Outbox("shop", Watched(lambda: sqlite3.connect(path)), Sidekiq(redis=url))
    relay = outbox.relay(batch=7, claim=0.2, interval=0.01)
    relay.run_once()
    relay.close()
