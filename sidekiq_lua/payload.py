"""The job as data: JSON text in and out, defaults, checks. It is the wire format and can be read alone."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import ujson

from .clock import Clock
from .errors import InvalidJob, PayloadTooLarge, UnparsablePayload, UnserializableArguments

Payload = dict[str, Any]
"""A job as Sidekiq stores it; redis-schema names the fields, unknown ones are carried along."""

DEFAULTS: Mapping[str, Any] = {"retry": True, "queue": "default"}
_LOCAL = ("pool", "client_class")
"""Options that say how to push, and are not part of the job."""
CRASH_KEY_BYTES = 64
"""The longest crash key is shorter than this."""
_BACKSLASH, _N, _I = b"\\NI"
_RETRY_FOR_LIMIT_S = 1_000_000_000


def new_jid() -> str:
    """A job id: 24 hexadecimal digits from 12 random bytes."""
    return os.urandom(12).hex()


def new_jids(n: int) -> list[str]:
    """So many, by one system call."""
    digits = os.urandom(12 * n).hex()
    return [digits[at : at + 24] for at in range(0, 24 * n, 24)]


class Codec:
    """JSON text as Ruby writes it: compact, raw UTF-8, `/` unescaped, no NaN.

    `dump_json` and `load_json` are the settings of that name; `limit` is `payload_limit` in bytes.
    """

    def __init__(
        self,
        dump_json: Callable[[Any], str | bytes] | None = None,
        load_json: Callable[[bytes], Any] | None = None,
        limit: int | None = None,
    ) -> None:
        self._dump = dump_json or _dump
        self._load = load_json or ujson.loads
        self._limit = limit

    def dump(self, payload: Payload) -> bytes:
        """Raises UnserializableArguments for what JSON cannot hold."""
        try:
            text = self._dump(payload)
            return text.encode() if isinstance(text, str) else text
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            name = payload.get("class")
            raise UnserializableArguments(f"{name}: the job cannot be written as JSON: {error}") from error

    def dump_value(self, value: Any) -> bytes:
        """JSON of any value. Raises UnserializableArguments."""
        try:
            text = self._dump(value)
            return text.encode() if isinstance(text, str) else text
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise UnserializableArguments(f"{shorten(value)} cannot be written as JSON: {error}") from error

    def load_value(self, text: bytes) -> Any:
        """The value of JSON. Raises ValueError or RecursionError."""
        return self._load(text)

    def dump_new(self, payload: Payload) -> bytes:
        """Like dump, for a job that is not in Redis yet: PayloadTooLarge if it is over the limit."""
        text = self.dump(payload)
        if self._limit is not None and len(text) > self._limit:
            raise PayloadTooLarge(
                f"{payload.get('class')}: the job is {len(text):,} bytes, payload_limit is {self._limit:,}: "
                "store the data elsewhere and pass its id"
            )
        return text

    def dump_alike(self, payload: Payload) -> Callable[[Payload], bytes]:
        """`dump_new` for payloads that differ from this one in `args` and `jid` alone, the rest written once.

        Their jids are hexadecimal, and theirs is one order of fields.
        """
        names = list(payload)
        args, jid = names.index("args"), names.index("jid")
        if self._dump is not _dump or args > jid:
            return self.dump_new
        before, between, after = (
            "".join(f"{_dump(name)}:{_dump(payload[name])}," for name in part)
            for part in (names[:args], names[args + 1 : jid], names[jid + 1 :])
        )
        head, middle, tail = f'{{{before}"args":', f',{between}"jid":"', f'",{after}'[:-1] + "}"
        limit = self._limit

        def dump(one: Payload) -> bytes:
            try:
                text = f"{head}{_dump(one['args'])}{middle}{one['jid']}{tail}".encode()
            except (TypeError, ValueError, OverflowError, RecursionError):
                return self.dump_new(one)  # which says what is wrong
            return text if limit is None or len(text) <= limit else self.dump_new(one)

        return dump

    def load(self, raw: bytes) -> Payload:
        """Parse a job found in Redis. Raises UnparsablePayload if it is not one."""
        try:
            payload = self._load(raw)
        except (ValueError, RecursionError) as error:
            raise UnparsablePayload(f"not JSON: {error}") from error
        if type(payload) is not dict or "class" not in payload:
            raise UnparsablePayload("not a job: a JSON object with `class` and `args` is needed")
        if type(payload["class"]) is not str or type(payload.get("args")) is not list:
            raise UnparsablePayload("not a job: `class` must be text and `args` a list")
        # A byte is found in a quarter of the time that text is, and few jobs have these.
        # Escaped, or raw: UTF-8 as ujson reads it has surrogates, which begin with 0xED.
        if (_BACKSLASH in raw and b"\\u" in raw) or (not raw.isascii() and 0xED in raw):
            self._check(payload, "a lone surrogate, which is not text, is in it")
        if (_N in raw and b"NaN" in raw) or (_I in raw and b"Infinity" in raw):
            self._check(payload, "a number that JSON does not have (NaN, Infinity) is in it")
        return payload

    def look(self, raw: bytes) -> Payload:
        """The JSON object in a text, to be shown and not to be run; {} for what is none."""
        try:
            found = self._load(raw)
        except (ValueError, RecursionError):
            return {}
        return found if type(found) is dict else {}

    def _check(self, payload: Payload, problem: str) -> None:
        try:
            self.dump(payload)
        except UnserializableArguments as error:
            raise UnparsablePayload(problem) from error


_dump = partial(ujson.dumps, ensure_ascii=False, escape_forward_slashes=False, allow_nan=False)


class Stamp:
    """Timestamps of payloads: integer milliseconds as Sidekiq 8 writes them, or float seconds as 7 does."""

    def __init__(self, clock: Clock, payload_format: str = "8.1") -> None:
        self._clock = clock
        self._seconds = payload_format == "7"

    def now(self) -> int | float:
        return self._clock.now() if self._seconds else self._clock.now_ms()

    def text(self) -> bytes:
        """The same as JSON."""
        return repr(self.now()).encode()


def seconds(stamp: int | float) -> float:
    """A payload's timestamp as epoch seconds: integers are milliseconds (8.x), floats seconds (6.x, 7.x)."""
    return stamp if isinstance(stamp, float) else stamp / 1000


