"""The wire format: JSON as Ruby writes it, defaults, and what is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidekiq_lua.clock import Clock
from sidekiq_lua.errors import InvalidJob, PayloadTooLarge, UnparsablePayload, UnserializableArguments
from sidekiq_lua.payload import DEFAULTS, Codec, Stamp, is_number, new_jid, normalize, seconds, validate
from sidekiq_lua.strict import MAX_DEPTH, unsafe

CODEC = Codec()


def with_args(*args: Any) -> dict[str, Any]:
    return {"class": "A::B", "args": list(args)}


def dumped(*args: Any) -> bytes:
    """The args as they are in the payload's text."""
    text = CODEC.dump(with_args(*args))
    assert text.startswith(b'{"class":"A::B","args":[')
    return text[len(b'{"class":"A::B","args":[') : -2]


# -- bytes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a/b</script>", b'"a/b</script>"'),
        ("é☃", '"é☃"'.encode()),
        ("😀", '"😀"'.encode()),
        ("\u2028\u2029", '"\u2028\u2029"'.encode()),
        ("\x7f", b'"\x7f"'),
        ("\x00\x1f", b'"\\u0000\\u001f"'),
        ('"\\\n\t', b'"\\"\\\\\\n\\t"'),
        (2**60, b"1152921504606846976"),
        (-(2**63) - 1, b"-9223372036854775809"),
        (10**100, b"1" + b"0" * 100),
        (0.1234567890123456, b"0.1234567890123456"),
        (0.1, b"0.1"),
        (1.0, b"1.0"),
        (-0.0, b"-0.0"),
        (1755400000.123456, b"1755400000.123456"),
        ([], b"[]"),
        ({}, b"{}"),
        ([[], {}, [{}]], b"[[],{},[{}]]"),
        ({"b": 1, "a": {"": None}}, b'{"b":1,"a":{"":null}}'),
        (True, b"true"),
        (None, b"null"),
    ],
)
def test_what_is_written_byte_for_byte(value: Any, text: bytes) -> None:
    assert dumped(value) == text
    (back,) = CODEC.load(CODEC.dump(with_args(value)))["args"]
    assert (type(back), repr(back)) == (type(value), repr(value))


def test_what_ruby_wrote_is_read() -> None:
    """Taken down from Ruby's json 2.6.1."""
    raw = (
        b'{"class":"A","args":[1.0e+20,1.0,1.0e-07,123456789012345678901234567890,0.1,'
        b'"\xc3\xa9\xe2\x98\x83\xe2\x80\xa8/</script>\\u0007\x7f","\xf0\x9f\x98\x80"]}'
    )

    assert CODEC.load(raw)["args"] == [
        *(1e20, 1.0, 1e-7, 123456789012345678901234567890, 0.1),
        *("é☃\u2028/</script>\x07\x7f", "😀"),
    ]


def test_unknown_fields_are_carried_along_in_their_order() -> None:
    raw = b'{"tenant":"x","class":"A","args":[],"cattr":{"user":null},"bid":"b"}'

    assert CODEC.dump(CODEC.load(raw)) == raw


ALLOWED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=15,
)


@settings(deadline=None, max_examples=50)
@given(st.lists(ALLOWED, max_size=5))
def test_what_is_allowed_comes_back_as_it_was(args: list[Any]) -> None:
    assert unsafe(args) is None

    text = CODEC.dump(with_args(*args))
    back = CODEC.load(text)["args"]

    # repr tells 1 from 1.0 and from True, and 0.0 from -0.0.
    assert repr(back) == repr(args)
    assert CODEC.dump(with_args(*back)) == text
    assert json.loads(text)["args"] == args


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_job_or_unparsable(raw: bytes) -> None:
    for text in (raw, b'{"class":"A","args":["' + raw + b'"]}', b'{"class":"A","args":[' + raw + b"]}"):
        try:
            payload = CODEC.load(text)
        except UnparsablePayload:
            continue
        # Whatever is accepted can be read by others too, once it is written again.
        again = CODEC.dump(payload).decode()
        assert repr(CODEC.load(again.encode())) == repr(payload)


# -- refused when it is written -----------------------------------------------------------------


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), "\ud800", b"x", {1, 2}, object(), 10**5000, nested(2000)],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold(value: Any) -> None:
    with pytest.raises(UnserializableArguments, match=r"^A::B: the job cannot be written as JSON: "):
        CODEC.dump(with_args(value))


def test_what_strict_arguments_let_pass_can_be_written_and_read() -> None:
    args = [nested(MAX_DEPTH)]

    assert unsafe(args) is None
    assert CODEC.load(CODEC.dump(with_args(*args)))["args"] == args


