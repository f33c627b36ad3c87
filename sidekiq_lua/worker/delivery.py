"""One job in this process's hands, from the fetch until it is settled."""

from __future__ import annotations

from typing import Any

from ..payload import Payload
from ..store import Running
from ..store.calls import Call


class Delivery:
    """A ticket: two deliveries of equal bytes are two jobs.

    `running` is where the job was fetched to; settling it looks only there, whatever epoch the process
    has come to since. `resent`: a settle call was sent once without an answer, so "gone" is no surprise.
    `payload`: what `raw` says, if somebody has looked already; `on_loop`: it needs no thread to begin.
    `jid`: the id that an iterable job keeps its state under, also if it came without one.
    `unsaved`: how far an iterable job came that failed, if that could not be saved yet.
    """

    __slots__ = ("given_back", "jid", "on_loop", "payload", "queue", "raw", "resent", "running", "unsaved")

    def __init__(self, queue: str, raw: bytes, running: Running) -> None:
        self.queue = queue
        self.raw = raw
        self.running = running
        self.resent = False
        self.given_back = False
        self.on_loop = False
        self.payload: Payload | None = None
        self.jid: str | None = None
        self.unsaved: Call[Any] | None = None
