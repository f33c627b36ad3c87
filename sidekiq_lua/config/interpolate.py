"""`${NAME}` and `${NAME:-default}` in the values of a settings file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigurationError
from .names import snake
from .settings import SETTINGS

_PLACE = re.compile(r"(\$?)\$\{([^}]*)(\}?)")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_ERB = re.compile(r"<%.*%>", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")

_TEXTS = {
    *(name for name, setting in SETTINGS.items() if isinstance(setting.default, str | list)),
    *("tag", "health", "max_memory", "quarantine_queue"),
    *("url", "username", "password", "client_name", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"),
    *("ssl_cert_reqs",),
}
"""Names whose values stay text, also where it looks like a number: a password may be 12345."""


def interpolate(value: Any, environ: Mapping[str, str], source: str, key: str = "") -> Any:
    """The same with each `${NAME}` replaced by that variable of `environ`, in texts however deep.

    `${NAME:-default}` gives the default where the variable is unset or empty; `$${` stands for `${`. A value
    that is nothing but one `${…}` becomes a number, true or false where it is written like one and its
    setting is no text. Names of settings are left alone.

    Raises ConfigurationError, naming `source` and the key, for a variable that is not set, for what cannot be
    read, and for Ruby's ERB: taken as text it could be the name of a queue to which nobody pushes.
    """
    match value:
        case Mapping():
            return {
                name: interpolate(item, environ, source, f"{key}.{name}" if key else str(name))
                for name, item in value.items()
            }
        case list():
            return [interpolate(item, environ, source, f"{key}[{n}]") for n, item in enumerate(value)]
        case str() if _ERB.search(value):
            raise ConfigurationError(
                f"{source}: {key}: ERB is not run here; write ${{NAME}} or ${{NAME:-default}} for an "
                "environment variable"
            )
        case str() if "${" in value:
            return _text(value, environ, source, key)
    return value


def _text(text: str, environ: Mapping[str, str], source: str, key: str) -> Any:
    def replace(found: re.Match[str]) -> str:
        if found[1]:
            return found[0][1:]
        inside = _INSIDE.fullmatch(found[2])
        if inside is None or not found[3]:
            raise ConfigurationError(
                f"{source}: {key}: {found[0]!r} cannot be read: write ${{NAME}} or ${{NAME:-default}}, "
                "and $${ for a ${ that stays"
            )
        name, default = inside.groups()
        given = environ.get(name)
        if default is not None:
            return given or default
        if given is None:
            raise ConfigurationError(
                f"{source}: {key}: the environment variable {name} is not set; set it, or write "
                f"${{{name}:-default}}"
            )
        return given

    replaced = _PLACE.sub(replace, text)
    whole = _PLACE.fullmatch(text)
    if whole is None or whole[1] or _is_text(key):
        return replaced
    return _scalar(replaced)


def _is_text(key: str) -> bool:
    if key.endswith("]"):
        return key.partition("[")[0] in _TEXTS and key.count("[") == 1
    return snake(key.rpartition(".")[2]) in _TEXTS


def _scalar(text: str) -> Any:
    """What all three formats read the text as, if it stands without quotes."""
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
