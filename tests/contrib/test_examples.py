"""The examples of docs/{transactions,context,logging}.md run and print what they are there to show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTED = {
    "transactions/after_commit.py": "before the commit: 0\nafter the commit: 1\nafter a rollback: 1\n",
    "transactions/outbox.py": "in Redis before the relay: 0\nrelayed: 1\nin Redis after it: 1\n",
    "logging/sentry_events.py": (
        "the card was refused, of ChargeJob in default\nthe customer is known: ada\n"
    ),
    "context/tenant.py": "the job sees the tenant acme\nthe job is in the trace of the request: True\n",
}


@pytest.mark.parametrize("name", PRINTED)
def test_example(url: str, name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env={**os.environ, "REDIS_URL": url},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (0, PRINTED[name]), done.stderr


@pytest.mark.parametrize("name", PRINTED)
def test_example_is_named_in_the_docs(name: str) -> None:
    page = EXAMPLES.parent / "docs" / f"{name.partition('/')[0]}.md"
    assert f"examples/{name}" in page.read_text("utf-8")
