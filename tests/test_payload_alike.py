"""Payloads of one bulk: what they share is written once, and each comes out as if written alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidekiq_lua.errors import PayloadTooLarge, UnserializableArguments
from sidekiq_lua.payload import Codec

CODEC = Codec()


@pytest.mark.parametrize(
    "names",
    [
        ("retry", "queue", "tags", "class", "args", "jid", "created_at", "enqueued_at"),
        ("class", "args", "jid"),
        ("args", "jid", "é"),
        ("args", "class", "jid"),
        ("jid", "args", "class"),
    ],
)
@pytest.mark.parametrize("args", [[], [1, "x"], [{"é": ["/\u0001", None, 1.5]}]])
def test_what_is_written_once_comes_out_as_what_is_written_each_time(
    names: tuple[str, ...], args: list[Any]
) -> None:
    values = {"retry": True, "tags": ["é/", '"'], "class": "A", "created_at": 1, "args": [7], "jid": "ab"}
    payload = {name: values.get(name, name) for name in names}
    dump = CODEC.dump_alike(payload)
    other = {**payload, "args": args, "jid": "ffff"}
    assert dump(other) == CODEC.dump(other)


def test_what_is_wrong_with_one_of_them_is_said_as_ever() -> None:
    payload = {"class": "A", "args": [], "jid": "ab"}
    with pytest.raises(UnserializableArguments, match="A: the job cannot be written as JSON"):
        CODEC.dump_alike(payload)({**payload, "args": [float("nan")]})
    with pytest.raises(PayloadTooLarge, match="A: the job is 39 bytes, payload_limit is 38"):
        Codec(limit=38).dump_alike(payload)({**payload, "args": ["123"]})


def test_a_dump_of_the_user_s_own_is_used() -> None:
    payload = {"class": "A", "args": [], "jid": "ab"}
    assert Codec(dump_json=json.dumps).dump_alike(payload)(payload) == json.dumps(payload).encode()
