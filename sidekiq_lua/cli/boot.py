"""From the command line to a configured instance: file, options, modules, in this order."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..instance import Sidekiq

F = TypeVar("F", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": False}

_SHARED = [
    click.option("-C", "--config", metavar="FILE", help="Default: config/sidekiq.{yml,yaml,json,toml}"),
    click.option("-e", "--environment", metavar="NAME", help="Default: SIDEKIQ_ENV, else development."),
    click.option(
        "-r", "--require", "modules", metavar="MODULE", multiple=True,
        help="What to import: a dotted module, a .py file or a package directory. Repeatable.",
    ),
    click.option("--app", metavar="MODULE:NAME", help="Another instance than the default one."),
    click.option("-v", "--verbose", is_flag=True, help="Log from debug level on; show tracebacks."),
]  # fmt: skip


def shared_options(command: F) -> F:
    """The options by which every command finds its instance."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


def boot(
    *,
    app: str | None,
    config: str | None,
    environment: str | None,
    modules: Sequence[str],
    settings: Mapping[str, Any],
    server: bool,
) -> Sidekiq:
    """The instance with its settings: the file's, over them `settings`, over them its configure blocks'.

    `server`: it will run jobs, so what the file requires is imported as well. Raises ConfigurationError.
    """
    from ..config.files import default_path, load
    from ..config.surroundings import environment_name
    from .require import load_app, require, use_current_directory

    use_current_directory()
    if environment:
        # What the application asks of its surroundings should get the same answer.
        os.environ["SIDEKIQ_ENV"] = environment
    name = environment_name(os.environ)
    path = Path(config) if config else default_path(Path())
    file = load(path, name) if path else {}
    if path and not environment and file.get("environment", name) != name:
        name = str(file["environment"])
        file = load(path, name)
    given = {**settings, **({"environment": environment} if environment else {})}
    if modules:
        given["require"] = list(modules)

    instance = load_app(app or "sidekiq_lua.instance:sidekiq")
    instance.is_server = server
    # Never in production, which whoever chooses the server sees to.
    instance.may_start_server = True
    instance.preset(file, str(path or ""))
    instance.preset(given)
    for module in _required(file, given) if server else modules:
        require(module)
    return instance


def _required(file: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    named = given.get("require", file.get("require", []))
    return [named] if isinstance(named, str) else [os.fspath(name) for name in named]
