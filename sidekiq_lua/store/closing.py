"""Connections that the server has closed, or closes now, and calls that cannot go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import exceptions as theirs

from ..errors import RedisUnavailable
from .endpoint import Endpoint
from .failures import CONNECTION, denied, lost


def is_stale(connection: Any) -> bool:
    """Whether an idle connection was closed by the server."""
    try:
        return bool(connection.can_read(0))
    except CONNECTION:
        return True


def hang_up(connection: Any, error: theirs.ResponseError) -> None:
    """Drop a connection whose answer was the server's last: the next one to use it would lose its call."""
    if is_last(error):
        connection.disconnect()


def is_last(error: theirs.ResponseError) -> bool:
    """Whether the server closes the connection after this answer, since it could not read what was sent."""
    return str(error).startswith("Protocol error")


def broke_off(endpoint: Endpoint, error: BaseException, replies: Sequence[Any]) -> None:
    """Several calls cannot go on for `error`, after these replies: raise what that is for who made them.

    LostReply where some are done: a failover came in their middle, and who was asked for the others is not
    there, or does not let them in. That is not as if nothing was sent. Else RedisRefused for an error reply.
    """
    done = any(not isinstance(reply, theirs.RedisError) for reply in replies)
    if done and isinstance(error, RedisUnavailable | theirs.ResponseError):
        raise lost(endpoint, error, "some of the calls") from error
    if isinstance(error, theirs.ResponseError):
        raise denied(error, "the scripts could not be loaded") from error
