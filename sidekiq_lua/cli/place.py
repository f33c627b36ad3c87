"""Where an error arose, in the user's own code before all."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path

from ..errors import SidekiqError

_OURS = f"{Path(__file__).parents[1]}{os.sep}"
_STANDARD = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib"))
_INSTALLED = tuple(f"{os.sep}{folder}{os.sep}" for folder in ("site-packages", "dist-packages"))


def full(error: BaseException) -> str:
    """The whole traceback."""
    return "".join(traceback.format_exception(error)).rstrip()


def sentence(error: BaseException) -> str:
    """What happened, and where unless the message says so itself or only our code was at work."""
    place = where(error)
    if isinstance(error, SidekiqError):
        text = str(error)
    else:
        text = summary(error)
        place = place or _innermost(error, lambda filename: True)
    return f"{text} ({place})" if place and place not in text else text


def summary(error: BaseException) -> str:
    """`Class: message`."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def where(error: BaseException) -> str | None:
    """`file:line` of an error that arose in the user's code, else None."""
    if isinstance(error, SyntaxError) and error.filename:
        return _relative(error.filename, error.lineno)
    return _innermost(error, _is_users)


def _innermost(error: BaseException, wanted: Callable[[str], bool]) -> str | None:
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if wanted(frame.filename):
            return _relative(frame.filename, frame.lineno)
    return None


def _is_users(filename: str) -> bool:
    # A virtual environment may lie below the project's directory, so libraries are told by their own paths.
    return not filename.startswith((_OURS, "<", *_STANDARD)) and not any(
        folder in filename for folder in _INSTALLED
    )


def _relative(filename: str, line: int | None) -> str:
    try:
        here = f"{Path.cwd()}{os.sep}"
    except FileNotFoundError:  # the directory was deleted under the process
        here = ""
    return f"{filename.removeprefix(here)}:{line}"
