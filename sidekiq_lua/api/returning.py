"""What a job out of a set is pushed as."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UnparsablePayload, UnserializableArguments
from ..payload import DEFAULTS, Payload, crash_key, is_number, new_jid
from ..store.bulk import Return
from ..store.entries import Entry

if TYPE_CHECKING:
    from ..app import App


def returning(app: App, entry: Entry, *, uncount: bool) -> Return:
    """The push of an entry: defaults filled in, client middleware run, `enqueued_at` set.

    `uncount`: the next failure gives `retry_count` the value that it has now. Raises UnparsablePayload for
    what is no job, InvalidJob, and whatever middleware raises.
    """
    found = app.codec.load(entry.raw)
    queue = found.get("queue") or DEFAULTS["queue"]
    if not isinstance(queue, str):
        raise UnparsablePayload(f"its queue is {queue!r}")
    payload = {**DEFAULTS, **found, "queue": queue}
    if uncount and is_number(payload.get("retry_count")):
        payload["retry_count"] -= 1
    payload.setdefault("jid", new_jid())
    payload.setdefault("created_at", app.stamp.now())
    payload.pop("at", None)
    passed = _through_middleware(app, payload)
    if passed is None:
        return Return(entry, "", b"", crash_key(found, entry.raw))
    passed["enqueued_at"] = app.stamp.now()
    return Return(entry, passed["queue"], _text(app, entry, passed), crash_key(found, entry.raw))


def _through_middleware(app: App, payload: Payload) -> Payload | None:
    chain = app.config.client_middleware
    if not chain:
        return payload
    kind = app.registry.find(payload["class"]) or payload["class"]
    return chain.invoke_client(kind, payload, payload["queue"], None, lambda: payload) or None


def _text(app: App, entry: Entry, payload: Payload) -> bytes:
    """Its new text; the old one if that has what can be read and not written, such as 1e400."""
    try:
        return app.codec.dump(payload)
    except UnserializableArguments:
        try:
            app.codec.dump(app.codec.load(entry.raw))
        except UnserializableArguments:
            return entry.raw
        raise
