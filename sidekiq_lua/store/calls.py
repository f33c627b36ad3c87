"""A call of a script as a value: what to run, on which keys, and how to read the reply.

Store methods make calls, transports run them, so one description serves the synchronous and the asyncio
client, pipelines and the audit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import hiredis

if TYPE_CHECKING:
    from .scripts import Script

T = TypeVar("T")
Value = str | bytes | int


# Its own annotation has a tuple of one word.
_pack: Callable[[tuple[Value, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]


def pack(*words: Value) -> bytes:
    """One request as it goes over the wire."""
    return _pack(words)


def keep(reply: Any) -> Any:
    return reply


WAIT_GRACE_S = 3.0
"""How much later than WAIT's own time-out the server may answer it."""


class Wait(NamedTuple):
    """How many replicas shall confirm what was written, and how many milliseconds they have."""

    replicas: int
    timeout_ms: int


class Call(Generic[T]):
    """One EVALSHA to be. `argv` and `keys` go out as they are; `read` turns the reply into the result."""

    __slots__ = ("argv", "keys", "read", "script")

    def __init__(
        self, script: Script, keys: tuple[Value, ...], argv: tuple[Value, ...], read: Callable[[Any], T]
    ) -> None:
        self.script = script
        self.keys = keys
        self.argv = argv
        self.read = read

    def __repr__(self) -> str:
        return f"<Call {self.script.name} {self.keys!r} {self.argv!r}>"

    def packed(self) -> bytes:
        """The request as it goes over the wire.

        Raises UnicodeEncodeError for text with lone surrogates.
        """
        script = self.script
        command = "EVALSHA_RO" if script.reads_only else "EVALSHA"
        return pack(command, script.sha, len(self.keys), *self.keys, *self.argv)

    def packed_whole(self) -> bytes:
        """The same with the script's text, which no SCRIPT FLUSH can come before."""
        script = self.script
        command = "EVAL_RO" if script.reads_only else "EVAL"
        return pack(command, script.text, len(self.keys), *self.keys, *self.argv)
