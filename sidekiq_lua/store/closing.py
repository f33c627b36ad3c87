"""Connections that the server has closed, or closes now."""

from __future__ import annotations

from typing import Any

from redis import exceptions as theirs

from .failures import CONNECTION


def is_stale(connection: Any) -> bool:
    """Whether an idle connection was closed by the server."""
    try:
        return bool(connection.can_read(0))
    except CONNECTION:
        return True


def hang_up(connection: Any, error: theirs.ResponseError) -> None:
    """Drop a connection whose answer was the server's last: the next one to use it would lose its call."""
    if str(error).startswith("Protocol error"):
        connection.disconnect()
