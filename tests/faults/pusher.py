"""A process that enqueues twenty jobs in one of the ways a client has: `python pusher.py bulk URL`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

from faults import jobs

from sidekiq_lua import sidekiq

KIND = "WorkJob"
JIDS = [f"ok-{n}" for n in range(20)]


class Noted:
    """Client middleware: gives each job its jid and writes it down; spreads bulks over two queues."""

    left = JIDS.copy()

    def call(
        self, job_class: Any, payload: dict[str, Any], queue: str, redis: Any, next: Callable[[], Any]
    ) -> Any:
        payload["jid"] = self.left.pop(0)
        if sys.argv[1].endswith("wide"):
            payload["queue"] = ("default", "low")[len(self.left) % 2]
        jobs.ledger.write("pushing", payload["jid"])
        return next()


def items() -> list[dict[str, Any]]:
    """What to push, one after the other."""
    way = sys.argv[1]
    options: dict[str, Any] = {"class": KIND, "retry": 3}
    if "later" in way:
        options["at"] = time.time() + 0.1
    if "bulk" in way:
        return [{**options, "args": [[0]] * 10}] * 2
    return [{**options, "args": [0]}] * len(JIDS)


def note(answer: Any) -> None:
    for jid in answer if isinstance(answer, list) else [answer]:
        jobs.ledger.write("pushed", jid)


async def push_async() -> None:
    client = sidekiq.async_client()
    for item in items():
        note(await (client.push_bulk(item) if "bulk" in sys.argv[1] else client.push(item)))
    await client.close()


def push() -> None:
    for item in items():
        note(sidekiq.client.push_bulk(item) if "bulk" in sys.argv[1] else sidekiq.client.push(item))


sidekiq.config.redis = sys.argv[2]
sidekiq.config.client_middleware.add(Noted)
if sys.argv[1].startswith("async"):
    asyncio.run(push_async())
else:
    push()
