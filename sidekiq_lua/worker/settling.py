"""Settles the jobs of one capsule that did not succeed, and tells what Redis says of the others."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from ..errors import LostReply, RedisError, RedisNotReady, RedisRefused, RedisUnavailable
from ..store import Transport
from ..store.calls import Call
from ..store.running import Settled
from .delivery import Delivery
from .ownership import Ownership

After = Callable[[Settled], None]


class Settling:
    """`owed` are the jobs that could not be settled yet."""

    def __init__(self, ownership: Ownership, transport: Transport, log: logging.Logger) -> None:
        self._ownership = ownership
        self._transport = transport
        self._log = log
        self._problem = ""
        self.owed: deque[tuple[Delivery, Call[Settled], After]] = deque()

    def settle(self, delivery: Delivery, call: Call[Settled], after: After) -> None:
        """Retry, bury or drop a job, then call `after`. Raises RedisError; then it is owed."""
        try:
            self._save(delivery)
            settled = self._run(delivery, call)
        except RedisError:
            self.owed.append((delivery, call, after))
            raise
        self._ownership.held.discard(delivery)
        if not settled.moved and not delivery.resent:
            self.gone(delivery, call.script.name)
            return
        if settled.problem:
            self.report(settled.problem)
        if not settled.added:
            self._log.warning("the dead set held the same text already: %r", delivery.raw)
        after(settled)

    def _save(self, delivery: Delivery) -> None:
        """Save how far it came, before others go on with it. Raises RedisUnavailable or RedisNotReady."""
        if delivery.unsaved is None:
            return
        try:
            self._transport.run(delivery.unsaved)
        except RedisNotReady:
            # It may be ready again for the call that follows: a retry without its state begins anew.
            raise
        except RedisRefused as error:
            self.report(str(error))
        delivery.unsaved = None

    def _run(self, delivery: Delivery, call: Call[Settled]) -> Settled:
        try:
            return self._transport.run(call)
        except LostReply:
            delivery.resent = True
            raise

    def settle_owed(self) -> None:
        """Settle what could not be settled before. Raises RedisUnavailable."""
        for _ in range(len(self.owed)):
            try:
                self.settle(*self.owed[0])
            except RedisUnavailable:
                raise
            except RedisError as error:
                self.report(str(error))
            finally:
                self.owed.popleft()  # it is owed until then, and stands at the end if it still is

    def gone(self, delivery: Delivery, script: str) -> None:
        """Somebody else has settled it."""
        if not delivery.resent:
            self._transport.counts.fenced[script] += 1
            self._log.warning(
                "a job of %s was settled elsewhere while it ran here (this process was taken for dead): "
                "its result here does not count: %r", delivery.queue, delivery.raw[:200],
            )  # fmt: skip

    def report(self, problem: str) -> None:
        """Log what Redis complains of, once."""
        if problem != self._problem:
            self._log.error("Redis: %s", problem)
            self._problem = problem
