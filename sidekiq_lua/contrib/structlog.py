"""structlog: a processor that gives each line of a job its jid, class, tags and what else its context has.

::

    structlog.configure(processors=[job_context, structlog.processors.JSONRenderer()])

In the `foreign_pre_chain` of a `structlog.stdlib.ProcessorFormatter` it does the same for sidekiq-lua's own
lines, `start`, `done` (with `elapsed`) and `fail`, and for `self.logger` in jobs, where the setting `logger`
is a `logging.Logger` whose handler has that formatter. structlog itself is not imported here.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from ..context import Context


def job_context(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the keys of the current `Context` that the event does not have itself."""
    record = event_dict.get("_record")
    known = {} if record is None else record.__dict__
    context = known.get("sidekiq_context")
    if context is None:
        context = Context.peek()
    message = known.get("sidekiq_message")
    if message is not None:
        # Without the context as text, which a plain logger's message ends in.
        event_dict["event"] = message
    for name, value in context.items():
        event_dict.setdefault(name, value)
    return event_dict
