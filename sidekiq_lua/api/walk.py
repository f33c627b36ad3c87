"""Goes through sets and queues that change underneath, holding one page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..store.calls import Call
from ..store.entries import Entry, SetName
from ..store.holding import Held, read_held
from ..store.pages import JobPage

if TYPE_CHECKING:
    from ..app import App


class Page(NamedTuple):
    """The entries of a page that contain the text; how many were looked at, and the last of these."""

    entries: list[Entry]
    looked_at: int
    last: Entry


def pages(
    app: App, name: SetName, *, upward: bool, needle: bytes = b"", after: Entry | None = None
) -> Iterator[Page]:
    """Page by page, from the lowest score up or the highest down; from behind `after`, if it is given.

    Every entry that nobody touches meanwhile comes exactly once, and no entry twice with the same score.
    Raises RedisError.
    """
    while True:
        found = app.transport().run(app.store.pages.entries(name, after, upward=upward, text=needle))
        if found.last is None:
            return
        yield Page(found.entries, found.looked_at, found.last)
        after = found.last


def waiting(app: App, queue: str, needle: bytes = b"") -> Iterator[bytes]:
    """The jobs of a queue that contain the text, the newest first.

    A job that nobody touches comes at least once, unless more than 100 jobs came back to the queue (at a
    worker's stop or death) between the reading of two pages. Raises RedisError.
    """
    return _list(app, lambda page: app.store.pages.jobs(queue, page, text=needle))


def held(app: App, name: str) -> Iterator[Held]:
    """What is held for a paused class, the newest first; each that nobody touches comes at least once.

    Raises RedisError.
    """
    return map(read_held, _list(app, lambda page: app.store.pages.held(name, page)))


def _list(app: App, call: Callable[[JobPage | None], Call[JobPage]]) -> Iterator[bytes]:
    page: JobPage | None = None
    while page is None or page.left > 0:
        page = app.transport().run(call(page))
        yield from page.jobs
