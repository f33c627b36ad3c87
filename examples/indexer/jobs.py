"""Index Python sources: one job for each file, and one that sums up.

    sidekiq-lua worker -r examples/indexer/jobs.py      runs them
    IndexFile.perform_async("/path/to/a.py")            puts one in the queue

The index is a SQLite file: INDEXER_DB names it, else it is `indexer.sqlite3` in the current directory.
"""

from __future__ import annotations

import ast
import os
import sqlite3
import warnings
from collections import Counter
from contextlib import closing
from pathlib import Path

from sidekiq_lua import Job, sidekiq

DATABASE = os.environ.get("INDEXER_DB", "indexer.sqlite3")
TABLES = """
    CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, lines INT, functions INT, classes INT);
    CREATE TABLE IF NOT EXISTS summary (id INT PRIMARY KEY, files INT, lines INT, functions INT, classes INT);
"""

# They are about the files that are read, not about this program.
warnings.filterwarnings("ignore", category=SyntaxWarning)


@sidekiq.configure_server
def configure(config):
    config.poll_interval_average = 1  # second; how often the worker looks for retries that are due


class IndexFile(Job[[str]]):
    """Parse one file and store its counts.

    It may run twice (a worker that is killed cannot say that it was done), so it replaces its row.
    """

    sidekiq_options = {"retry": 1}

    def perform(self, path: str) -> None:
        source = Path(path).read_bytes()
        kinds = Counter(type(node) for node in ast.walk(ast.parse(source, path)))
        functions = kinds[ast.FunctionDef] + kinds[ast.AsyncFunctionDef]
        with closing(index()) as db:
            db.execute(
                "REPLACE INTO files VALUES (?, ?, ?, ?)",
                (path, len(source.splitlines()), functions, kinds[ast.ClassDef]),
            )


@IndexFile.retry_in
def a_second_later(count, error, payload):
    return 1  # to which Sidekiq adds 0 to 9 seconds, so that many failures do not come back as one


class SumUp(Job[[]]):
    """Add up what is in the index."""

    def perform(self) -> None:
        with closing(index()) as db:
            db.execute(
                "REPLACE INTO summary"
                " SELECT 1, count(*), total(lines), total(functions), total(classes) FROM files"
            )


def index() -> sqlite3.Connection:
    """A connection to the index, for one thread; every statement is a transaction."""
    db = sqlite3.connect(DATABASE, timeout=30, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")  # fast: after a power cut the index is simply made again
    db.executescript(TABLES)
    return db
