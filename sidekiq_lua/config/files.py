"""Settings from a JSON, YAML or TOML file. Only a command reads files; nothing else imports this module."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .check import must_be
from .interpolate import interpolate
from .names import snake
from .settings import SETTINGS

SUFFIXES = (".yml", ".yaml", ".json", ".toml")
ENVIRONMENTS = {"production", "staging", "development", "test"}
"""Names of sections that are known to be such, whatever is in them."""

_RUBY_NAMES = {"on_complex_arguments": "strict_args"}


def default_path(cwd: Path) -> Path | None:
    """The first that exists of config/sidekiq.{yml,yaml,json,toml} and then sidekiq.{…}, or None."""
    candidates = (cwd / folder / f"sidekiq{suffix}" for folder in ("config", ".") for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def load(path: str | Path, environment: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The settings in a file, for `Config.update(…, source=str(path))`, which checks names and values.

    `${NAME}` in a value is replaced by the variable of `environ` (default: the process's), see `interpolate`;
    in what another environment's section holds, or this one's overrides, it is not looked at.

    Keys may be written as here, in camelCase, or as Ruby's `:symbols:`. A mapping under the name of the
    environment overrides what stands outside; sections of other environments are left out.

    Raises ConfigurationError, naming the file and where known the line, for a file that is missing or
    cannot be read as what its suffix says, for ERB, for a key that is given twice, and for a variable that
    is not set.
    """
    path = Path(path)
    if path.suffix == ".erb":
        raise ConfigurationError(
            f"{path}: ERB is not run here; save the file as {path.stem} and write ${{ENV}} or "
            "${ENV:-default} for an environment variable in place of <%= … %>"
        )
    parse = _PARSERS.get(path.suffix)
    if parse is None:
        raise ConfigurationError(f"{path}: the name must end in {', '.join(SUFFIXES)}")
    try:
        data = parse(path, path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: nested too deeply") from None
    if data is None:  # YAML's answer for a file of comments
        return {}
    if not isinstance(data, Mapping):
        raise ConfigurationError(f"{path}: must hold settings by name, not {_kind(data)}")
    around = os.environ if environ is None else environ
    return _settings(path, data, environment, around)


# -- text to data -----------------------------------------------------------------------


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=partial(_once, path))
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ConfigurationError(f"{path}: {twice} is given twice")
    return found


def _toml(path: Path, text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", str(error))
        message, line = (found[1], f":{found[2]}") if found else (str(error), "")
        raise ConfigurationError(f"{path}{line}: not valid TOML: {message}") from None


def _yaml(path: Path, text: str) -> Any:
    # Loading it takes some 20 ms, which a worker that reads JSON or TOML need not wait for.
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a key that is given twice, of which the safe loader takes the last."""

        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            seen = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                    continue
                if key.value in seen:
                    raise ConfigurationError(f"{path}:{key.start_mark.line + 1}: {key.value} is given twice")
                seen.add(key.value)
            return node

    try:
        return _without_symbols(yaml.load(text, Loader))
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    except ConfigurationError:
        raise
    except ValueError as error:  # a date such as 2026-99-99
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from None


def _without_symbols(value: Any) -> Any:
    """Ruby's symbols `:name` as the text `name`, in values and keys."""
    match value:
        case dict():
            return {_without_symbols(key): _without_symbols(item) for key, item in value.items()}
        case list():
            return [_without_symbols(item) for item in value]
        case str() if re.fullmatch(r":[A-Za-z_]\w*:?", value):
            return value.strip(":")
    return value


_PARSERS: dict[str, Callable[[Path, str], Any]] = {
    ".json": _json,
    ".toml": _toml,
    ".yml": _yaml,
    ".yaml": _yaml,
}


# -- data to settings -------------------------------------------------------------------


def _settings(
    path: Path, data: Mapping[Any, Any], environment: str, environ: Mapping[str, str]
) -> dict[str, Any]:
    outside = {key: value for key, value in data.items() if not _is_section(key, value, environment)}
    section = data.get(environment) if _is_section(environment, data.get(environment), environment) else None
    found = {**_canonical(path, outside.items()), **_canonical(path, (section or {}).items())}
    found = {name: interpolate(value, environ, str(path), name) for name, value in found.items()}
    found.pop("strict", None)  # Ruby leaves it out as well: the weights of the queues say it
    verbose = found.pop("verbose", False)
    if not isinstance(verbose, bool):
        raise ConfigurationError(f"{path}: {must_be('verbose', 'true or false', verbose)}")
    if verbose:
        found["log_level"] = "debug"
    return found


def _is_section(key: Any, value: Any, environment: str) -> bool:
    """Whether a top-level key names an environment and no setting.

    An environment of another name than the usual ones is known by what it holds: settings only. So
    a misspelt `rediss: {url: …}` is still an error.
    """
    if not isinstance(key, str) or snake(key) in SETTINGS:
        return False
    if key in ENVIRONMENTS or key == environment:
        return value is None or isinstance(value, Mapping)
    return (
        isinstance(value, Mapping) and bool(value) and all(snake(str(inner)) in SETTINGS for inner in value)
    )


def _canonical(path: Path, items: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """The same with this package's spelling of names, also inside `redis`, `pools` and `capsules`."""
    named: dict[str, Any] = {}
    for key, value in items:
        if not isinstance(key, str):
            raise ConfigurationError(f"{path}: the key {key!r} must be a word; put it in quotes if it is one")
        name = _RUBY_NAMES.get(snake(key), snake(key))
        if name in named:
            raise ConfigurationError(f"{path}: {name} is given twice, the second time as {key!r}")
        if name == "redis" and isinstance(value, Mapping):
            value = _canonical(path, value.items())
        elif name in ("pools", "capsules") and isinstance(value, Mapping):
            value = {
                inner: _canonical(path, options.items()) if isinstance(options, Mapping) else options
                for inner, options in value.items()
            }
        named[name] = value
    return named


def _kind(data: Any) -> str:
    return "a list" if isinstance(data, list) else f"a {type(data).__name__}"
