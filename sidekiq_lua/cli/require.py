"""What `-r` and `--app` name: modules, files and package directories, imported under the names that the
application's own imports give them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import ConfigurationError
from .place import summary, where

if TYPE_CHECKING:
    from ..instance import Sidekiq

T = TypeVar("T")


def use_current_directory() -> None:
    """Let modules of the current directory be imported, as `python -m` does. Raises ConfigurationError."""
    try:
        here = str(Path.cwd())
    except FileNotFoundError:
        raise ConfigurationError("the current directory is no more: change to one that there is") from None
    if here not in sys.path:
        sys.path.insert(0, here)


def require(name: str) -> None:
    """Import a dotted module, a `.py` file, or a package directory with the modules that lie directly in it.

    Raises ConfigurationError, caused by what the module raised.
    """
    path = Path(name)
    if path.is_dir() and ("/" in name or not _is_package(name)):
        _directory(name, path.resolve())
    elif path.suffix == ".py" or "/" in name:
        if not path.is_file():
            raise ConfigurationError(f"-r {name}: there is no such file")
        _guarded(name, partial(_file, path.resolve()))
    else:
        _guarded(name, partial(_module, name, "-r"))


def load_app(reference: str) -> Sidekiq:
    """The instance that `--app module:attribute` names. Raises ConfigurationError."""
    from ..instance import Sidekiq

    module, _, attribute = reference.partition(":")
    if not module or not attribute:
        raise ConfigurationError(f"--app {reference}: write it as module:attribute, such as myapp.jobs:app")
    found = _guarded(module, partial(_module, module, "--app"), "--app")
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigurationError(f"--app {reference}: {module} has no {attribute}") from None
    if not isinstance(found, Sidekiq):
        raise ConfigurationError(f"--app {reference}: that is a {type(found).__name__}, not a Sidekiq")
    return found


def _is_package(name: str) -> bool:
    """Whether a name is that of a package or module, and not only of a directory."""
    spec = find_spec(name) if name.isidentifier() else None
    return spec is not None and spec.origin is not None


def _guarded(name: str, load: Callable[[], T], option: str = "-r") -> T:
    try:
        return load()
    except KeyboardInterrupt:
        raise
    except ConfigurationError as error:
        if error.__traceback__ and where(error) is None:
            raise
        raise _failed(name, error, option) from error
    except BaseException as error:
        # Also SystemExit, which would end the worker without a word.
        raise _failed(name, error, option) from error


def _failed(name: str, error: BaseException, option: str) -> ConfigurationError:
    place = where(error)
    return ConfigurationError(f"{option} {name}: {summary(error)}{f' ({place})' if place else ''}")


def _module(name: str, option: str) -> object:
    if not _is_dotted(name):
        raise ConfigurationError(
            f"{option} {name}: no file or directory is there, and it is no module's name"
        )
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(
            f"{option} {name}: there is no module {error.name!r} in {Path.cwd()} or on Python's path"
        ) from None


def _directory(name: str, path: Path) -> None:
    if not (path / "__init__.py").is_file():
        raise ConfigurationError(f"-r {name}: the directory has no __init__.py; name a module in it")
    for file in [path / "__init__.py", *sorted(path.glob("[!_]*.py"))]:
        _guarded(name, partial(_file, file))


def _file(path: Path) -> object:
    name = _dotted(path)
    spec = _spec(name)
    if spec is not None and spec.origin and Path(spec.origin).resolve() == path:
        return import_module(name)
    # It is called like a module that comes first on the path, as json.py would be, or has no dotted name.
    name = f"required_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _spec(name: str) -> ModuleSpec | None:
    if not _is_dotted(name) or name == "__main__":
        return None
    return find_spec(name)


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _dotted(path: Path) -> str:
    """The name by which the nearest directory on Python's path makes a file importable."""
    target = path.parent if path.name == "__init__.py" else path.with_suffix("")
    roots = [root for entry in sys.path if entry and target.is_relative_to(root := Path(entry).resolve())]
    names = [target.relative_to(root).parts for root in roots]
    fit = [".".join(parts) for parts in names if parts and all(part.isidentifier() for part in parts)]
    if fit:
        return min(fit, key=len)
    root = target.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    sys.path.insert(0, str(root))
    return ".".join(target.relative_to(root).parts)
