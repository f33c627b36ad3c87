"""What the demo prints at the end."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from run import Run
from stage import ROOT, settings

SHOWN_DEAD = 20
REASON_CHARACTERS = 200


def report(run: Run, directory: Path, home: Path, own: int) -> str:
    """The text; `own` is how many of the files are the demo's."""
    return "\n".join([*_figures(run, directory, own), "", *_dead(run, directory), "", *_next(home)])


def _figures(run: Run, directory: Path, own: int) -> Iterator[str]:
    look, files, (_, lines, functions, classes) = run.look(), len(run.files), run.summary
    runs = f"{look.succeeded:,} + {look.failed:,} failed + 1 that summed up"
    rate, pass_s = round(files / run.first_pass_s), run.first_pass_s
    told = f"{look.succeeded:,} succeeded + {look.dead:,} dead = {files:,}"
    yield f"\nEvery file is accounted for after {run.elapsed_s:.1f} s: {told}\n"
    rows: list[tuple[str, int, str]] = [
        ("files", files, f"{files - own:,} in {directory}, {own} broken ones of the demo's own"),
        ("lines", lines, ""),
        ("definitions", functions + classes, f"{functions:,} functions, {classes:,} classes"),
        ("succeeded", look.succeeded, ""),
        ("dead", look.dead, "failed, were retried, and failed again"),
        ("retried", look.failed - look.dead, "1 to 10 s after they had failed: Sidekiq spreads retries"),
        ("processed", look.processed, f"Sidekiq's counter of runs: {runs}"),
        ("failed", look.failed, "Sidekiq's counter of failed runs"),
        ("jobs a second", rate, f"each had run once after {pass_s:.1f} s"),
    ]
    for name, number, remark in rows:
        yield f"  {name:13} {number:>9,}  {remark}".rstrip()


def _dead(run: Run, directory: Path) -> Iterator[str]:
    dead = sorted(run.dead().items())
    yield "Dead, and why:"
    for path, reason in dead[:SHOWN_DEAD]:
        inside = Path(path).is_relative_to(directory)
        yield f"  {os.path.relpath(path, directory) if inside else path}"
        yield f"      {' '.join(reason.split())[:REASON_CHARACTERS]}"
    if len(dead) > SHOWN_DEAD:
        yield f"  and {len(dead) - SHOWN_DEAD} more"


def _next(home: Path) -> list[str]:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in settings(home).items()]
    lines.append(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')
    (home / "env").write_text("\n".join(lines) + "\n")
    return [
        "Next, in a new shell:",
        f"  cd {shlex.quote(str(ROOT))} && . {shlex.quote(str(home / 'env'))}",
        "  sidekiq-lua monitor                                what Redis holds now",
        "  sidekiq-lua worker -r examples/indexer/jobs.py     a worker to play with",
        "  less examples/indexer/jobs.py                      the jobs that ran; see also its README.md",
    ]
