"""store_profile, profiles and read_profile: how jobs spent their time."""

from __future__ import annotations

from typing import Any

from keyspace import NOW, STORE

from sidekiq_lua.store.profiles import TTL_S, ProfileInfo

PROFILES = STORE.profiles
FIELDS = {"token": "tok", "jid": "7", "type": "Echo", "started_at": 1_800_000_000, "elapsed": 0.5}


def store(run: Any, name: str = "tok-7", now: float = NOW) -> None:
    run(PROFILES.store(name, {**FIELDS, "data": b"\x1f\x8b\0", "size": 3}, now))


def test_a_profile_is_kept_for_a_day(run: Any, redis: Any) -> None:
    store(run)

    assert redis.ttl("tok-7") == TTL_S == 86_400
    assert redis.zrange("profiles", 0, -1, withscores=True) == [(b"tok-7", NOW + TTL_S)]
    assert redis.hgetall("tok-7") == {
        b"token": b"tok", b"jid": b"7", b"type": b"Echo", b"started_at": b"1800000000", b"elapsed": b"0.5",
        b"data": b"\x1f\x8b\0", b"size": b"3",
    }  # fmt: skip


def test_what_is_over_leaves_the_set(run: Any, put: Any, redis: Any) -> None:
    put({"profiles": [("old-1", NOW - 5), ("old-2", NOW), ("fresh", NOW + 5)]})

    store(run)

    assert redis.zrange("profiles", 0, -1) == [b"fresh", b"tok-7"]


def test_a_name_that_was_over_and_comes_again_stays(run: Any, put: Any, redis: Any) -> None:
    put({"profiles": [("tok-7", NOW - 5), ("old-1", NOW), ("fresh", NOW + 5)]})

    store(run)

    assert redis.zrange("profiles", 0, -1) == [b"fresh", b"tok-7"]


def test_the_list_has_the_newest_first_and_nothing_that_is_over(run: Any, put: Any, db: Any) -> None:
    put({"profiles": [("old-1", NOW - 5), ("a", NOW + 1), ("b", NOW + 2)]})
    before = db()

    assert run(PROFILES.page(NOW)) == [("b", NOW + 2), ("a", NOW + 1)]
    assert run(PROFILES.page(NOW, 1)) == [("a", NOW + 1)]
    assert db() == before


def test_infos_leave_out_what_is_gone(run: Any) -> None:
    store(run)

    assert run(PROFILES.infos([("gone-1", 1.0), ("tok-7", 2.0)])) == [
        ProfileInfo("tok-7", 2.0, "tok", "7", "Echo", 1_800_000_000.0, 0.5, 3, "")
    ]
    assert run(PROFILES.data("tok-7")) == b"\x1f\x8b\0"
    assert run(PROFILES.data("gone-1")) is None
