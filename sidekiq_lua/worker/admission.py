"""What becomes of a job that a blocking move has brought."""

from __future__ import annotations

from collections.abc import Callable

from ..clock import boottime
from ..store import Transport
from .delivery import Delivery
from .exchange import Exchange


class Admission:
    """Keeps such a job, if this process is still registered and the queue not paused, or gives it back."""

    def __init__(self, exchange: Exchange, transport: Transport) -> None:
        self._exchange = exchange
        self._transport = transport

    def admit(self, delivery: Delivery, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """Whether the job is kept: `active` if it is for the event loop, else `ready` for a thread.

        `meanwhile` is called while the server answers. Raises RedisError, and what `meanwhile` raises;
        reconciling finds the job then.
        """
        exchange, ownership = self._exchange, self._exchange.ownership
        owner, since = ownership.owner, boottime()
        ownership.held.add(delivery)
        try:
            # No renewal in between: it registers the old epoch again, and a job of this process that was
            # recovered meanwhile would be in the old list beside the bytes that its first run settles.
            with exchange.lock:
                if delivery.running is not ownership.running:
                    state = "OLD"
                elif exchange.room() <= 0:
                    state = "FULL"
                else:
                    state = self._ask(delivery, meanwhile)
                if state == "KEPT" and not exchange.take_up(delivery, since):
                    # A stop that finds nothing running would not wait for it.
                    state = "FULL"
            if state in ("OLD", "FULL", "REAPED"):
                exchange.give_back([delivery])
            if state == "REAPED":
                exchange.renew(owner)
        except BaseException:
            ownership.held.discard(delivery)  # so that it is unknown, and found
            raise
        self._transport.counts.fenced["admit"] += state == "GONE"
        if state == "BACK":
            exchange.paused |= {delivery.queue}
        if state != "KEPT":
            ownership.held.discard(delivery)
        return state == "KEPT"

    def _ask(self, delivery: Delivery, meanwhile: Callable[[], None]) -> str:
        sent = self._transport.send(delivery.running.admit(delivery.queue, delivery.raw))
        try:
            meanwhile()
        except BaseException:
            sent.abandon()
            raise
        return sent.read()
