"""Enqueues a job for each file, and waits until every file is accounted for."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from typing import NamedTuple

from bar import Bar
from stage import JOBS, DemoFailed, Worker

from sidekiq_lua import Stats, sidekiq

sys.path.insert(0, str(JOBS.parent))
import jobs

LOOK_EVERY_S = 0.1


class Look(NamedTuple):
    """Where the files are, and Sidekiq's counters."""

    succeeded: int
    retrying: int
    dead: int
    processed: int
    failed: int


class Run:
    """One run over `files`, which gives up after `timeout_s` seconds."""

    def __init__(self, files: list[str], timeout_s: float) -> None:
        self.files = files
        self._timeout_s = timeout_s
        self.elapsed_s = 0.0
        self.first_pass_s = 0.0
        """When each file had been tried once."""
        self.summary: tuple[int, ...] = ()
        """Files, lines, functions and classes, as the last job has added them up."""

    def wait(self, worker: Worker) -> None:
        """Enqueue, and return when the sum is there. Raises DemoFailed."""
        began, files = time.monotonic(), len(self.files)
        jobs.IndexFile.perform_bulk([[path] for path in self.files])
        summing = False
        with closing(Bar(files)) as bar:
            while not self.summary:
                look = self.look()
                self.elapsed_s = time.monotonic() - began
                bar.show(look.succeeded, look.retrying, look.dead, self.elapsed_s)
                if not self.first_pass_s and look.succeeded + look.retrying + look.dead >= files:
                    self.first_pass_s = self.elapsed_s
                if not summing and look.succeeded + look.dead == files:
                    jobs.SumUp.perform_async()
                    summing = True
                worker.check()
                if self.elapsed_s > self._timeout_s:
                    raise DemoFailed(
                        f"not done within {self._timeout_s:g} s: of {files} files {look.succeeded} succeeded,"
                        f" {look.dead} are dead; give it longer with --timeout, or see {worker.log}"
                    )
                time.sleep(LOOK_EVERY_S)
                self.summary = self._summary()

    def look(self) -> Look:
        stats = Stats(sidekiq)
        [(succeeded,)] = _select("SELECT count(*) FROM files")
        return Look(succeeded, stats.retry_size, stats.dead_size, stats.processed, stats.failed)

    def dead(self) -> dict[str, str]:
        """The dead files, each with its reason, as Sidekiq's dead set has them."""
        entries = [json.loads(text) for text in sidekiq.redis_pool.command("ZRANGE", "dead", 0, -1)]
        return {entry["args"][0]: f"{entry['error_class']}: {entry['error_message']}" for entry in entries}

    def account(self) -> None:
        """Raises DemoFailed unless every file, and nothing else, is either in the index or dead."""
        indexed = {path for (path,) in _select("SELECT path FROM files")}
        dead = set(self.dead())
        wrong = (set(self.files) ^ (indexed | dead)) | (indexed & dead)
        if wrong:
            raise DemoFailed(f"{len(wrong)} files are not accounted for, such as {min(wrong)}")

    def _summary(self) -> tuple[int, ...]:
        rows = _select("SELECT files, lines, functions, classes FROM summary")
        return tuple(int(number) for number in rows[0]) if rows else ()


def _select(query: str) -> list[tuple]:
    with closing(jobs.index()) as db:
        return db.execute(query).fetchall()
