"""docs/testing.md shows pieces of examples/testing, and these run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "testing"
OPTIONS = ["-p", "sidekiq_lua.pytest_plugin", "-W", "error", "--rootdir=.", "-c", "/dev/null"]
PIECES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "testing.md").read_text("utf-8"), re.DOTALL)


def test_the_examples_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "-p", "no:cacheprovider", "."],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 passed" in done.stdout


@pytest.mark.parametrize("piece", PIECES, ids=range(len(PIECES)))
def test_the_guide_shows_what_runs(piece: str) -> None:
    assert piece.strip("\n") in (EXAMPLE / "test_shop.py").read_text("utf-8")


def test_the_guide_has_pieces() -> None:
    assert len(PIECES) > 5