def normalize(item: Mapping[str, Any], defaults: Mapping[str, Any], stamp: Stamp) -> Payload:
    """A whole payload from what the caller gave and the class's options.

    Raises InvalidJob, naming the field, where Sidekiq raises ArgumentError.
    """
    payload = {**defaults, **item} if isinstance(item, Mapping) else item
    validate(payload)
    queue = payload.get("queue")
    if not isinstance(queue, str) or not queue or queue.split() != [queue]:
        raise InvalidJob(f"{item['class']}: queue must be a name without spaces, not {queue!r}")
    later = payload.get("retry_queue")
    if _is_given(later) and (not isinstance(later, str) or later.split() != [later]):
        raise InvalidJob(f"{item['class']}: retry_queue must be a name without spaces, not {later!r}")
    for name in _LOCAL:
        payload.pop(name, None)
    if payload.get("jid") is None:
        payload["jid"] = new_jid()
    if _is_given(payload.get("retry_for")):
        payload["retry_for"] = int(payload["retry_for"])
    if payload.get("created_at") is None:
        payload["created_at"] = stamp.now()
    return payload


def validate(item: Mapping[str, Any]) -> None:
    """Raises InvalidJob for what is not a job."""
    if not isinstance(item, Mapping) or "class" not in item or "args" not in item:
        raise InvalidJob(f"a job must be a dict with `class` and `args`, not {shorten(item)}")
    name = item["class"]
    if not isinstance(name, str) or not name:
        raise InvalidJob(f"a job's class must be a job class or its name, not {name!r}")
    strange = [key for key in item if not isinstance(key, str)]
    if strange:
        raise InvalidJob(f"{name}: the job's keys must be text, not {strange[0]!r}")
    if not isinstance(item["args"], list):
        raise InvalidJob(f"{name}: args must be a list, not {shorten(item['args'])}")
    if "at" in item and not is_number(item["at"]):
        raise InvalidJob(f"{name}: at must be epoch seconds, not {item['at']!r}")
    if _is_given(item.get("tags")) and not isinstance(item["tags"], list):
        raise InvalidJob(f"{name}: tags must be a list, not {item['tags']!r}")
    retry_for: Any = item.get("retry_for")
    if _is_given(retry_for) and (not is_number(retry_for) or retry_for > _RETRY_FOR_LIMIT_S):
        raise InvalidJob(f"{name}: retry_for must be a number of seconds from now, not {retry_for!r}")


def _is_given(value: Any) -> bool:
    """Whether Ruby looks at an option: it does at "" and 0, and its poller loses a job that it refuses."""
    return value is not None and value is not False


def is_number(value: Any) -> bool:
    """A finite int or float; True and False are not numbers here."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def shorten(value: Any) -> str:
    """Its repr, cut to 200 characters, for a message."""
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."


def crash_key(payload: Payload | None, raw: bytes) -> str:
    """The name under which crashes of a job are counted: its jid, else the hash of its bytes."""
    jid = payload.get("jid") if payload else None
    if isinstance(jid, str) and jid.isascii() and jid.isprintable() and 0 < len(jid) < CRASH_KEY_BYTES:
        return jid
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()
