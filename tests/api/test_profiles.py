"""ProfileSet, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sidekiq_lua import ProfileSet, Sidekiq
from sidekiq_lua.errors import SidekiqError

NOW_S = 1_795_489_385.5


class Clock:
    def now(self) -> float:
        return NOW_S


@pytest.fixture
def app(url: str) -> Iterator[Sidekiq]:
    app = Sidekiq(redis=url, clock=Clock())  # type: ignore[arg-type]
    yield app
    app.close()


def store(app: Sidekiq, name: str, now: float = NOW_S) -> None:
    token, _, jid = name.partition("-")
    fields = {
        "token": token,
        "jid": jid,
        "type": "Echo",
        "started_at": 5,
        "elapsed": 0.5,
        "data": b"x",
        "size": 1,
    }
    app.transport().run(app.store.profiles.store(name, fields, now))


def names(profiles: Any) -> list[str]:
    return [record.name for record in profiles]


def test_all_of_them_the_newest_first(app: Sidekiq, redis: Any) -> None:
    for n in range(250):
        store(app, f"tok-{n}", NOW_S + n)
    store(app, "over-1", NOW_S - 86_401)
    redis.delete("tok-7")

    assert names(ProfileSet(app)) == [f"tok-{n}" for n in reversed(range(250)) if n != 7]


def test_one_is_found_by_each_of_its_names(app: Sidekiq) -> None:
    store(app, "slow-17")
    store(app, "slow-18", NOW_S + 1)

    assert names(ProfileSet(app).find("slow-17")) == names(ProfileSet(app).find("17")) == ["slow-17"]
    assert names(ProfileSet(app).find("slow")) == ["slow-18", "slow-17"]
    assert ProfileSet(app).find("fast") == []


def test_one_that_is_gone_says_so(app: Sidekiq, redis: Any) -> None:
    store(app, "slow-17")
    (record,) = ProfileSet(app)
    assert record.data() == b"x"
    redis.flushall()

    with pytest.raises(SidekiqError, match="slow-17 is gone: profiles are kept for a day"):
        record.data()