def test_a_job_over_the_limit_is_refused_when_it_is_new_only() -> None:
    payload = with_args("x" * 100)
    size = len(CODEC.dump(payload))

    assert Codec(limit=size).dump_new(payload) == CODEC.dump_new(payload) == CODEC.dump(payload)
    tight = Codec(limit=size - 1)
    with pytest.raises(
        PayloadTooLarge, match=rf"^A::B: the job is {size} bytes, payload_limit is {size - 1}: store"
    ):
        tight.dump_new(payload)
    # A retry adds fields, and is not refused for them.
    assert tight.dump(payload) == CODEC.dump(payload)


def test_the_limit_is_in_bytes() -> None:
    with pytest.raises(PayloadTooLarge, match="the job is 1,028 bytes, payload_limit is 1,000"):
        Codec(limit=1000).dump_new(with_args("é" * 500))


def test_other_json_functions_can_be_set() -> None:
    codec = Codec(dump_json=lambda value: json.dumps(value).encode(), load_json=lambda raw: json.loads(raw))

    assert codec.dump(with_args("é")) == b'{"class": "A::B", "args": ["\\u00e9"]}'
    assert codec.load(b'{"class":"A","args":[1]}') == {"class": "A", "args": [1]}
    with pytest.raises(UnserializableArguments):
        codec.dump(with_args(object()))
    with pytest.raises(UnparsablePayload):
        codec.load(b"{")


# -- refused when it is read ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"class":"A","args":[]} x', "not JSON"),
        (b'{"class":"A","args":["\xff"]}', "not JSON"),
        (b'{"class":"A","args":["\xc0\x80"]}', "not JSON"),
        (b'{"class":"A","args":[' + b"1" * 5000 + b"]}", "not JSON"),
        (b'{"class":"A","args":[' + b"[" * 5000 + b"]" * 5000 + b"]}", "not JSON"),
        (b"null", "not a job"),
        (b"[]", "not a job"),
        (b'"A"', "not a job"),
        (b'{"args":[]}', "not a job"),
        (b'{"class":"A"}', "`args` a list"),
        (b'{"class":"A","args":{}}', "`args` a list"),
        (b'{"class":null,"args":[]}', "`class` must be text"),
        (b'{"class":["A"],"args":[]}', "`class` must be text"),
        (b'{"class":"A","args":["\\ud800"]}', "lone surrogate"),
        (b'{"class":"A","args":[{"\\udfff":1}]}', "lone surrogate"),
        (b'{"class":"A","args":["\xed\xa0\x80"]}', "lone surrogate"),
        (b'{"class":"A","args":[NaN]}', "NaN, Infinity"),
        (b'{"class":"A","args":[-Infinity]}', "NaN, Infinity"),
    ],
)
def test_what_is_no_job(raw: bytes, why: str) -> None:
    with pytest.raises(UnparsablePayload, match=re.escape(why)):
        CODEC.load(raw)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"NaN \\u0007"', "NaN \x07"),
        ('"Infinity"', "Infinity"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\ud7a3 힣"', "\ud7a3 힣"),  # its UTF-8 begins like a surrogate's
    ],
)
def test_what_only_looks_like_it(text: str, value: str) -> None:
    assert CODEC.load(b'{"class":"A","args":[' + text.encode() + b"]}")["args"] == [value]


# -- timestamps ---------------------------------------------------------------------------------


class Fixed(Clock):
    def now(self) -> float:
        return 1795488765.2246287


@pytest.mark.parametrize(
    ("payload_format", "stamp"), [("8.1", 1795488765224), ("8", 1795488765224), ("7", 1795488765.2246287)]
)
def test_stamps_are_milliseconds_or_the_seconds_of_version_7(payload_format: str, stamp: Any) -> None:
    now = Stamp(Fixed(), payload_format).now()

    assert (type(now), now) == (type(stamp), stamp)
    assert seconds(now) == pytest.approx(1795488765.2246287, abs=0.001)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"1795488765224", 1795488765.224),  # 8.x
        (b"1795489118.7167056", 1795489118.7167056),  # 6.x and 7.x
        (b"1795489118.0", 1795489118.0),
        (b"0", 0.0),
    ],
)
def test_a_reader_tells_them_apart_by_type(text: bytes, expected: float) -> None:
    payload = CODEC.load(b'{"class":"A","args":[],"created_at":' + text + b"}")

    assert seconds(payload["created_at"]) == expected


# -- normalize ----------------------------------------------------------------------------------

STAMP = Stamp(Fixed())


def normalized(**item: Any) -> dict[str, Any]:
    return normalize({"class": "A", "args": [], **item}, DEFAULTS, STAMP)


def test_fields_in_the_order_and_with_the_defaults_of_ruby() -> None:
    payload = normalized(args=[1])

    jid = payload["jid"]
    assert CODEC.dump(payload) == (
        b'{"retry":true,"queue":"default","class":"A","args":[1],"jid":"%b","created_at":1795488765224}'
        % jid.encode()
    )


def test_jids_are_24_hexadecimal_digits_and_differ() -> None:
    made = {new_jid() for _ in range(1000)} | {normalized()["jid"], normalized(jid=None)["jid"]}

    assert len(made) == 1002
    assert all(re.fullmatch("[0-9a-f]{24}", jid) for jid in made)


