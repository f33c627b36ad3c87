"""One action on very many entries, in bounded calls: retry, enqueue, kill, delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..store.bulk import States, slices
from ..store.entries import Entry, SetName
from .walk import pages

if TYPE_CHECKING:
    from ..app import App


class Progress(NamedTuple):
    """How far an action has come.

    `total` is how many entries the set had when it began; `seen` of these were looked at, `done` were
    acted upon, and `left` could not be and stay as they are. The rest did not fit, or were gone.
    """

    total: int
    seen: int = 0
    done: int = 0
    left: int = 0


Report = Callable[[Progress], object]
Chosen = list[Entry]
Act = Callable[[Chosen], tuple[States, int]]
"""Acts on what one call carries; answers the states of those it acted on, and how many others are left."""


def act_on_all(
    app: App,
    name: SetName,
    choose: Callable[[Sequence[Entry]], Chosen],
    needle: bytes,
    act: Act,
    report: Report | None,
) -> Progress:
    """Go through a set once, the lowest score first, and act on what is chosen.

    It ends behind what was the last entry when it began, and after as many entries as there were then, so
    that retried jobs that fail again and come back do not keep it going. A crash in the middle leaves the
    rest as it was.
    """
    total = size_of(app, name)
    progress = Progress(total)
    last = app.transport().run(app.store.pages.entries(name, None, upward=False, n=1)).last
    for page in pages(app, name, upward=True, needle=needle):
        mine = [entry for entry in page.entries if last is not None and _is_behind(last, entry)]
        for part in slices(choose(mine)):
            room = total - progress.done - progress.left
            states, left = act(part[:room]) if room > 0 else ([], 0)
            progress = progress._replace(
                done=progress.done + states.count(1), left=progress.left + left + states.count(-1)
            )
        progress = progress._replace(seen=min(total, progress.seen + page.looked_at))
        if report is not None:
            report(progress)
        if last is None or progress.done + progress.left >= total or not _is_behind(last, page.last):
            break
    return progress


def size_of(app: App, name: SetName) -> int:
    totals = app.transport().run(app.store.counters.totals())
    return {"schedule": totals.scheduled, "retry": totals.retries, "dead": totals.dead}[name]


def _is_behind(last: Entry, entry: Entry) -> bool:
    """Whether an entry comes before `last` in the set's order, or is it."""
    return (entry.score, entry.raw) <= (last.score, last.raw)
