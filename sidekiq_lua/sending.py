"""How a push that may be sent again goes to Redis: what to send, when to send it again, how it ends.

`deliver` decides and does nothing by itself, so that both clients share it.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from time import sleep
from typing import Any, NamedTuple

from .clock import monotonic
from .errors import (
    LostReply,
    NotReplicated,
    PushUnknown,
    RedisError,
    RedisNotReady,
    RedisRefused,
    RedisUnavailable,
)
from .store.calls import Call, Wait
from .store.sent import PushLane, PushLanes, once
from .store.transport import Transport

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


class Parcel:
    """One call of a push, on a lane of its own while it is under way."""

    __slots__ = ("_lane", "_lanes", "call", "safe", "since", "uncertain")

    def __init__(self, call: Call[int], lanes: PushLanes | None) -> None:
        self.call = call
        self.safe = call
        self.uncertain = False
        """Whether it was sent and may have been carried out."""
        self.since = 0.0
        """When it was first sent (monotonic seconds)."""
        self._lanes = lanes
        self._lane: PushLane | None = None

    def begin(self) -> None:
        """Take a lane, unless it has one."""
        if self._lanes is not None and self._lane is None:
            self._lane = self._lanes.take()
            self.safe = once(self.call, self._lane)
            self.since = monotonic()

    def end(self) -> None:
        """It is done, or it is sure that it is not: the lane is free."""
        if self._lanes is not None and self._lane is not None:
            self._lanes.give(self._lane)
        self._lane = None
        self.uncertain = False


class Policy(NamedTuple):
    """`patience_s`: how long to send again, 0: not at all. `kept`: what was not sent is kept elsewhere."""

    patience_s: float = 0.0
    wait: Wait | None = None
    kept: bool = False

    def may_pass(self, error: RedisError) -> bool:
        """Whether to wait for what a refused push needs, as for a Redis that is away."""
        return isinstance(error, RedisNotReady) and (self.kept or self.patience_s > 0)


Steps = Generator[list[Call[int]] | float, Any, None]
"""Yields calls to run, whose outcomes are sent back or thrown, and seconds to pause."""


def deliver(parcels: Sequence[Parcel], policy: Policy, jids: list[str]) -> Steps:
    """Send until each parcel is done or refused.

    Raises PushUnknown, NotReplicated, RedisUnavailable (nothing is there) or what Redis refused it with.
    """
    until = monotonic() + policy.patience_s
    pause = _FIRST_PAUSE_S
    waiting = list(parcels)
    refusals: list[RedisError] = []
    for parcel in waiting:
        parcel.begin()
    while True:
        problem: RedisError
        try:
            outcomes = yield [parcel.safe for parcel in waiting]
            confirmed = outcomes.pop() if policy.wait else None
        except LostReply as error:
            problem = error
            for parcel in waiting:
                parcel.uncertain = True
        except RedisError as error:
            problem = error
        else:
            again = []
            for parcel, outcome in zip(waiting, outcomes, strict=True):
                if not isinstance(outcome, RedisError):
                    parcel.end()
                elif parcel.uncertain or policy.may_pass(outcome):
                    # Refused before the script could look whether it was done.
                    again.append(parcel)
                    problem = outcome
                else:
                    parcel.end()
                    refusals.append(outcome)
            waiting = again
            if not waiting:
                _conclude(len(parcels), refusals, confirmed, policy.wait, jids)
                return
        unsure = any(parcel.uncertain for parcel in waiting)
        untouched = not unsure and len(waiting) == len(parcels)
        if untouched and (policy.kept or not isinstance(problem, RedisUnavailable | RedisNotReady)):
            _release(waiting)
            raise problem
        pause = min(pause * 2, _LONGEST_PAUSE_S)
        if monotonic() + pause >= until:
            if untouched:
                _release(waiting)
                raise problem
            if unsure:
                raise unknown(problem, jids) from problem
            _release(waiting)
            raise partly(problem, jids) from problem
        yield pause * (0.5 + random.random() / 2)


def _release(parcels: Sequence[Parcel]) -> None:
    for parcel in parcels:
        parcel.end()


def _conclude(
    sent: int, refusals: list[RedisError], confirmed: Any, wait: Wait | None, jids: list[str]
) -> None:
    if refusals and len(refusals) < sent:
        raise partly(refusals[0], jids)
    if refusals:
        raise refusals[0]
    if wait is not None and (isinstance(confirmed, RedisError) or confirmed < wait.replicas):
        found = f"{confirmed} of {wait.replicas} replicas confirmed it within {wait.timeout_ms} ms"
        raise NotReplicated(
            f"{_named(jids)} may be lost in a failover: it is in Redis, but "
            + (f"its replicas cannot be asked: {confirmed}" if isinstance(confirmed, RedisError) else found),
            jids,
        )


def _named(jids: Sequence[str]) -> str:
    return jids[0] if len(jids) == 1 else f"{len(jids)} jobs"


def unknown(error: RedisError, jids: list[str]) -> PushUnknown:
    """What a push raises whose answer never came."""
    return PushUnknown(f"{_named(jids)} may be in Redis or not: {error}", jids)


def partly(error: RedisError, jids: list[str]) -> PushUnknown:
    """What a push of several calls raises of which some were refused."""
    return PushUnknown(f"{error} (other jobs of this slice were pushed)", jids)


# -- doing it -------------------------------------------------------------------------------


def run_here(steps: Steps, transport: Transport, wait: Wait | None) -> None:
    """Do what `deliver` says, in this thread."""
    answer: Any = None
    error: RedisError | None = None
    while True:
        try:
            action = steps.throw(error) if error is not None else steps.send(answer)
        except StopIteration:
            return
        answer = error = None
        if isinstance(action, float):
            sleep(action)
            continue
        try:
            answer = _run(transport, action, wait)
        except RedisError as problem:
            error = problem


def _run(transport: Transport, calls: list[Call[int]], wait: Wait | None) -> list[Any]:
    """The outcomes of calls; one alone saves the question whether its script is known."""
    if wait is not None or len(calls) > 1:
        return transport.run_many(calls, wait)
    try:
        return [transport.run(calls[0])]
    except RedisRefused as error:
        return [error]
