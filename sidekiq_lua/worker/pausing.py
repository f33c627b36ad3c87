"""Puts the jobs of paused classes aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import RedisError
from ..payload import Payload
from ..store import Transport
from .delivery import Delivery
from .exchange import Exchange

if TYPE_CHECKING:
    from ..app import App


class PausedClasses:
    """The paused job classes as this process knows them, from each beat; the first comes before all jobs.

    Where none is paused, a job costs the look at an empty set.
    """

    def __init__(self, app: App, transport: Transport) -> None:
        self._app = app
        self._transport = transport
        self.names: frozenset[str] = frozenset()

    def learn(self, *, some: bool) -> None:
        """Read them, if there are some. Raises RedisError."""
        self.names = self._transport.run(self._app.store.holding.classes())[0] if some else frozenset()

    def hold(self, exchange: Exchange, delivery: Delivery, payload: Payload) -> bool:
        """Put a fetched job aside if its class is paused. False: it is to be run."""
        wrapped = payload.get("wrapped")
        name = wrapped if isinstance(wrapped, str) else payload["class"]
        if name not in self.names:
            return False
        holding = self._app.store.holding
        try:
            state = self._transport.run(holding.hold(name, delivery.running, delivery.queue, delivery.raw))
        except RedisError as error:
            # Reconciling finds it in the running list, if it is still there, and takes it up again.
            exchange.let_go(delivery)
            exchange.fail(error)
            return True
        if state == "RUN":
            self.names -= {name}
            return False
        exchange.let_go(delivery, gone=state == "GONE")
        return True
