"""The blocks of docs/ that show commands, and what these print."""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from sidekiq_lua.cli.main import main as run_command

from .alike import Alike
from .scene import scene

DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(r"(?<=^<!-- captured -->\n```console\n)(.*?)(?=^```$)", re.S | re.M)
_PROMPT = "$ sidekiq-lua "


def main(*, check: bool) -> int:
    pages = [path for path in sorted(DOCS.glob("*.md")) if _BLOCK.search(path.read_text())]
    differ = [path for path in pages if not _written(path, check)]
    for path in differ:
        print(f"docs/{path.name} differs from what the commands print: run tools/captures", file=sys.stderr)
    return 1 if differ else 0


def _written(path: Path, check: bool) -> bool:
    """Run the page's commands in a scene of its own; whether the page shows what they print, or does now."""
    text = path.read_text()
    with scene() as (url, alike):
        os.environ.update(REDIS_URL=url, COLUMNS="80")
        wanted = _BLOCK.sub(lambda block: shown(block[1], lambda line: captured(line, alike)), text)
    if check:
        return wanted == text
    path.write_text(wanted)
    return True


def shown(block: str, run: Callable[[str], str]) -> str:
    """The block's commands, each followed by what it prints, with an empty line between."""
    lines = [line for line in block.split("\n") if line.startswith(_PROMPT)]
    return "\n".join(f"{line}\n{run(line.removeprefix(_PROMPT))}" for line in lines)


def captured(arguments: str, alike: Alike) -> str:
    """What a command prints, on both streams."""
    printed, terminal = io.StringIO(), sys.stdin
    sys.stdin = io.StringIO()  # no question waits for whoever runs this
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            run_command(shlex.split(arguments))
    finally:
        sys.stdin = terminal
    return alike(printed.getvalue())
