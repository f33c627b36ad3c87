"""A recording is bounded and keeps its sums; what others read of it."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

import pytest

from sidekiq_lua import profiling
from sidekiq_lua.profiling import Recording, firefox, packed, speedscope

FACTS: dict[str, Any] = {
    "name": "Echo 1", "pid": 7, "started_at": 1_795_489_385.5, "elapsed_s": 0.5, "interval_s": 0.001
}  # fmt: skip
ROOT = "run\0/app/worker.py\x0010"
MAIN = "perform\0/app/jobs.py\x0020\x01l22\x01cEcho"
MAIN_LATER = "perform\0/app/jobs.py\x0020\x01l25\x01cEcho"
SLEEP = "sleep\0<built-in>\x000"


def recorded() -> Recording:
    recording = Recording(skip=1)
    recording.add([ROOT, MAIN], 0.001)
    recording.add([ROOT, MAIN, SLEEP], 0.25)
    recording.add([ROOT, MAIN, SLEEP], 0.125)
    recording.add([ROOT, MAIN_LATER], 0.002)
    recording.add([ROOT], 9.0)
    return recording


def test_the_firefox_form() -> None:
    profile = firefox(recorded(), **FACTS)

    (thread,) = profile["threads"]
    texts = thread["stringArray"]
    assert thread["samples"] == {
        "stack": [0, 1, 2], "time": [0.0, 1.0, 376.0], "weight": [1.0, 375.0, 2.0],
        "weightType": "tracing-ms", "length": 3,
    }  # fmt: skip
    assert thread["stackTable"]["prefix"] == [None, 0, None]
    assert thread["frameTable"]["line"] == [22, None, 25]
    functions = thread["funcTable"]
    assert [texts[n] for n in functions["name"]] == ["Echo.perform", "sleep"]
    assert [texts[n] for n in functions["fileName"]] == ["/app/jobs.py", "<built-in>"]
    assert functions["lineNumber"] == [20, None]
    assert profile["meta"]["startTime"] == 1_795_489_385_500
    for name, table in thread.items():
        if isinstance(table, dict):
            lengths = {len(column) for column in table.values() if isinstance(column, list)}
            assert lengths == {table["length"]}, name


def test_the_speedscope_form() -> None:
    made = speedscope(json.loads(json.dumps(firefox(recorded(), **FACTS))), "Echo")

    (profile,) = made["profiles"]
    assert made["shared"]["frames"] == [
        {"name": "Echo.perform", "file": "/app/jobs.py", "line": 20},
        {"name": "sleep", "file": "<built-in>"},
    ]
    assert profile["samples"] == [[0], [0, 1], [0]]
    assert profile["weights"] == [1.0, 375.0, 2.0]
    assert profile["endValue"] == 378.0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "SAMPLES", 100)
    monkeypatch.setattr(profiling, "STACKS", 50)


@pytest.mark.usefixtures("small")
def test_however_long_it_runs_it_stays_small_and_its_sum_right() -> None:
    chance = random.Random(1)
    recording, total = Recording(), 0.0
    for _ in range(20_000):
        seconds = chance.uniform(0.0005, 0.0015)
        recording.add([MAIN, f"f{chance.randrange(10)}\0a.py\x001"], seconds)
        total += seconds
    recording.add([MAIN, SLEEP], 60.0)

    assert len(recording.samples) <= 100
    assert sum(recording.seconds) == pytest.approx(total + 60)
    sleep = recording.stacks[recording.frames[MAIN] * 0 + 0, recording.frames[SLEEP]]
    slept = sum(s for stack, s in zip(recording.samples, recording.seconds, strict=True) if stack == sleep)
    assert slept == pytest.approx(60, rel=0.05), "a long sample stands for itself"


@pytest.mark.usefixtures("small")
def test_endless_stacks_are_cut() -> None:
    recording = Recording()
    for n in range(200):
        recording.add([MAIN, *(f"f{n}-{depth}\0a.py\x001" for depth in range(5))], 0.001)

    assert len(recording.stacks) == 50
    assert sum(recording.seconds) == pytest.approx(0.2)


def test_what_is_too_large_is_thinned_out() -> None:
    chance = random.Random(1)
    recording = Recording()
    for _ in range(10_000):
        recording.add([MAIN, f"f{chance.randrange(50)}\0a.py\x001"], chance.random())

    data = packed(recording, 20_000, **FACTS)

    assert data is not None
    assert len(data) <= 20_000
    weights = json.loads(gzip.decompress(data))["threads"][0]["samples"]["weight"]
    assert sum(weights) == pytest.approx(1000 * sum(recording.seconds))
    assert packed(recording, 100, **FACTS) is None


def test_an_empty_recording_can_be_read() -> None:
    data = packed(Recording(), 10_000, **FACTS)

    assert data is not None
    assert speedscope(json.loads(gzip.decompress(data)), "x")["profiles"][0]["samples"] == []
