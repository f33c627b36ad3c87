"""A worker under a steady mixed load does not grow."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "soak"
MINUTES = float(os.environ.get("SIDEKIQ_LUA_TEST_SOAK_MINUTES", "30"))


@pytest.mark.soak
@pytest.mark.timeout(60 * MINUTES + 300)
def test_a_worker_does_not_grow() -> None:
    done = subprocess.run(
        [sys.executable, str(TOOL), "--minutes", str(MINUTES), "--json"], capture_output=True, text=True
    )
    figures = json.loads(done.stdout)
    logging.getLogger(__name__).info("%s", figures)
    assert figures["problems"] == []
    assert done.returncode == 0, done.stderr
    assert figures["jobs"] > 100 * 60 * MINUTES
