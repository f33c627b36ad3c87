"""The pushes of one instance to one server, where a setting asks for more than to send them once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .config.settings import LONGEST_PUSH_S
from .errors import LostReply, RedisError, RedisNotReady, RedisRefused, RedisUnavailable
from .push_buffer import PushBuffer
from .sending import Parcel, Policy, deliver, run_here
from .store import AsyncTransport
from .store.calls import Call, Wait
from .store.sent import PushLanes

if TYPE_CHECKING:
    from .app import App

_HELP_S = 3.0
"""How long a push waits for its turn to empty the buffer, once Redis takes what is in it."""


class Outbox:
    """Sends pushes again until they are done, keeps them while Redis is away, and waits for replicas.

    Settings: `reliable_push`, `push_buffer`, `wait_replicas`, `wait_timeout_ms`. Thread-safe, fork-safe.
    """

    def __init__(self, app: App, pool: str | None) -> None:
        self._app = app
        self._pool = pool
        self._lanes = PushLanes(app.store.keys)
        self._buffer = PushBuffer(app, pool)

    def send(self, calls: Sequence[Call[int]], jids: list[str]) -> None:
        """Push jobs: `jids` are the jobs of all calls.

        Raises PushUnknown, NotReplicated, PushBufferFull, RedisUnavailable, RedisFull or RedisRefused.
        """
        parcels = self._parcels(calls)
        policy = self._policy()
        if not parcels:
            return
        if policy.kept and self._buffer.join_queue(parcels):
            if self._buffer.flows:
                self._buffer.drain(_HELP_S)
            return
        try:
            run_here(deliver(parcels, policy, jids), self._app.transport(self._pool), policy.wait)
        except (RedisUnavailable, RedisNotReady) as error:
            self._keep(parcels, policy, error)

    async def send_async(
        self, calls: Sequence[Call[int]], jids: list[str], transport: AsyncTransport
    ) -> None:
        """`send`, without blocking the event loop."""
        parcels = self._parcels(calls)
        policy = self._policy()
        if not parcels:
            return
        if policy.kept and self._buffer.join_queue(parcels):
            if self._buffer.flows:
                await asyncio.to_thread(self._buffer.drain, _HELP_S)
            return
        steps = deliver(parcels, policy, jids)
        answer: Any = None
        error: RedisError | None = None
        try:
            while True:
                try:
                    action = steps.throw(error) if error is not None else steps.send(answer)
                except StopIteration:
                    return
                answer = error = None
                if isinstance(action, float):
                    await asyncio.sleep(action)
                    continue
                try:
                    answer = await _run(transport, action, policy.wait)
                except RedisError as problem:
                    error = problem
        except (RedisUnavailable, RedisNotReady) as gone:
            self._keep(parcels, policy, gone)

    @property
    def kept(self) -> int:
        """How many jobs are kept in memory now."""
        return len(self._buffer)

    def close(self) -> None:
        """Send what is kept; what cannot be sent within 3 s is logged, each job with its text."""
        self._buffer.close()

    # -- inside -------------------------------------------------------------------------

    def _keep(self, parcels: Sequence[Parcel], policy: Policy, error: RedisError) -> None:
        if not policy.kept or isinstance(error, LostReply):
            raise error
        self._buffer.keep(parcels, error)

    def _policy(self) -> Policy:
        config = self._app.config
        wait = Wait(config.wait_replicas, config.wait_timeout_ms) if config.wait_replicas else None
        again = config.reliable_push
        patience_s = LONGEST_PUSH_S if again is True else float(again)
        return Policy(patience_s, wait, kept=bool(config.push_buffer))

    def _parcels(self, calls: Sequence[Call[int]]) -> list[Parcel]:
        lanes = self._lanes if self._app.config.reliable_push else None
        return [Parcel(call, lanes) for call in calls]


async def _run(transport: AsyncTransport, calls: list[Call[int]], wait: Wait | None) -> list[Any]:
    """The outcomes of calls; one alone saves the question whether its script is known."""
    if wait is not None or len(calls) > 1:
        return await transport.run_many(calls, wait)
    try:
        return [await transport.run(calls[0])]
    except RedisRefused as error:
        return [error]
