"""Arguments that would not come out of JSON as they went in are named with their path."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidekiq_lua.current import dump
from sidekiq_lua.strict import MAX_DEPTH, unsafe


class Color(enum.Enum):
    RED = 1


class Name(str):
    pass


class Number(int):
    pass


class Numbers(list[int]):
    pass


class Named(dict[str, int]):
    pass


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


FINE: list[Any] = [
    *("", "é😀\u2028\x00", 0, -(2**70), 0.5, True, None, [], {}),
    {"a": [1, {"b": [None, "é"]}], "": False},
]


def test_what_survives_json_passes() -> None:
    assert unsafe(FINE) is None
    assert unsafe([]) is None


@pytest.mark.parametrize(
    ("value", "what", "advice"),
    [
        ((1, 2), "is (1, 2), a tuple", "pass a list"),
        ({1}, "is {1}, a set", "pass a list"),
        (frozenset(), "is frozenset(), a frozenset", "pass a list"),
        (b"x", "is b'x', a bytes", "pass text, or base64 of it"),
        (datetime.date(2027, 1, 15), "is datetime.date(2027, 1, 15), a date", "pass .isoformat()"),
        (
            datetime.datetime(2027, 1, 15, tzinfo=datetime.UTC),
            "is datetime.datetime(2027, 1, 15, 0, 0, tzinfo=datetime.time..., a datetime",
            "pass .isoformat()",
        ),
        (datetime.timedelta(1), "is datetime.timedelta(days=1), a timedelta", "pass .total_seconds()"),
        (decimal.Decimal("1.5"), "is Decimal('1.5'), a Decimal", "pass str() of it"),
        (uuid.UUID(int=1), "is UUID('00000000-0000-0000-0000-000000000001'), a UUID", "pass str() of it"),
        (Color.RED, "is <Color.RED: 1>, a Color", "pass str, int, float, bool, None, list or dict"),
        (Name("x"), "is 'x', a Name", "pass str"),
        (Number(5), "is 5, a Number", "pass str"),
        (Numbers(), "is [], a Numbers", "pass str"),
        (Named(), "is {}, a Named", "pass str"),
        (Broken(), "is <Broken>, a Broken", "pass str"),
        (range(100_000_000), "is range(0, 100000000), a range", "pass str"),
        (("x" * 500,), "is ('" + "x" * 55 + "..., a tuple", "pass a list"),
        (float("nan"), "is nan, which JSON does not have", ""),
        (-float("inf"), "is -inf, which JSON does not have", ""),
        ("a\ud800", "holds a lone surrogate, which is not text: 'a\\ud800'", ""),
        ({1: 2}, "has the key 1, a int; JSON has only text as keys", ""),
        ({None: 2}, "has the key None, a NoneType; JSON has only text as keys", ""),
        ({Name("x"): 2}, "has the key 'x', a Name; JSON has only text as keys", ""),
        ({"\udfff": 2}, "has the key '\\udfff' with a lone surrogate, which is not text", ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_change_is_named(value: Any, what: str, advice: str) -> None:
    for args, path in (
        ([value], "argument 0"),
        ([1, "x", value, (1,)], "argument 2"),
        ([[0, [value]]], "argument 0[1][0]"),
        ([None, {"a": 1, "b c": [{"d": value}]}], "argument 1['b c'][0]['d']"),
    ):
        found = unsafe(args)
        assert found is not None
        assert found.startswith(f"{path} {what}")
        assert advice in found


def test_a_sentence_stays_short() -> None:
    long = "x" * 100_000
    for value in (long + "\ud800", {long + "\ud800": 1}, {(long,): 1}, (long,)):
        assert len(unsafe([value]) or "") < 200


def test_the_first_of_several_is_named() -> None:
    assert (unsafe([[1, {"a": [(), ()]}, ()], ()]) or "").startswith("argument 0[1]['a'][0] ")
    assert (unsafe([{"a": {"b": 1}, "c": ()}]) or "").startswith("argument 0['c'] ")


# -- depth --------------------------------------------------------------------------------------


def nested(levels: int, wrap: Any) -> Any:
    value: Any = wrap(None)
    for _ in range(levels - 1):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"k": inner}], ids=["list", "dict"])
def test_nesting_has_a_limit_of_its_own(wrap: Any) -> None:
    """Not Python's, which depends on how deep the caller already is."""
    assert unsafe([nested(MAX_DEPTH, wrap)]) is None
    assert (
        unsafe([[1], nested(MAX_DEPTH + 1, wrap)])
        == f"argument 1 is nested more than {MAX_DEPTH} levels deep"
    )
    assert unsafe([nested(50_000, wrap)]) == f"argument 0 is nested more than {MAX_DEPTH} levels deep"


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"k": inner}], ids=["list", "dict"])
def test_what_is_allowed_stays_within_the_100_levels_of_ruby(wrap: Any) -> None:
    value = nested(MAX_DEPTH, wrap)

    assert levels({"class": "A", "args": [value], "cattr": dump({"tenant": value})}) <= 100


def levels(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(levels, parts), default=0)


def test_the_caller_s_own_depth_does_not_matter() -> None:
    def deep(frames: int) -> str | None:
        return deep(frames - 1) if frames else unsafe([nested(MAX_DEPTH, lambda inner: [inner])])

    assert deep(700) is None


def test_what_holds_itself_is_nested_for_ever() -> None:
    ring: list[Any] = []
    ring += [ring, ring]

    assert unsafe([ring]) == f"argument 0 is nested more than {MAX_DEPTH} levels deep"


def test_a_long_list_is_not_a_deep_one() -> None:
    assert unsafe([[[]] * 10_000]) is None
    assert unsafe([[[]] * 10_000 + [()]]) == "argument 0[10000] is (), a tuple; pass a list"


# -- in general -----------------------------------------------------------------------------------

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
)
ALLOWED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None, max_examples=50)
@given(st.lists(ALLOWED, max_size=5))
def test_all_that_is_allowed_passes(args: list[Any]) -> None:
    assert unsafe(args) is None


@settings(deadline=None, max_examples=50)
@given(
    st.lists(ALLOWED, max_size=3),
    st.recursive(st.just(()), lambda inner: st.lists(inner, min_size=1, max_size=4)),
)
def test_a_tuple_is_found_wherever_it_is(before: list[Any], hiding: Any) -> None:
    found = unsafe([*before, hiding])

    assert found is not None
    assert found.startswith(f"argument {len(before)}")
    assert found.endswith("is (), a tuple; pass a list")
