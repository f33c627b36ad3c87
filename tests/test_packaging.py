"""A wheel, an editable install and a checkout run the same scripts, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.xdist_group("packaging")  # one worker builds the wheel, once

LOOK = """
import json, sidekiq_lua
from importlib.metadata import version
from sidekiq_lua.store.scripts import library, script_dir
print(json.dumps({
    "package": sidekiq_lua.__path__[0],
    "lua": str(script_dir()),
    "version": sidekiq_lua.__version__,
    "shas": {name: script.sha for name, script in library().items()},
}))
"""


# Of the wheel alone: the environment whose dependencies are borrowed has an entry point of its own.
ENTRY_POINT = """
import sidekiq_lua
from importlib.metadata import distributions
from pathlib import Path
site = str(Path(sidekiq_lua.__path__[0]).parent)
(own,) = (found for found in distributions(path=[site]) if found.name == "sidekiq-lua")
(plugin,) = own.entry_points.select(group="pytest11")
print(plugin.value, plugin.load().sidekiq_fake.__name__)
"""


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """What a command prints. It sees no PYTHONPATH but one given here."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env={**clean, **env}, capture_output=True, text=True)
    assert done.returncode == 0, f"{[*map(str, command)]}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as a release makes it: from the source archive, not from the checkout."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., Path]:
    """Install into a new environment, which borrows only the dependencies; answers its Python."""

    def install_it(*what: str | Path) -> Path:
        home = tmp_path / "venv"
        run(sys.executable, "-m", "venv", "--without-pip", home, cwd=tmp_path)
        python = home / "bin" / "python"
        (site,) = home.glob("lib/python*/site-packages")
        # A path in a .pth file does not have its own .pth files read, so an
        # editable sidekiq-lua of the environment that runs the tests stays unseen.
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation")
        run(sys.executable, "-m", "pip", "--python", python, "install", *quiet, *what, cwd=tmp_path)
        return python

    return install_it


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    directory = tmp_path / "empty"
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the package says of itself when it is run from the checkout, not installed at all."""
    seen = run(sys.executable, "-c", LOOK, cwd=tmp_path_factory.mktemp("elsewhere"), PYTHONPATH=str(ROOT))
    found: dict[str, Any] = json.loads(seen)
    return found


def test_checkout_reads_the_scripts_beside_the_package(checkout: dict[str, Any]) -> None:
    assert checkout["package"] == str(ROOT / "sidekiq_lua")
    assert checkout["lua"] == str(ROOT / "lua")
    assert sorted(checkout["shas"]) == sorted(path.stem for path in (ROOT / "lua").glob("*.lua"))


def test_wheel_runs_the_same_scripts(
    wheel: Path, install: Callable[..., Path], empty: Path, checkout: dict[str, Any]
) -> None:
    python = install(wheel)
    seen = json.loads(run(python, "-c", LOOK, cwd=empty))
    site = Path(seen["package"]).parent
    assert site.is_relative_to(python.parents[1])
    assert seen["lua"] == str(site / "sidekiq_lua" / "lua")
    assert seen["shas"] == checkout["shas"]


def test_editable_install_runs_the_scripts_of_the_checkout(
    install: Callable[..., Path], empty: Path, checkout: dict[str, Any]
) -> None:
    python = install("--editable", ROOT)
    assert json.loads(run(python, "-c", LOOK, cwd=empty)) == checkout
    assert not list(python.parents[1].glob("lib/python*/site-packages/sidekiq_lua")), (
        "a copy that would go stale"
    )


def test_installed_command_says_its_version(
    wheel: Path, install: Callable[..., Path], empty: Path, checkout: dict[str, Any]
) -> None:
    python = install(wheel)
    assert checkout["version"] in run(python.parent / "sidekiq-lua", "--version", cwd=empty)
    assert list(empty.iterdir()) == []


def test_pytest_finds_the_fixtures_of_an_installed_package(
    wheel: Path, install: Callable[..., Path], empty: Path
) -> None:
    shown = run(install(wheel), "-c", ENTRY_POINT, cwd=empty)
    assert shown.split() == ["sidekiq_lua.pytest_plugin", "sidekiq_fake"]


def test_wheel_holds_the_package_the_scripts_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"sidekiq_lua"}
    assert "sidekiq_lua/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    scripts = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lua").rglob("*.lua")}
    assert {name.removeprefix("sidekiq_lua/") for name in names if name.endswith(".lua")} == scripts
