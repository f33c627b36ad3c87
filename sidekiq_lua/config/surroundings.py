"""Defaults that the process's surroundings decide: its directory and its environment variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .check import must_be

ENVIRONMENT_VARIABLES = ("SIDEKIQ_ENV", "APP_ENV")


def environment_name(environ: Mapping[str, str]) -> str:
    """The first of SIDEKIQ_ENV and APP_ENV that is set and not empty, else "development"."""
    named = (environ.get(variable) for variable in ENVIRONMENT_VARIABLES)
    return next(filter(None, named), "development")


def default_concurrency(environ: Mapping[str, str], otherwise: int) -> int:
    """RAILS_MAX_THREADS, if it is set and not empty. Raises ConfigurationError if it is no number."""
    written = environ.get("RAILS_MAX_THREADS", "").strip()
    if not written:
        return otherwise
    if not written.isdecimal() or int(written) < 1:
        raise must_be("the environment variable RAILS_MAX_THREADS", "1 or more", written)
    return int(written)


def default_tag(directory: Path) -> str:
    """The directory's name; for Capistrano's `app/releases/20261124` the application's."""
    number = re.match(r"\d+", directory.name)
    if number and int(number[0]) and directory.parent.name == "releases":
        return directory.parent.parent.name
    return directory.name or directory.anchor


def tag(name: str, value: object) -> str:
    """One line of text, also an empty one; None for `default_tag` of the current directory."""
    if value is None:
        try:
            return default_tag(Path.cwd())
        except FileNotFoundError:  # the directory was deleted under the process: no name is left to show
            return ""
    if not isinstance(value, str) or not value.isprintable():
        raise must_be(name, "one line of text", value)
    return value
