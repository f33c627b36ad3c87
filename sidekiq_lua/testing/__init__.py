"""Tests of code that enqueues: jobs are kept in memory, or run at once, or go to a throw-away server.

Importing this changes nothing; `Testing.fake()` or `Testing.inline()` does. See docs/testing.md.
"""

from __future__ import annotations

from ..errors import EmptyQueueError
from .assertions import assert_enqueued, enqueued_jobs, refute_enqueued
from .modes import Testing
from .queues import JobQueues, Queues

__all__ = [
    "EmptyQueueError",
    "JobQueues",
    "Queues",
    "Testing",
    "assert_enqueued",
    "enqueued_jobs",
    "refute_enqueued",
]
