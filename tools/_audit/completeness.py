"""What whoever adds a script may forget, each with what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from audit.repeats import REPEATS
from script_cases import CASES

from sidekiq_lua.store.scripts import library

from . import callers
from .rules import Finding

ROOT = Path(__file__).resolve().parents[2]


def missing() -> list[Finding]:
    called = callers.callers(ROOT / "sidekiq_lua", library())
    bounds = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "tests" / "bounds").glob("*.py")))
    return [
        Finding(f"lua/{name}.lua", "complete", message)
        for name, script in library().items()
        for message in of_script(name, script.header["REPLAY"], called, bounds)
    ]


def of_script(name: str, replay: str, called: Collection[str], bounds: str) -> Iterator[str]:
    """What one script lacks; `bounds` is the text of tests/bounds/."""
    if name not in CASES:
        yield "give it an ordinary call in tests/script_cases.py"
    if name not in called:
        yield f'nothing calls it: a method under sidekiq_lua/store/ takes library()["{name}"]'
    if f'"{name}"' not in bounds:
        yield "give it its worst call in tests/bounds/"
    if replay.startswith("repeats") and name not in REPEATS:
        yield "it repeats: show in tests/audit/repeats.py what a second run does"
