"""Speed, as a ratio within one run: absolute rates say little on a shared machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "tools" / "bench"


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_draining_reaches_a_third_of_a_bare_loop_over_the_same_scripts():
    run = subprocess.run(
        [sys.executable, str(BENCH), "drain", "--json", "--rounds", "3"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout)
    sys.stderr.write(f"drain: {found}\n")
    assert found["ratio"] >= 0.35, found
