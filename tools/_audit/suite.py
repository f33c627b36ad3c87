"""Runs test suites with every server of theirs under MONITOR, and checks each call of each script.

tests/servers.py writes the logs where SIDEKIQ_LUA_TEST_MONITOR says. In the same run tests/as_roles.py has
the code under test log in as the users that `sidekiq-lua acl` prints, and nothing may be denied to them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from servers import Server

from sidekiq_lua.store.contract import contracts
from sidekiq_lua.store.scripts import library

from . import checks, monitor
from .rules import Finding

ROOT = Path(__file__).resolve().parents[2]
SUITES = ("tests/store", "tests/journeys", "tests/worker", "tests/lua", "tests/api")
VARIABLE = "SIDEKIQ_LUA_TEST_MONITOR"
ROLES = "SIDEKIQ_LUA_TEST_ROLES"


def run(paths: Sequence[str] = SUITES) -> tuple[list[Finding], Counter[str]]:
    """The findings, and how often each script was called."""
    with tempfile.TemporaryDirectory(prefix="audit-") as folder:
        workers = str(min(8, 1 + (os.cpu_count() or 1)))
        words = [sys.executable, "-m", "pytest", "-q", "-n", workers, "--dist", "loadgroup"]
        ended = subprocess.run(
            [*words, *paths], cwd=ROOT, env={**os.environ, VARIABLE: folder, ROLES: "1"}, check=False
        )
        found, called = read(sorted(Path(folder).iterdir()))
    if ended.returncode:
        found.append(Finding(" ".join(paths), "suite", f"pytest ended with {ended.returncode}"))
    if not called:
        found.append(Finding(" ".join(paths), "suite", "no script was seen: was the server under MONITOR?"))
    return found, called


def read(logs: Sequence[Path]) -> tuple[list[Finding], Counter[str]]:
    """Check what MONITOR said of several servers."""
    scripts = {script.sha: script for script in library().values()}
    found: dict[Finding, None] = {}
    called: Counter[str] = Counter()
    with Server(os.environ.get("SIDEKIQ_LUA_TEST_SERVER") or None) as server, server.client() as client:
        flags = monitor.KeyFlags(client)
        for log in logs:
            with log.open("rb") as lines:
                for ran in monitor.calls(_whole(lines), scripts):
                    called[ran.script.name] += 1
                    for problem in checks.problems(ran, contracts()[ran.script.name], flags):
                        where, _, message = problem.partition(": ")
                        found[Finding(where, "suite", message)] = None
    return list(found), called


def _whole(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Without a last line that a killed server cut short, and the +OK at the start."""
    return (line for line in lines if line.endswith(b"\n") and line != b"+OK\r\n")
