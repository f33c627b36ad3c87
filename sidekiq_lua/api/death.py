"""What belongs to a job's death at somebody's request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import JobKilled, UnparsablePayload
from ..store.running import Burial

if TYPE_CHECKING:
    from ..app import App


def burial(app: App) -> Burial:
    """The limits of the dead set, now."""
    now = app.clock.now()
    return Burial(now, now - app.config.dead_timeout_in_seconds, app.config.dead_max_jobs)


def tell_death_handlers(app: App, raw: bytes, ex: BaseException | None = None) -> None:
    """Call every death handler with (payload, error). One that fails is reported; what is no job has none."""
    handlers = app.config.death_handlers
    if not handlers:
        return
    try:
        payload = app.codec.load(raw)
    except UnparsablePayload:
        return
    error = ex or JobKilled("Job killed by API")
    for handler in handlers:
        try:
            handler(payload, error)
        except Exception as failure:
            app.handle_exception(failure, {"context": "Error calling death handler", "job": payload})
