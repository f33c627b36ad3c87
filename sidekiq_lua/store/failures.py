"""redis-py's exceptions, translated into ours in one place."""

from __future__ import annotations

from typing import Any

from redis import exceptions as theirs

from ..errors import (
    LoginRefused,
    LostReply,
    RedisError,
    RedisFull,
    RedisNotReady,
    RedisRefused,
    RedisUnavailable,
    ScriptError,
)
from .calls import Call
from .endpoint import Endpoint
from .scripts import Script

CONNECTION = (theirs.ConnectionError, theirs.TimeoutError, OSError)
"""What redis-py raises when a connection cannot be made or breaks."""
_CODES = {
    theirs.NoPermissionError: "NOPERM",
    theirs.ReadOnlyError: "READONLY",
    theirs.MasterDownError: "MASTERDOWN",
}
"""Those that redis-py cuts off."""
_NOT_READY = frozenset({"READONLY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "BUSY", "UNBLOCKED"})
_MOVED = frozenset({"READONLY", "MASTERDOWN", "NOREPLICAS"})


def unavailable(endpoint: Endpoint, error: Exception) -> RedisUnavailable:
    """No connection could be made; nothing was sent."""
    if isinstance(error, theirs.AuthenticationError | theirs.AuthenticationWrongNumberOfArgsError):
        return LoginRefused(f"Redis at {endpoint} refused the login: {_reason(error)}")
    return RedisUnavailable(f"Redis at {endpoint} is not available: {_reason(error)}")


def lost(endpoint: Endpoint, error: Exception, what: str) -> RedisUnavailable:
    """The connection broke after `what` was sent: a LostReply, unless the server said that it ran nothing.

    It says so while it loads, and to who should have logged in; redis-py has a ConnectionError for both.
    """
    if isinstance(error, theirs.BusyLoadingError | theirs.AuthenticationError):
        return unavailable(endpoint, error)
    return LostReply(f"Redis at {endpoint} did not answer {what}, which may have run: {_reason(error)}")


def refused(error: theirs.RedisError, script: Script) -> RedisError:
    """Redis answered a script with an error."""
    text, code = str(error), _code(error)
    if isinstance(error, theirs.OutOfMemoryError) or code == "OOM":
        return RedisFull(
            f"{script.name}.lua: Redis is full (maxmemory): raise maxmemory or wait until jobs are done"
        )
    if code == "READONLY":
        return RedisNotReady(f"{script.name}.lua: this server is a replica, which takes no writes: {text}")
    if code in _NOT_READY:
        return RedisNotReady(f"{script.name}.lua: {_told(error)}")
    if isinstance(error, theirs.NoPermissionError | theirs.BusyLoadingError):
        return RedisRefused(f"{script.name}.lua: {text}")
    if _from_a_cluster(error):
        return RedisRefused(
            f"{script.name}.lua: this is a Redis Cluster, where Sidekiq's keys lie in different slots: use a "
            f"standalone server, or a primary with replicas ({text})"
        )
    return ScriptError(f"{script.where(text)}: {text}")


def denied(error: theirs.RedisError, command: str) -> RedisRefused:
    """Redis answered a plain command with an error."""
    kind = RedisNotReady if _code(error) in _NOT_READY else RedisRefused
    return kind(f"{command}: {_told(error)}")


def moved(reply: Any) -> bool:
    """Whether nothing was done, and perhaps for a failover: another server may answer at this address now."""
    return isinstance(reply, theirs.RedisError) and _code(reply) in _MOVED


def outcome(call: Call[Any], reply: Any) -> Any:
    """What one call of many came to: its result, or the RedisError that it ended in."""
    return refused(reply, call.script) if isinstance(reply, theirs.RedisError) else call.read(reply)


def _code(error: theirs.RedisError) -> str:
    return _CODES.get(type(error)) or str(error).partition(" ")[0]


def _told(error: theirs.RedisError) -> str:
    cut = _CODES.get(type(error))
    return f"{cut} {error}" if cut else str(error)


def _from_a_cluster(error: theirs.RedisError) -> bool:
    """A worker does not start on one, but a client has not asked what it is."""
    kinds = theirs.AskError | theirs.ClusterCrossSlotError | theirs.ClusterDownError | theirs.TryAgainError
    return isinstance(error, kinds) and not isinstance(error, theirs.MasterDownError)


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text or type(error).__name__
