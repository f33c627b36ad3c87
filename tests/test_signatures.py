"""Annotations with names that type checkers alone know, which Python 3.14 evaluates when asked for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import sidekiq_lua

PACKAGE = Path(sidekiq_lua.__file__).parent
SOURCE = """
from sidekiq_lua import Sidekiq

app = Sidekiq()

class PagesJob(app.IterableJob):
    def build_enumerator(self, pages: Unknown, *, cursor: Unknown) -> Unknown: ...
    def each_iteration(self, item: Unknown, pages: Unknown) -> None: ...

class HookedJob(app.Job):
    def sidekiq_retry_in(count: int, error: Unknown, payload: Unknown) -> Unknown: ...
    def perform(self, n: Unknown) -> None: ...

class Measure:
    config: Unknown
    def __init__(self, meter: Unknown) -> None: ...
    def call(self, job: Unknown, payload: Unknown, queue: str, next: Unknown) -> Unknown: ...

app.config.server_middleware.add(Measure, 1)

@app.config.error_handler
def tell(error: Unknown, context: Unknown, config: Unknown) -> None: ...
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="until 3.13 Python refuses such functions itself")
def test_unknown_names_in_annotations_do_no_harm() -> None:
    exec(SOURCE, {})


def test_one_module_alone_asks_for_signatures() -> None:
    """It asks in the way that evaluates no annotations."""
    asking = {path.name for path in PACKAGE.rglob("*.py") if "inspect.signature(" in path.read_text("utf-8")}
    assert asking == {"signatures.py"}
