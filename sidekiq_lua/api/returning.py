"""What a job out of a set is pushed as."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..payload import crash_key, is_number
from ..store.bulk import Return
from ..store.entries import Entry
from ..stored import filled, load, to_push

if TYPE_CHECKING:
    from ..app import App


def returning(app: App, entry: Entry, *, uncount: bool) -> Return:
    """The push of an entry: defaults filled in, client middleware run, `enqueued_at` set.

    `uncount`: the next failure gives `retry_count` the value that it has now. Raises UnparsablePayload for
    what is no job, InvalidJob, and whatever middleware raises.
    """
    found, queue = load(app, entry.raw)
    payload = filled(app, found, queue)
    if uncount and is_number(payload.get("retry_count")):
        payload["retry_count"] -= 1
    return Return(entry, *to_push(app, entry.raw, payload), crash_key(found, entry.raw))
