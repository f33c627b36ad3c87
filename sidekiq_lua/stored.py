"""A job of the retry, schedule or dead set on its way back to a queue: what is pushed in its stead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import UnparsablePayload, UnserializableArguments
from .payload import DEFAULTS, Payload, new_jid

if TYPE_CHECKING:
    from .app import App


def load(app: App, raw: bytes) -> tuple[Payload, str]:
    """The job as it is stored, and its queue. Raises UnparsablePayload for what is no job."""
    found = app.codec.load(raw)
    queue = found.get("queue") or DEFAULTS["queue"]
    if not isinstance(queue, str):
        raise UnparsablePayload(f"its queue is {queue!r}")
    return found, queue


def filled(app: App, found: Payload, queue: str) -> Payload:
    """A copy with what other writers may have left out, and without `at`."""
    payload = {**DEFAULTS, **found, "queue": queue}
    payload.setdefault("jid", new_jid())
    payload.setdefault("created_at", app.stamp.now())
    payload.pop("at", None)
    return payload


def to_push(app: App, raw: bytes, payload: Payload) -> tuple[str, bytes]:
    """Its queue and text after client middleware has run; ("", b"") if this stopped it.

    Raises what middleware raises.
    """
    passed = _through_middleware(app, payload)
    if passed is None:
        return "", b""
    passed["enqueued_at"] = app.stamp.now()
    return passed["queue"], _text(app, raw, passed)


def _through_middleware(app: App, payload: Payload) -> Payload | None:
    chain = app.config.client_middleware
    if not chain:
        return payload
    kind = app.registry.find(payload["class"]) or payload["class"]
    return chain.invoke_client(kind, payload, payload["queue"], None, lambda: payload) or None


def _text(app: App, raw: bytes, payload: Payload) -> bytes:
    """The job's new text; its old one if that has what can be read and not written, such as 1e400."""
    try:
        return app.codec.dump(payload)
    except UnserializableArguments:
        try:
            app.codec.dump(app.codec.load(raw))
        except UnserializableArguments:
            return raw
        raise
