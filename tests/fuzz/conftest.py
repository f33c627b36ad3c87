"""A worker that runs for a whole module, and what became of each job."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from servers import Server
from waiting import wait_until

from sidekiq_lua import Formatters, Sidekiq, SidekiqLogger


class Lab:
    """One worker on a server of its own. A payload's mark is its last field."""

    def __init__(self, server: Server) -> None:
        self.client = server.client()
        self.log = io.StringIO()
        self.done: list[Any] = []
        self.args: dict[Any, Any] = {}
        self.died: list[Any] = []
        self.errors: list[BaseException] = []
        self.app = app = Sidekiq(
            redis=server.url,
            concurrency=4,
            heartbeat_interval=0.2,
            heartbeat_ttl=2,
            poll_interval_average=0.02,
            timeout=5,
            logger=SidekiqLogger(self.log, Formatters.Plain()),
        )
        app.config.death_handlers.append(lambda payload, error: self.died.append(payload.get("mark")))
        app.config.error_handlers.append(lambda error, context, config: self.errors.append(error))
        done, args = self.done, self.args

        class Note:
            def call(self, job: Any, payload: Any, queue: str, next: Any) -> Any:
                args[payload.get("mark")] = payload["args"]
                result = next()
                done.append(payload.get("mark"))
                return result

        app.config.server_middleware.add(Note)

        class FineJob(app.Job):
            def perform(self, *args: Any) -> None: ...

        class FailingJob(app.Job):
            def perform(self, *args: Any) -> None:
                raise ValueError("boom \ud800")

        class AsyncFineJob(app.Job):
            async def perform(self, *args: Any) -> None: ...

        class AsyncFailingJob(app.Job):
            async def perform(self, *args: Any) -> None:
                raise ValueError("boom")

        self.fine = FineJob
        self.runner = app.run()

    def close(self) -> None:
        self.runner.stop()
        self.app.close()
        self.client.close()

    def clear(self) -> None:
        """Forget the last round; the worker stays."""
        for key in (b"dead", b"retry", b"schedule", *self.client.keys("queue:*")):
            self.client.delete(key)
        for seen in (self.done, self.args, self.died, self.errors):
            seen.clear()
        self.log.truncate(0)

    def put(self, place: str, raws: list[bytes]) -> None:
        if place == "queue":
            self.client.lpush("queue:default", *raws)
        else:
            self.client.zadd(place, {raw: n for n, raw in enumerate(raws)})

    def settle(self) -> None:
        """Wait until nothing is left to do; an ordinary job then shows that the worker still works."""
        canary = len(self.done)
        try:
            wait_until(self._at_rest, 10, "every payload is settled")
        except AssertionError as error:
            raise AssertionError(f"{error}; left are {self._left()}") from None
        self.fine.perform_async()
        wait_until(lambda: None in self.done[canary:] or None, 10, "an ordinary job runs")
        self.done.remove(None)
        wait_until(self._at_rest, 10, "the ordinary job is acknowledged")

    def _at_rest(self) -> bool:
        with self.client.pipeline(transaction=True) as pipe:
            pipe.llen("queue:default")
            pipe.zcount("schedule", "-inf", time.time())
            pipe.zcount("retry", "-inf", time.time())
            pipe.keys("lua:running:*")
            return not any(pipe.execute())

    def _left(self) -> list[bytes]:
        lists = [b"queue:default", *self.client.keys("lua:running:*")]
        left = [raw for key in lists for raw in self.client.lrange(key, 0, -1)]
        sets = [raw for key in ("retry", "schedule") for raw in self.client.zrange(key, 0, -1)]
        return [raw[:500] for raw in (*left, *sets)]

    def places(self, raw: bytes, n: int) -> list[tuple[str, bytes]]:
        """Where a payload is now, and as which text: its own or, if it failed as a job, one with its mark."""
        found = [("done", raw)] * self.done.count(n)
        stored = {name: self.client.zrange(name, 0, -1) for name in ("dead", "retry", "schedule")}
        for key in self.client.keys("queue:*"):
            stored[key.decode("utf-8", "replace")] = self.client.lrange(key, 0, -1)
        marked = re.compile(rb'"mark": ?%d[,}]' % n)
        for name, texts in stored.items():
            found += [(name, text) for text in texts if text == raw or marked.search(text)]
        if not found:
            found += [("dropped", raw)] * self.died.count(n)
        return found


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Server() as server:
        lab = Lab(server)
        yield lab
        lab.close()
