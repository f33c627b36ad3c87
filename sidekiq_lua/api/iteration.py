"""How far iterable jobs have come."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..app import App

_PAGE = 16


class IterationState(NamedTuple):
    """`runtime` is in seconds, `cancelled` epoch seconds; the cursor is None before the first item."""

    jid: str
    executions: int
    runtime: float
    cursor: Any
    cancelled: int | None


class IterableJobQuery:
    """The states of several iterable jobs, read once: `IterableJobQuery(jids)[jid]`.

    Raises RedisError. Keys: `it-JID`.
    """

    def __init__(self, app: App, jids: str | Iterable[str | None] | None) -> None:
        wanted = [jids] if isinstance(jids, str) else jids or []
        names = list(dict.fromkeys(jid for jid in wanted if jid))
        self._states: dict[str, IterationState] = {}
        for first in range(0, len(names), _PAGE):
            part = names[first : first + _PAGE]
            states = app.transport().run(app.store.iterations.read(part))
            for jid, state in zip(part, states, strict=True):
                if state is not None:
                    self._states[jid] = IterationState(
                        jid, state.executions, state.runtime_s, _cursor(state.cursor), state.cancelled_at
                    )

    def __getitem__(self, jid: str) -> IterationState:
        """Raises KeyError for a job that has no state."""
        return self._states[jid]

    def __contains__(self, jid: object) -> bool:
        return jid in self._states

    def get(self, jid: str | None) -> IterationState | None:
        """The state of a job; None if it has none."""
        return self._states.get(jid) if jid else None


def _cursor(text: bytes) -> Any:
    """A cursor that is no JSON is shown as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.decode("utf-8", "backslashreplace")
