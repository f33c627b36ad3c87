"""What a type checker sees: mypy --strict over typing/right.py and typing/wrong.py."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sidekiq_lua"
SAMPLES = ROOT / "tests" / "typing"

Complaints = dict[tuple[str, int], list[str]]


def mypy(*files: Path, cache: Path) -> Complaints:
    """The codes of the errors mypy finds in each line of our files, of which it reads all that it needs."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            f"--cache-dir={cache}",
            *map(str, files),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: Complaints = defaultdict(list)
    for file, line, code in re.findall(r"^(.+?):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE):
        found[Path(file).name, int(line)].append(code)
    assert sum(map(len, found.values())) == done.stdout.count(": error: "), done.stdout
    return {place: sorted(codes) for place, codes in found.items()}


def announced(file: Path) -> Complaints:
    """What the comments of a sample say."""
    lines = enumerate(file.read_text("utf-8").splitlines(), 1)
    return {
        (file.name, number): sorted(line.partition("# error: ")[2].split())
        for number, line in lines
        if "# error: " in line
    }


def test_right_calls_pass_and_wrong_ones_do_not(tmp_path: Path) -> None:
    wrong = announced(SAMPLES / "wrong.py")

    assert len(wrong) >= 28
    assert mypy(SAMPLES / "right.py", SAMPLES / "wrong.py", cache=tmp_path) == wrong


@pytest.mark.parametrize("place", ["api/*.py", "testing/*.py", "app.py", "instance.py"])
def test_any_job_class_will_do_where_one_is_asked_for(place: str) -> None:
    """`JobBase[Any]` is that to mypy; to pyright it is a job of one argument, which no other job fits."""
    found = {path.name: "JobBase[Any]" in path.read_text("utf-8") for path in PACKAGE.glob(place)}

    assert found
    assert not any(found.values()), found
