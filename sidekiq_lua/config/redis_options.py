"""The settings `redis` and `pools`: which server, how to log in, how long to wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import ConfigurationError, UnknownSetting
from .check import Check, choice, flag, must_be, nearest, seconds, text, whole

_SCHEMES = "redis://, rediss:// or unix://, or be local:"


class RedisOption(NamedTuple):
    """One key of the setting `redis`; `default` holds where the key is absent."""

    check: Check[Any]
    default: Any
    doc: str


class RedisSettings(Mapping[str, Any]):
    """The options that were given for one Redis server; those left out have their defaults in REDIS_OPTIONS.

    It cannot be changed: assign the whole setting. Its repr holds no value, so no password either.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)

    def __getitem__(self, name: str) -> Any:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __repr__(self) -> str:
        return f"<RedisSettings: {', '.join(self._options) or 'defaults'}>"


def redis_settings(name: str, value: Any) -> RedisSettings:
    """A URL or a mapping of options. Raises ConfigurationError; no message holds a URL or a password."""
    if value is None:
        return RedisSettings({})
    if isinstance(value, str):
        value = {"url": value}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} must be a url or a mapping of options, not {type(value).__name__}")
    options = {}
    for key, given in value.items():
        option = REDIS_OPTIONS.get(key)
        if option is None:
            raise UnknownSetting(f"{name}: {_unknown(key)}")
        if given is not None:
            options[key] = option.check(f"{name} {key}", given)
    tls = next((key for key in options if key.startswith("ssl_")), None)
    if tls and not options.get("url", "rediss://").startswith("rediss://"):
        raise ConfigurationError(f"{name} {tls} needs a url that begins with rediss://")
    return RedisSettings(options)


def pools(name: str, value: Any) -> dict[str, RedisSettings]:
    """Other servers by name, each as the setting `redis` and with a url."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"{name} must be a mapping from a name to options, not {type(value).__name__}"
        )
    made = {}
    for pool, options in value.items():
        settings = redis_settings(f"{name} {text(f'a name in {name}', pool)!r}", options)
        if "url" not in settings:
            raise ConfigurationError(f"{name} {pool!r} must have a url")
        made[pool] = settings
    return made


def _url(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a text, not {type(value).__name__}")
    if value == "local:":
        return value
    if not value.isprintable() or " " in value:
        raise ConfigurationError(f"{name} must not contain spaces or line breaks")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        # What Python says of a bad port can be a piece of the password.
        raise ConfigurationError(
            f"{name} cannot be read: write it as redis://user:password@host:port/db, with special characters "
            "of the password as %40 (@), %2F (/), %3A (:), %23 (#)"
        ) from None
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigurationError(f"{name} must begin with {_SCHEMES}")
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise ConfigurationError(f"{name} must name the socket's path, as in unix:///run/redis.sock")
        return value
    database = parts.path.strip("/")
    if port == 0 or (database and not database.isdecimal()):
        raise ConfigurationError(f"{name} must end in host:port or host:port/N, N the database's number")
    return value


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable() or " " in value:
        raise must_be(name, "a name without spaces", value)
    return value


def _secret(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a text, not {type(value).__name__}; put it in quotes")
    return value


_REFUSED = {
    "namespace": "namespace is not supported: Sidekiq 7 and later keep no namespaces; give each application "
    "a Redis database or server of its own",
    "nodes": "nodes is not supported: one application's jobs must be on one server, not on a Redis Cluster",
    "sentinels": "sentinels is not supported: give the url of the primary",
    "reconnect_attempts": "reconnect_attempts is not supported: each call decides if it may be sent twice",
    "size": "size is called pool_size",
    "timeout": "timeout is called socket_timeout",
    "network_timeout": "network_timeout is called socket_timeout",
    "host": "host is part of the url: redis://host:port/db",
    "port": "port is part of the url: redis://host:port/db",
}


def _unknown(key: Any) -> str:
    if key in _REFUSED:
        return _REFUSED[key]
    return f"unknown option {key!r}; the nearest known one is {nearest(str(key), list(REDIS_OPTIONS))!r}"


REDIS_OPTIONS: dict[str, RedisOption] = {
    "url": RedisOption(
        _url,
        None,
        "`redis://`, `rediss://` (TLS) or `unix://` URL, or `local:` for the bundled server; none: REDIS_URL",
    ),
    "username": RedisOption(text, None, "overrides the URL's"),
    "password": RedisOption(_secret, None, "overrides the URL's; never shown"),
    "db": RedisOption(whole(0), None, "number of the database; overrides the URL's"),
    "pool_size": RedisOption(whole(1), None, "most connections; none: as many as the process needs"),
    "pool_timeout": RedisOption(seconds, 1, "seconds to wait for a free connection"),
    "socket_timeout": RedisOption(seconds, 3, "seconds to wait for an answer"),
    "connect_timeout": RedisOption(seconds, 3, "seconds to wait for a connection"),
    "client_name": RedisOption(_word, None, "shown by CLIENT LIST"),
    "ssl_ca_certs": RedisOption(text, None, "path of the certificates to trust; none: the system's"),
    "ssl_certfile": RedisOption(text, None, "path of the client's certificate"),
    "ssl_keyfile": RedisOption(text, None, "path of the client's key"),
    "ssl_cert_reqs": RedisOption(
        choice("required", "optional", "none"), "required", "whether the server must show a certificate"
    ),
    "ssl_check_hostname": RedisOption(flag, True, "whether the certificate must be for the URL's host"),
}
"""Every key that `redis` and each of `pools` understand."""
