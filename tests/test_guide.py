"""The pages of docs/ that show code: it is that of an example, which works; the reference is up to date."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_floors import FLOORS

from sidekiq_lua import Queue, RetrySet, ScheduledSet, errors, sidekiq

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLE = ROOT / "examples" / "coming" / "jobs.py"


@pytest.mark.parametrize("name", ["coming-from-ruby.md", "coming-from-celery.md"])
def test_the_code_is_that_of_the_example(name: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(), re.S | re.M)
    assert len(blocks) == 2
    for block in blocks:
        assert block in EXAMPLE.read_text()


def test_the_example_works(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    spec = importlib.util.spec_from_file_location("coming_jobs", EXAMPLE)
    assert spec
    assert spec.loader
    jobs: Any = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(jobs)
        jobs.checkout(42, "ada@example.org")
        assert [(job.args, job.tags) for job in Queue("mail")] == [([42, "ada@example.org"], ["billing"])]
        assert [job.queue for job in ScheduledSet()] == ["mail"]
        assert len(Queue("low")) == 1
        jobs.MailReceiptJob.perform_inline(42, "ada@example.org")
        assert jobs.sent == [(42, "ada@example.org")]
        assert len(RetrySet()) == 0
    finally:
        sidekiq.close()


def test_the_reference_is_what_the_docstrings_say() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "reference"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_captures_are_what_the_commands_print() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "captures"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_guide_names_every_page() -> None:
    named = set(re.findall(r"\]\(([a-z-]+\.md)\)", (DOCS / "README.md").read_text()))
    assert named == {path.name for path in DOCS.glob("*.md")} - {"README.md"}


def test_every_link_leads_somewhere() -> None:
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_errors_of_a_push_are_all_told() -> None:
    _, _, rest = (DOCS / "reliability.md").read_text().partition("### The errors of a push\n\n")
    first = [line.split("|")[1] for line in rest.split("\n\n")[0].splitlines() if "|" in line]
    told = set(re.findall(r"`(\w+)`", "".join(first)))
    # A push that gets no reply raises PushUnknown; the others are of a worker's start.
    beside = {"LostReply", "UnsupportedServer", "NewerSchema"}
    assert told >= {error.__name__ for error in _kinds(errors.RedisError)} - beside
    assert all(issubclass(getattr(errors, name), errors.SidekiqError) for name in told)


def _kinds(error: type[Exception]) -> set[type[Exception]]:
    return {kind for child in error.__subclasses__() for kind in {child} | _kinds(child)}


def test_the_table_of_floors_names_every_module() -> None:
    rows = re.findall(r"^\| (\d)(?: edges)? \| (.*?) \| ", (DOCS / "design.md").read_text(), re.M)
    told = {int(floor): set(re.findall(r"`(\w+)/?`", modules)) for floor, modules in rows}
    there = {path.stem for path in (ROOT / "sidekiq_lua").iterdir() if not path.stem.startswith("__pycache")}
    for floor, rooms in enumerate(FLOORS):
        assert told[floor] == rooms & there - {"__init__"}, f"floor {floor}"
