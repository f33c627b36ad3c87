"""The clock can be frozen; the monotonic time that measures how long things take cannot."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import threading
import time

import pytest
from freezegun import freeze_time

from sidekiq_lua import clock as module
from sidekiq_lua.clock import Clock, boottime, iso_ms, monotonic

FROZEN = 1795488764.438


def moves() -> bool:
    """Whether monotonic time passes; gives up after many reads, so that a stopped clock fails."""
    begin = monotonic()
    return any(monotonic() > begin for _ in range(1_000_000))


def test_now_is_the_wall_time_plus_the_offset() -> None:
    before = time.time()
    now = Clock().now()
    ahead = Clock(offset=3600.0).now()
    after = time.time()
    assert before <= now <= after
    assert before + 3600 <= ahead <= after + 3600


def test_the_offset_can_be_set_later() -> None:
    clock = Clock()
    clock.offset = -3600.0
    assert clock.now() < time.time() - 3599
    assert clock.now_ms() < (time.time() - 3599) * 1000


def test_now_ms_is_whole_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    now = Clock().now_ms()
    assert isinstance(now, int)
    assert before <= now <= time.time_ns() // 1_000_000


class Stepped:
    """The machine's clock, once somebody has set it."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._read = seconds, time.time

    def __call__(self) -> float:
        return self._read() + self._seconds


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system has no clock that nobody sets")
@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_clock_that_follows_does_not_jump_with_the_machines(
    step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = time.time()
    clock = Clock()
    clock.follow(-step, clock.local(), boottime())
    monkeypatch.setattr(time, "time", Stepped(step))
    assert 0 <= clock.now() - (before - step) < 60
    assert 0 <= clock.local() - (before + step) < 60
    clock.follow(-step, clock.local(), boottime())
    assert 0 <= clock.now() - before < 60


def test_it_goes_by_the_machines_again_when_nobody_has_told_it_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    clock.follow(100.0, clock.local(), boottime())
    later = boottime() + 3600
    monkeypatch.setattr(module, "boottime", lambda: later)
    assert clock.now() - time.time() == pytest.approx(100, abs=5)


def test_a_clock_that_follows_can_be_frozen() -> None:
    clock = Clock()
    clock.follow(100.0, clock.local(), boottime())
    with freeze_time("2026-11-24T02:52:44.438"):
        assert clock.now() == FROZEN
        assert clock.local() > FROZEN + 60
        clock.follow(200.0, clock.local(), boottime())
    assert 199 < clock.now() - time.time() < 201


@freeze_time("2026-11-24T02:52:44.438")
def test_a_frozen_clock_stands_still_and_ignores_the_offset() -> None:
    clock = Clock(offset=100.0)
    assert clock.now() == time.time() == FROZEN
    assert clock.now_ms() == 1795488764438
    assert clock.day() == "2026-11-24"


def test_a_frozen_clock_follows_ticks_and_moves() -> None:
    clock = Clock(offset=100.0)
    with freeze_time("2026-11-24T02:52:44.438", tz_offset=-5) as frozen:
        assert clock.now() == FROZEN
        frozen.tick(1.5)
        assert clock.now() == FROZEN + 1.5
        frozen.move_to("2030-01-01")
        assert clock.day() == "2030-01-01"
    assert clock.now() > time.time() + 99


def test_a_frozen_clock_is_frozen_in_threads_too() -> None:
    seen: list[float] = []
    clock = Clock()

    def run() -> None:
        seen.append(clock.now())

    with freeze_time("2026-11-24T02:52:44.438"):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert seen == [FROZEN]


def test_another_replacement_of_time_counts_as_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 5.25)
    assert Clock(offset=100.0).now() == 5.25


def test_monotonic_moves_where_the_clock_is_frozen() -> None:
    assert moves()
    with freeze_time("2026-11-24"):
        stopped = time.monotonic()
        assert moves()
        assert time.monotonic() == stopped


def test_monotonic_moves_too_where_the_platform_has_no_clock_gettime() -> None:
    script = (
        "import time; del time.clock_gettime\n"
        "from sidekiq_lua.clock import monotonic\n"
        "from freezegun import freeze_time\n"
        "with freeze_time('2026-11-24'):\n"
        "    begin = monotonic()\n"
        "    print(any(monotonic() > begin for _ in range(1_000_000)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize(
    ("moment", "day"),
    [(0.0, "1970-01-01"), (86_399.999, "1970-01-01"), (86_400.0, "1970-01-02"), (FROZEN, "2026-11-24")],
)
def test_day_is_the_utc_day_of_a_moment(moment: float, day: str) -> None:
    clock = Clock(offset=86_400.0)
    assert clock.day(moment) == day
    assert clock.day(0.0) == "1970-01-01"
    assert clock.day(moment) == day


def test_day_without_a_moment_is_today_by_the_shifted_clock() -> None:
    tomorrow = {dt.datetime.fromtimestamp(time.time() + 86_400, dt.UTC).strftime("%Y-%m-%d")}
    day = Clock(offset=86_400.0).day()
    tomorrow.add(dt.datetime.fromtimestamp(time.time() + 86_400, dt.UTC).strftime("%Y-%m-%d"))
    assert day in tomorrow


def test_milliseconds_survive_the_float() -> None:
    for ms in range(1000):
        moment = 1795488764 + ms / 1000
        assert iso_ms(moment) == f"2026-11-24T02:52:44.{ms:03}Z"
    assert iso_ms(1.001) == "1970-01-01T00:00:01.001Z"


def test_milliseconds_are_cut_off_not_rounded() -> None:
    assert iso_ms(1795488764.9996) == "2026-11-24T02:52:44.999Z"
    assert iso_ms(1795488765.0) == "2026-11-24T02:52:45.000Z"
