"""tools/chaos in a bounded form: kill -9 at random moments, and the same with the server killed too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHAOS = Path(__file__).parents[2] / "tools" / "chaos"


def chaos(*options: str) -> tuple[int, str, str]:
    """The exit code, what it prints, and its complaints."""
    done = subprocess.run(
        [sys.executable, str(CHAOS), *options], capture_output=True, text=True, timeout=240, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "more", [(), ("--restarts", "2"), ("--crash-limit", "0")], ids=["", "restarts", "no-pills"]
)
def test_kills_at_random_moments(more: tuple[str, ...], record_property: Any) -> None:
    code, out, complaints = chaos("--jobs", "3000", "--kills", "12", "--json", *more)

    assert code == 0, complaints + out
    figures = json.loads(out)
    record_property("chaos", {name: value for name, value in figures.items() if name != "problems"})
    assert (figures["jobs"], figures["kills"], figures["lost"]) == (3000, 12, 0)
    assert figures["extra"] <= figures["begun"]
    assert figures["counters_equal"]


@pytest.mark.slow
def test_it_prints_one_line() -> None:
    code, out, complaints = chaos("--jobs", "200", "--kills", "1", "--workers", "2")

    assert code == 0, complaints + out
    assert out.count("\n") == 1
    assert out.startswith("jobs 200, kills 1, server restarts 0, lost 0, extra runs ")
    assert "counters equal the ledger: yes" in out