def test_what_the_caller_gives_outweighs_the_class_and_the_defaults() -> None:
    options = {"retry": 5, "queue": "low", "tags": ["x"], "pool": "p", "client_class": "C"}

    payload = normalize(
        {"class": "A", "args": [], "queue": "high", "jid": "j", "created_at": 1}, options, STAMP
    )

    assert payload == {
        "retry": 5,
        "queue": "high",
        "tags": ["x"],
        "class": "A",
        "args": [],
        "jid": "j",
        "created_at": 1,
    }
    assert options["pool"] == "p"


def test_the_caller_s_dict_is_left_alone() -> None:
    item = {"class": "A", "args": [], "pool": "p"}

    normalize(item, DEFAULTS, STAMP)

    assert item == {"class": "A", "args": [], "pool": "p"}


def test_format_7_writes_seconds() -> None:
    payload = normalize({"class": "A", "args": []}, DEFAULTS, Stamp(Fixed(), "7"))

    assert b'"created_at":1795488765.2246287}' in CODEC.dump(payload)


def test_retry_for_becomes_whole_seconds() -> None:
    assert normalized(retry_for=90.9)["retry_for"] == 90
    assert normalized(retry_for=1_000_000_000)["retry_for"] == 1_000_000_000
    assert normalized(retry_for=0.5)["retry_for"] == 0
    assert normalized(retry_for=None)["retry_for"] is None
    assert normalized(retry_for=False)["retry_for"] is False


def test_a_time_in_the_past_stays() -> None:
    assert normalized(at=5)["at"] == 5


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ("a text", "a job must be a dict with `class` and `args`, not 'a text'"),
        (["x" * 500], "a job must be a dict"),
        ({"args": []}, "a job must be a dict with `class` and `args`"),
        ({"class": "A"}, "a job must be a dict with `class` and `args`"),
        ({"class": 5, "args": []}, "a job's class must be a job class or its name, not 5"),
        ({"class": None, "args": []}, "a job's class must be a job class or its name, not None"),
        ({"class": "", "args": []}, "a job's class must be a job class or its name, not ''"),
        ({"class": "A", "args": (1, 2)}, "A: args must be a list, not (1, 2)"),
        ({"class": "A", "args": "x"}, "A: args must be a list, not 'x'"),
        ({"class": "A", "args": None}, "A: args must be a list, not None"),
        ({"class": "A", "args": [], 5: 1}, "A: the job's keys must be text, not 5"),
        ({"class": "A", "args": [], "at": "soon"}, "A: at must be epoch seconds, not 'soon'"),
        ({"class": "A", "args": [], "at": None}, "A: at must be epoch seconds, not None"),
        ({"class": "A", "args": [], "at": True}, "A: at must be epoch seconds, not True"),
        ({"class": "A", "args": [], "at": float("nan")}, "A: at must be epoch seconds, not nan"),
        ({"class": "A", "args": [], "tags": "x"}, "A: tags must be a list, not 'x'"),
        ({"class": "A", "args": [], "tags": ""}, "A: tags must be a list, not ''"),
        ({"class": "A", "args": [], "retry_for": ""}, "A: retry_for must be a number of seconds"),
        ({"class": "A", "args": [], "retry_queue": ""}, "A: retry_queue must be a name without"),
        ({"class": "A", "args": [], "retry_for": 1_000_000_001}, "A: retry_for must be a number of seconds"),
        ({"class": "A", "args": [], "retry_for": "1h"}, "A: retry_for must be a number of seconds"),
        ({"class": "A", "args": [], "queue": ""}, "A: queue must be a name without spaces, not ''"),
        ({"class": "A", "args": [], "queue": None}, "A: queue must be a name without spaces, not None"),
        ({"class": "A", "args": [], "queue": "a b"}, "A: queue must be a name without spaces, not 'a b'"),
        ({"class": "A", "args": [], "queue": 5}, "A: queue must be a name without spaces, not 5"),
    ],
)
def test_what_is_refused(item: Any, why: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        normalize(item, DEFAULTS, STAMP)

    assert str(caught.value).startswith(why)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("options", [{"tags": "x"}, {"retry_for": "1h"}, {"queue": ""}])
def test_options_of_the_class_are_checked_alike(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob, match=f"^A: {next(iter(options))} must be"):
        normalize({"class": "A", "args": []}, {**DEFAULTS, **options}, STAMP)


def test_validate_lets_a_job_pass() -> None:
    validate({"class": "A", "args": [], "at": 1.5, "tags": ["x"], "retry_for": 60})
    validate({"class": "A", "args": [], "tags": None, "retry_for": None})


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, True),
        (1.5, True),
        (-1, True),
        (True, False),
        ("1", False),
        (None, False),
        (float("inf"), False),
        (float("nan"), False),
        (10**400, False),
    ],
)
def test_numbers(value: Any, number: bool) -> None:
    assert is_number(value) is number
