"""Interleaved rounds, medians, ratios, and how they are shown."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from .machine import HERE, PATH

Found = dict[str, Any]


def in_turns(rounds: int, contenders: Mapping[str, Callable[[], float | None]]) -> dict[str, list[float]]:
    """Each contender once a round: A B A B, so that the machine's mood hits all alike.

    A contender that answers None is left out of that round.
    """
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    with click.progressbar(
        length=rounds * len(contenders),
        file=sys.stderr,
        item_show_func=lambda name: str(name or ""),
        show_eta=False,
    ) as bar:
        for _ in range(rounds):
            for name, measure in contenders.items():
                bar.update(0, name)
                rate = measure()
                if rate is not None:
                    rates[name].append(rate)
                bar.update(1, name)
    return rates


def medians(rounds: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in rounds.items() if values}


def ratio(rounds: Mapping[str, list[float]], ours: str, theirs: str) -> float:
    """The median of the ratios within each round."""
    pairs = zip(rounds[ours], rounds[theirs], strict=True)
    return round(statistics.median(a / b for a, b in pairs), 3)


def bare(kind: str, url: str, number: int, count: int, marks: str = "/tmp") -> float:
    """A loop of bare.py in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(HERE / "bare.py"), kind, url, str(number), str(count)],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": PATH, "BENCH_MARKS": marks},
    )
    return float(json.loads(done.stdout))


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def show(found: Found, as_json: bool) -> None:
    """A figure a line, or the whole as JSON."""
    if as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for inner, figure in value.items():
                print(f"  {inner:<44} {_text(figure)}")
        else:
            print(f"{name:<46} {_text(value)}")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:,.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return str(value)
