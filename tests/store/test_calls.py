"""A call as a value: what goes over the wire."""

from __future__ import annotations

import hiredis
import pytest

from sidekiq_lua.store import Keys, Store
from sidekiq_lua.store.scripts import library

STORE = Store()


def words(packed: bytes) -> list[bytes]:
    reader = hiredis.Reader()
    reader.feed(packed)
    found: list[bytes] = reader.gets()
    return found


def test_a_move_goes_out_as_evalsha() -> None:
    call = STORE.queues.push("größe", [b"\x00\xff", b""])

    sha = library()["push"].sha.encode()
    assert words(call.packed()) == [
        *(b"EVALSHA", sha, b"2", b"queues", "queue:größe".encode()),
        *("größe".encode(), b"\x00\xff", b""),
    ]


def test_a_read_goes_out_as_evalsha_ro() -> None:
    assert words(STORE.counters.totals().packed())[0] == b"EVALSHA_RO"


def test_times_go_out_with_every_digit() -> None:
    call = STORE.queues.schedule([(1755400000.123456, b"x"), (1e22, b"y"), (2.0, b"z")])

    assert call.argv == ("1755400000.123456", b"x", "1e+22", b"y", "2.0", b"z")


def test_text_that_is_no_text_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(UnicodeEncodeError):
        STORE.queues.push("queue\ud800", [b""]).packed()


def test_a_call_can_be_read_by_people() -> None:
    assert repr(STORE.processes.signal("h:1:a", "TERM")) == "<Call signal ('h:1:a-signals',) ('TERM',)>"


def test_a_prefix_comes_before_every_key() -> None:
    plain, prefixed = Keys(), Keys("{shard-1}:")
    names = [name for name, value in vars(plain).items() if name != "prefix"]
    assert {name: getattr(prefixed, name) for name in names} == {
        name: "{shard-1}:" + getattr(plain, name) for name in names
    }
    makers = {name for name in vars(Keys) if not name.startswith("_")}
    for name in makers - {"running", "sent", "minute", "ten_minutes", "histogram"}:
        assert getattr(prefixed, name)("x") == "{shard-1}:" + getattr(plain, name)("x")
    assert prefixed.minute(0) == "{shard-1}:j|700101|0:00"
    assert prefixed.ten_minutes(0) == "{shard-1}:j|700101|0:0"
    assert prefixed.histogram("A", 0) == "{shard-1}:h|A-1-0:0"
    assert prefixed.sent("a", 1) == "{shard-1}:lua:sent:a:1"
    assert prefixed.running("a", "b", "c") == "{shard-1}:lua:running:a:b:c"


def test_sidekiq_s_own_keys_are_spelled_as_ruby_spells_them() -> None:
    keys = Keys()
    assert keys.queue("low") == "queue:low"
    assert (keys.process("h:1:a"), keys.work("h:1:a"), keys.signals("h:1:a")) == (
        "h:1:a",
        "h:1:a:work",
        "h:1:a-signals",
    )
    assert (keys.processed, keys.failed_on("2027-01-15")) == ("stat:processed", "stat:failed:2027-01-15")
