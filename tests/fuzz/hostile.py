"""Payloads that other writers may leave: whatever JSON allows, and what it does not."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Pairs = list[tuple[str, Any]]

FIELDS = (
    *("args", "at", "backtrace", "bid", "cattr", "class", "client_class", "created_at", "dead"),
    *("discarded_at", "display_class", "encrypt", "enqueued_at", "error_backtrace", "error_class"),
    *("error_message", "expires_in", "failed_at", "jid", "locale", "log_level", "overrated", "pool"),
    *("profile", "profiler_options", "queue", "retried_at", "retry", "retry_count", "retry_for"),
    *("retry_queue", "sync", "tags", "unique_for", "wrapped"),
)
"""Every field that a writer of Sidekiq's format may have set."""
CLASSES = ("FineJob", "FailingJob", "AsyncFineJob", "AsyncFailingJob", "NoSuchJob", "Ruby::Module::Job")


class Text(str):
    """JSON text that is written as it is, also where it is none."""

    __slots__ = ()


class Object(list[tuple[str, Any]]):
    """A JSON object as pairs, so that a key may be there twice."""

    def __init__(self, pairs: Pairs | dict[str, Any]) -> None:
        super().__init__(pairs.items() if isinstance(pairs, dict) else pairs)


NUMBERS = [
    *("0", "-0", "1.5", "1e3", "1E+2", "-1", "25", "26", "1000000000", "9007199254740993", "1e308", "5e-324"),
    *("18446744073709551616", "-9223372036854775809", "1" + "0" * 400, "1e400", "-1e400", "1e-400"),
    *("0.1234567890123456", "0.12345678901234567890123", "1795488765.2246287"),
]
NO_JSON = [
    "NaN",
    "Infinity",
    "-Infinity",
    "01",
    "1.",
    ".5",
    "+1",
    "0x10",
    "nul",
    "True",
    "'a'",
    "[1,]",
    "{a:1}",
    "",
]

deep = st.sampled_from([10, 500, 1100, 100_000]).map(lambda n: Text("[" * n + "]" * n))
deep_objects = st.sampled_from([10, 500, 1100]).map(lambda n: Text('{"a":' * n + "1" + "}" * n))
strings = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        [
            *("", " ", "\x00", "a b", "é", "\u2028", "😀", "../../x", "'; FLUSHALL", "x" * 70_000, "%s %d"),
            *("DEBUG", "debug", "WARN", "25", "1e3", "null", "FineJob", "AsyncFineJob", "default"),
        ]
    ),
)
broken = st.sampled_from(["\ud800", "x\udfff", "\ud83d\ude00"])
"""Lone surrogates come out as bytes that are not UTF-8."""
escapes = broken | st.sampled_from(
    [Text(r'"\ud800"'), Text(r'"\udc00\ud800"'), Text(r'"\u0000"'), Text(r'"\ud83d\ude00"')]
)
numbers = st.sampled_from(NUMBERS).map(Text) | st.integers(-5, 40) | st.floats(allow_nan=False)
odd = st.sampled_from(NO_JSON).map(Text)
scalars = st.integers(0, 19).flatmap(
    lambda n: escapes if n == 0 else st.none() if n == 1 else st.booleans() if n < 4 else numbers | strings
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3).map(Object),
    max_leaves=6,
)
anything = st.integers(0, 29).flatmap(lambda n: deep if n == 0 else deep_objects if n == 1 else values)


def write(value: Any, loose: bool = False) -> str:
    """JSON text; `loose` writes spaces and escapes as Python's json module does."""
    match value:
        case Text():
            return str.__str__(value)
        case Object():
            pairs = (f"{write(key, loose)}:{' ' * loose}{write(item, loose)}" for key, item in value)
            return "{" + ("," + " " * loose).join(pairs) + "}"
        case list():
            return "[" + ",".join(write(item, loose) for item in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=loose)


@st.composite
def jobs(draw: st.DrawFn) -> Pairs:
    """An ordinary job with some fields that are not, and now and then the same field twice."""
    pairs: Pairs = [
        ("class", draw(st.sampled_from(CLASSES))),
        ("args", draw(st.lists(values, max_size=3))),
        ("jid", "0123456789abcdef01234567"),
        ("retry", draw(st.sampled_from([True, False, 0, 1, 25]))),
        ("queue", "default"),
    ]
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=4)):
        value = draw(odd if draw(st.integers(0, 19)) == 0 else anything)
        how = draw(st.sampled_from(["replace", "replace", "replace", "add", "remove"]))
        if how != "add":
            pairs = [pair for pair in pairs if pair[0] != name]
        if how != "remove":
            pairs.insert(draw(st.integers(0, len(pairs))), (name, value))
    return pairs


@st.composite
def payloads(draw: st.DrawFn) -> tuple[str, bool] | bytes:
    """The pairs of a job as JSON text without the closing brace, or bytes that are no job at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(
            st.binary(max_size=40)
            | st.sampled_from(
                [b"", b" ", b"null", b"1", b"[]", b'"text"', b"{}", b'{"class":"FineJob"', b"\xff\xfe{}"]
            )
            | st.sampled_from(
                [b"\xef\xbb\xbf{}", b"[" * 200_000, b'{"a":' * 5000, b"{" * 10, b'{"class":"FineJob"} x']
            )
        )
    return write(Object(draw(jobs())), draw(st.booleans()))[:-1], True


def mark(made: tuple[str, bool] | bytes, n: int) -> bytes:
    """The bytes to push, which no other payload of the run has."""
    if isinstance(made, bytes):
        return made + b" #%d" % n
    return f'{made[0]},"mark":{n}}}'.encode("utf-8", "surrogatepass")
