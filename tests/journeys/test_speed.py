"""Speed, as a ratio within one run: absolute rates say little on a shared machine."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "tools" / "bench"


pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]


def bench(*words):
    run = subprocess.run(
        [sys.executable, str(BENCH), *words, "--json", "--rounds", "3"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout)
    sys.stderr.write(f"{words[0]}: {found}\n")
    return found


def test_draining_reaches_a_third_of_a_bare_loop_over_the_same_scripts():
    found = bench("drain")
    assert found["ratio"] >= 0.35, found


@pytest.mark.skipif(
    shutil.which("redis-benchmark") is None,
    reason="redis-benchmark is not on the PATH: apt-get install redis-tools; CI has it",
)
def test_pushes_of_many_clients_and_in_bulk():
    found = bench("enqueue")
    assert found["bulk / redis-benchmark"] >= 0.25, found
    assert found["100 tasks / one"] >= 0.9, found
