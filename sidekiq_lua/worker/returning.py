"""Puts back what was fetched and did not start, in the order in which it was fetched."""

from __future__ import annotations

from ..errors import RedisError
from .exchange import Exchange

_QUIET_S = 1.0
"""How long to wait for who is on a trip."""


def become_quiet(exchange: Exchange) -> None:
    """Start no more jobs, and put back those that did not start. Raises RedisError."""
    exchange.quiet = True
    waiting = exchange.take_ready()
    if exchange.lock.acquire(timeout=_QUIET_S):
        try:
            exchange.end_trip()  # what it brings goes back now, before those, so that they are in front of it
        except RedisError as error:
            exchange.ownership.held.difference_update(waiting)  # found in the running lists, some time
            exchange.fail(error)
            raise
        finally:
            exchange.lock.release()
    exchange.give_back(waiting)


def give_back_ready(exchange: Exchange) -> None:
    """Put back what did not start, and what is on its way, which would run before it; unless somebody is on
    a trip. Raises RedisError.
    """
    if not exchange.lock.acquire(blocking=False):
        return
    try:
        exchange.end_trip()
        exchange.give_back(exchange.take_ready())
    finally:
        exchange.lock.release()
    exchange.be_watched()
