"""Calls on states of iterable jobs. Keys: `it-JID`, `lua:running:*`, `queue:NAME`, `schedule`, `stat:*`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .calls import Call
from .keys import Keys
from .running import DAY_TTL_S, Running, Settled
from .scripts import library

STATE_TTL_S = 2_592_000
"""How long a state is kept after it was last saved: 30 days, for as long as a job may be retried."""

_LONGEST_S = 10**10
"""Redis takes no life that ends beyond what it can count in milliseconds."""


class State(NamedTuple):
    """How far an iterable job has come, as Sidekiq stores it. `cursor` is JSON; times are in seconds."""

    executions: int = 0
    cursor: bytes = b"null"
    runtime_s: float = 0.0
    cancelled_at: int | None = None


class Saved(NamedTuple):
    """`held` is False when the job is no longer this owner's, and nothing was written."""

    held: bool
    cancelled: bool


class RunningJob(NamedTuple):
    """A running job as its owner holds it, and the id under which its state is kept."""

    running: Running
    queue: str
    raw: bytes
    jid: str


class Iterations:
    """The states of iterable jobs, by jid."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._read = library()["read_iteration"].call
        self._cancel = library()["cancel_iteration"].call
        self._save = library()["save_iteration"].call
        self._interrupt = library()["interrupt_iteration"].call
        self._finish = library()["finish_iteration"].call

    def read(self, jids: Sequence[str]) -> Call[list[State | None]]:
        """The states of at most 16 jobs; None for a job that has none."""
        return self._read(
            states=[self._keys.iteration(jid) for jid in jids], read=lambda reply: [*map(_state, reply)]
        )

    def cancel(self, jid: str, now: float) -> Call[bool]:
        """Cancel a job at epoch seconds `now`. False: it was cancelled before."""
        return self._cancel(
            state=self._keys.iteration(jid), now=int(now), ttl=STATE_TTL_S, read=lambda reply: reply == 1
        )

    def save(self, job: RunningJob, state: State) -> Call[Saved]:
        """Save the state of a job that goes on."""
        return self._save(**self._place(job, state), read=lambda reply: Saved(reply[0] == 1, reply[1] == 1))

    def interrupt(
        self, job: RunningJob, state: State, payload: bytes, due: float | None, wait_s: float = 0
    ) -> Call[Settled]:
        """Save the state and put the job back as `payload`: in its queue, or in the schedule with `due`.

        `wait_s`: how far off that is, for which the state is kept, too.
        """
        kept_s = STATE_TTL_S + min(math.ceil(wait_s), _LONGEST_S)
        return self._interrupt(
            **{**self._place(job, state), "ttl": kept_s},
            queues=self._keys.queues,
            queue=self._keys.queue(job.queue),
            schedule=self._keys.schedule,
            name=job.queue,
            payload=payload,
            due="" if due is None else repr(due),
            read=lambda reply: Settled(reply == 1),
        )

    def finish(self, job: RunningJob, day: str) -> Call[Settled]:
        """The job has ended: acknowledge it and forget its state."""
        keys = self._keys
        return self._finish(
            running=job.running.list(job.queue),
            state=keys.iteration(job.jid),
            processed=keys.processed,
            processed_day=keys.processed_on(day),
            raw=job.raw,
            ttl=DAY_TTL_S,
            read=lambda reply: Settled(reply[0] == 1, reply[1].decode("utf-8", "backslashreplace")),
        )

    def _place(self, job: RunningJob, state: State) -> dict[str, Any]:
        return {
            "running": job.running.list(job.queue),
            "state": self._keys.iteration(job.jid),
            "raw": job.raw,
            "ttl": STATE_TTL_S,
            "executions": state.executions,
            "cursor": state.cursor,
            "runtime": repr(state.runtime_s),
            "cancelled": "" if state.cancelled_at is None else state.cancelled_at,
        }


def _state(fields: Sequence[bytes | None]) -> State | None:
    """Numbers that are none read as 0, as in Ruby; a missing cursor is one that was never set."""
    executions, cursor, runtime, cancelled = fields
    if executions is cursor is runtime is cancelled is None:
        return None
    return State(
        int(_number(executions)),
        cursor or b"null",
        _number(runtime),
        None if cancelled is None else int(_number(cancelled)),
    )


def _number(text: bytes | None) -> float:
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0
