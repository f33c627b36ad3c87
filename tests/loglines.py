"""What a logger printed, and the process, thread and moment of the sample lines."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from freezegun import freeze_time

from sidekiq_lua.context import use_tid
from sidekiq_lua.log import SidekiqLogger

COUNT = {"jid": "5adeec93f53b205ebf62ec9d", "class": "CountIterableJob"}
ECHO = {"jid": "5d3a68458bd352e26732caa4", "class": "EchoJob"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def ruby(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The moment, process and thread of the samples."""
    monkeypatch.setattr(os, "getpid", lambda: 17110)
    with freeze_time("2026-11-24T02:52:44.438"), use_tid("dvu"):
        yield


def logged(write: Callable[[SidekiqLogger], object], stream: io.StringIO | None = None, **named: Any) -> str:
    """What `write` makes the logger print; the record's way must print the same as the fast one."""
    stream = stream or io.StringIO()
    fast = SidekiqLogger(stream, **named)
    write(fast)
    text = stream.getvalue()
    slow = SidekiqLogger(stream, **named)
    seen: list[logging.LogRecord] = []
    slow.addFilter(lambda record: seen.append(record) or True)
    with freeze_time("2026-11-24T02:52:44.438"):
        stream.seek(0)
        stream.truncate()
        write(fast)
        again = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        write(slow)
    assert stream.getvalue() == again
    assert bool(seen) == bool(again)
    return text
