"""tools/demo on a small directory, without the virtual environment it would make for itself."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from waiting import wait_until

from sidekiq_lua.bundled import BundledServer

ROOT = Path(__file__).parents[2]
SOURCES = {
    "a.py": "def f():\n    def g(): ...\n",
    "b.py": "class C:\n    async def m(self): ...\n",
    "deep/er/c.py": "",
    "deep/d.py": "x = 1\ny = 2\nz = 3",
    "deep/broken.py": "print 'hello'\n",
    "not_python.txt": "def f(): ...\n",
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five Python files, one of them broken, in a directory whose name has a space."""
    directory = tmp_path_factory.mktemp("some sources")
    for name, text in SOURCES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "demo's home"


class Done(NamedTuple):
    home: Path
    process: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, sources: Path) -> Done:
    """One run to the end; what a user's shell may say about servers is not meant for the demo's."""
    home = tmp_path_factory.mktemp("done") / "home"
    foreign = {"REDIS_PROVIDER": "MY_REDIS", "MY_REDIS": "redis://localhost:1", "APP_ENV": "production"}
    return Done(home, demo("--home", home, sources, **foreign))


def command(*words: str | Path) -> list[str]:
    return [sys.executable, str(ROOT / "tools" / "_demo"), *map(str, words)]


def demo(*words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), env={**os.environ, **environ}, cwd="/", capture_output=True, text=True, timeout=50
    )


@contextmanager
def running_demo(home: Path, sources: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo whose worker runs jobs. Its broken files keep it busy for two seconds or more."""
    with subprocess.Popen(command("--home", home, sources), stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: worker_pid(home), 20, "the worker's first line")
            wait_until(lambda: "SyntaxError" in (home / "worker.log").read_text(), 20, "a job that fails")
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def worker_pid(home: Path) -> int | None:
    log = home / "worker.log"
    found = re.search(r" pid=(\d+) ", log.read_text()) if log.exists() else None
    return int(found[1]) if found else None


def nothing_left(home: Path) -> None:
    assert BundledServer(home).running() is None
    pid = worker_pid(home)
    assert pid, "no worker ever ran"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def figures(output: str) -> dict[str, int]:
    return {name: int(number) for name, number in re.findall(r"^  ([a-z ]+?) +(\d+)(?:  .*)?$", output, re.M)}


@pytest.mark.slow
def test_it_accounts_for_every_file(done: Done, sources: Path) -> None:
    home, process = done
    assert process.returncode == 0, process.stderr
    shown = figures(process.stdout)
    assert shown.pop("jobs a second") > 0
    assert shown == {
        "files": 7,  # five of ours, and two broken ones that the demo adds
        "lines": 7,
        "definitions": 4,
        "succeeded": 4,
        "dead": 3,
        "retried": 3,
        "processed": 4 + 2 * 3 + 1,
        "failed": 2 * 3,
    }
    assert "\n  deep/broken.py\n      SyntaxError: Missing parentheses" in process.stdout
    assert f"\n  {home}/broken/unfinished.py\n      SyntaxError: " in process.stdout
    assert "0 of 7 files" in process.stderr
    with closing(sqlite3.connect(home / "index.sqlite3")) as db:
        rows = set(db.execute("SELECT * FROM files"))
    assert rows == {
        (str(sources / "a.py"), 2, 2, 0),
        (str(sources / "b.py"), 2, 1, 1),
        (str(sources / "deep/er/c.py"), 0, 0, 0),
        (str(sources / "deep/d.py"), 3, 0, 0),
    }
    nothing_left(home)


@pytest.mark.slow
def test_the_next_commands_find_its_server(done: Done) -> None:
    shell = 'set -eu; . "$1/env"; "$2" -m sidekiq_lua monitor overview; "$2" -m sidekiq_lua server stop'
    words = ["sh", "-c", shell, "sh", str(done.home), sys.executable]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"Dead: +3$", shown.stdout, re.M), shown.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_its_worker_and_its_server(home: Path, sources: Path, number: signal.Signals) -> None:
    with running_demo(home, sources) as process:
        process.send_signal(number)
        _, stderr = process.communicate(timeout=40)
    assert process.returncode == 128 + number
    assert stderr.splitlines()[-1].startswith("tools/demo: interrupted")
    nothing_left(home)


@pytest.mark.slow
def test_a_worker_that_dies_fails_it(home: Path, sources: Path) -> None:
    with running_demo(home, sources) as process:
        pid = worker_pid(home)
        assert pid
        os.kill(pid, signal.SIGKILL)
        _, stderr = process.communicate(timeout=40)
    assert process.returncode == 1
    assert stderr.splitlines()[-1].startswith("tools/demo: the worker ended with -9; the end of ")
    nothing_left(home)


@pytest.mark.slow
def test_one_at_a_time_in_one_directory(home: Path, sources: Path) -> None:
    with running_demo(home, sources):
        second = demo("--home", home, sources)
        assert (second.returncode, second.stdout) == (1, "")
        blamed = "another tools/demo, or the worker of one that was killed, uses"
        assert second.stderr == f"tools/demo: {blamed} {home}\n"
        assert BundledServer(home).running(), "the second one has stopped the server of the first"


@pytest.mark.slow
def test_it_gives_up_when_the_time_is_over(home: Path, sources: Path) -> None:
    # The demo's own broken files cannot be dead within a second.
    ended = demo("--home", home, "--timeout", "1", sources)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert re.match(r"tools/demo: not done within 1 s: of 7 files \d succeeded, 0 are dead; ", last)
    nothing_left(home)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "there is no directory {}"),
        ("file.py", "{} is not a directory"),
        ("empty", "there are no .py files in {}"),
    ],
)
def test_a_directory_that_cannot_be_meant_is_one_line(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.py").touch()
    # The whole command: it is told before a virtual environment is made.
    words = [str(ROOT / "tools" / "demo"), name]
    environ = {**os.environ, "PYTHON": sys.executable}
    ended = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"tools/demo: {message.format(tmp_path / name)}\n"


def test_a_home_with_files_of_others_is_left_alone(tmp_path: Path, sources: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").write_text("mine")
    ended = demo("--home", tmp_path / "other", sources)
    assert ended.returncode == 1
    assert "has files in it that are not the demo's" in ended.stderr
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["precious"]
