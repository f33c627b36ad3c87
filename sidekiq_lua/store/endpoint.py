"""One Redis server as the settings name it, and the redis-py connections to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.connection import parse_url as _parse_url
from redis.retry import Retry

from ..errors import ConfigurationError
from ..urls import mask

# redis-py does not annotate it.
parse_url: Callable[[str], dict[str, Any]] = _parse_url
_RENAMED = {"connect_timeout": "socket_connect_timeout"}
_OURS = {"url", "pool_size", "pool_timeout", "prefix"}
_IGNORED = {
    # Job payloads are bytes whatever the URL says: decoding after a move loses jobs to sight.
    *("decode_responses", "encoding", "encoding_errors", "protocol", "legacy_responses"),
    # No command is sent twice, and the pool is ours.
    *("retry_on_timeout", "retry_on_error", "max_connections", "timeout"),
}


def _check_database(url: str) -> None:
    """Raises ConfigurationError for a name: redis-py takes it for 0, which may be another application's."""
    parts = urlsplit(url)
    path = parts.path.strip("/ ")
    if parts.scheme != "unix" and path and not path.isdecimal():
        raise ConfigurationError(
            f"redis url {mask(url)!r} must end in host:port or host:port/N, N the database's number"
        )


class Endpoint:
    """Where a Redis server is and how to log in.

    `options` are the keys of the setting `redis`: `url`, `username`, `password`, `db`, `socket_timeout`
    and `connect_timeout` (seconds), `ssl_*`, `client_name`. Raises ConfigurationError for a URL that
    names no server.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        options = {k: v for k, v in (options or {}).items() if k not in _OURS and v is not None}
        self.url = url
        try:
            parsed: dict[str, Any] = parse_url(url)
        except ValueError:
            # What Python says of a bad port may be a piece of the password.
            raise ConfigurationError(
                f"redis url {mask(url)!r} cannot be read: write it as redis://user:password@host:port/db, "
                "with special characters of the password as %40 (@), %2F (/), %3A (:), %23 (#)"
            ) from None
        _check_database(url)
        self._class: type[Any] = parsed.pop("connection_class", redis.Connection)
        self._kwargs: dict[str, Any] = {
            "socket_timeout": 3.0,
            "socket_connect_timeout": 3.0,
            **{name: value for name, value in parsed.items() if name not in _IGNORED},
            **{_RENAMED.get(name, name): value for name, value in options.items()},
        }
        tls = issubclass(self._class, SSLConnection)
        if not tls and any(name.startswith("ssl_") for name in self._kwargs):
            raise ConfigurationError(f"redis: ssl settings need a rediss:// url, not {mask(url)!r}")
        try:
            self.connect()
        except (TypeError, ValueError, redis.RedisError) as error:
            raise ConfigurationError(f"redis url {mask(url)!r} or its options: {error}") from None

    def connect(self, *, blocking_s: float = 0, at_most_s: float | None = None, protocol: int = 2) -> Any:
        """A connection of our own, not yet connected.

        redis-py must never send a command twice by itself: a fetch or a push would be done twice.
        `blocking_s` is added to the read time-out for commands that wait on the server; `at_most_s` bounds
        the time-outs that the settings give.
        """
        kwargs = {**self._kwargs, "protocol": protocol, "retry": Retry(NoBackoff(), 0)}
        kwargs["socket_timeout"] += blocking_s
        if at_most_s is not None:
            for name in ("socket_timeout", "socket_connect_timeout"):
                kwargs[name] = min(kwargs[name], at_most_s)
        return self._class(decode_responses=False, **kwargs)

    def connect_async(self) -> Any:
        """The same for asyncio."""
        from redis.asyncio.connection import Connection
        from redis.asyncio.connection import SSLConnection as AsyncSSL
        from redis.asyncio.connection import UnixDomainSocketConnection as AsyncUnix
        from redis.asyncio.retry import Retry as AsyncRetry

        kind: type[Any] = Connection
        if issubclass(self._class, SSLConnection):
            kind = AsyncSSL
        elif issubclass(self._class, UnixDomainSocketConnection):
            kind = AsyncUnix
        kwargs = {**self._kwargs, "protocol": 2, "retry": AsyncRetry(NoBackoff(), 0)}
        return kind(decode_responses=False, **kwargs)

    @property
    def timeout_s(self) -> float:
        """How long to wait for a reply."""
        return float(self._kwargs["socket_timeout"])

    @property
    def place(self) -> tuple[object, ...]:
        """Which database it is: equal for two endpoints that are written alike."""
        plain = self.plain()
        return tuple(plain[name] for name in ("path", "host", "port", "db"))

    def plain(self) -> dict[str, Any]:
        """Where the server is and how to log in, as plain values: for a process without redis-py."""
        kwargs = self._kwargs
        named = {name: kwargs.get(name) for name in ("path", "username", "password")}
        tls = {
            name.removeprefix("ssl_"): str(value) if isinstance(value, Path) else value
            for name, value in kwargs.items()
            if name.startswith("ssl_")
        }
        return {
            **named,
            "host": kwargs.get("host", "localhost"),
            "port": kwargs.get("port", 6379),
            "db": kwargs.get("db", 0),
            "tls": tls if issubclass(self._class, SSLConnection) else None,
        }

    def __str__(self) -> str:
        """The URL without its password, for logs and errors."""
        return mask(self.url)
