"""Enqueues for a Python peer: client.py MODULE one|fill NUMBER. Prints the seconds as JSON.

A peer's module has `one(n)`, a function or coroutine, and may have `many(numbers)` and an async `session()`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any


@contextlib.asynccontextmanager
async def _no_session() -> AsyncIterator[None]:
    yield


def plain(peer: Any, action: str, number: int) -> float:
    began = time.perf_counter()
    if action == "fill" and hasattr(peer, "many"):
        for start in range(0, number, 1000):
            peer.many(range(start, min(start + 1000, number)))
    else:
        for n in range(number):
            peer.one(n)
    return time.perf_counter() - began


async def on_loop(peer: Any, action: str, number: int) -> float:
    async with getattr(peer, "session", _no_session)():
        began = time.perf_counter()
        if action == "fill":
            for start in range(0, number, 16):
                await asyncio.gather(*(peer.one(n) for n in range(start, min(start + 16, number))))
        else:
            for n in range(number):
                await peer.one(n)
        return time.perf_counter() - began


if __name__ == "__main__":
    name, what, count = sys.argv[1:]
    found = importlib.import_module(name)
    if inspect.iscoroutinefunction(found.one):
        seconds = asyncio.run(on_loop(found, what, int(count)))
    else:
        seconds = plain(found, what, int(count))
    print(json.dumps({"seconds": seconds}))
