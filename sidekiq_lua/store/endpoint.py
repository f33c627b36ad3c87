"""One Redis server as the settings name it, and the redis-py connections to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import SSLConnection, UnixDomainSocketConnection, parse_url
from redis.retry import Retry

from ..errors import ConfigurationError

_RENAMED = {"connect_timeout": "socket_connect_timeout"}
_OURS = {"url", "pool_size", "pool_timeout", "prefix"}


class Endpoint:
    """Where a Redis server is and how to log in.

    `options` are the keys of the setting `redis`: `url`, `username`, `password`, `db`, `socket_timeout`
    and `connect_timeout` (seconds), `ssl_*`, `client_name`. Raises ConfigurationError for a URL that
    names no server.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        options = {k: v for k, v in (options or {}).items() if k not in _OURS and v is not None}
        try:
            parsed = dict(parse_url(url))
        except ValueError as error:
            raise ConfigurationError(f"redis url {mask(url)!r}: {mask(str(error))}") from None
        self.url = url
        self._class: type[Any] = parsed.pop("connection_class", redis.Connection)
        # Job payloads are bytes whatever the URL says: decoding after a move loses jobs to sight.
        for unwanted in ("decode_responses", "encoding", "encoding_errors", "protocol", "retry_on_timeout"):
            parsed.pop(unwanted, None)
        self._kwargs: dict[str, Any] = {
            "socket_timeout": 3.0,
            "socket_connect_timeout": 3.0,
            **parsed,
            **{_RENAMED.get(name, name): value for name, value in options.items()},
        }
        if any(name.startswith("ssl_") for name in self._kwargs) and not issubclass(self._class, SSLConnection):
            raise ConfigurationError(f"redis: ssl settings need a rediss:// url, not {mask(url)!r}")

    def connect(self, *, blocking_s: float = 0, protocol: int = 2) -> redis.Connection:
        """A connection of our own, not yet connected.

        redis-py must never send a command twice by itself: a fetch or a push would be done twice.
        `blocking_s` is added to the read time-out for commands that wait on the server.
        """
        kwargs = {**self._kwargs, "protocol": protocol, "retry": Retry(NoBackoff(), 0)}
        kwargs["socket_timeout"] += blocking_s
        connection: redis.Connection = self._class(decode_responses=False, **kwargs)
        return connection

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

    def __str__(self) -> str:
        """The URL without its password, for logs and errors."""
        return mask(self.url)


def mask(url: str) -> str:
    """A URL with its password replaced by ***; text that is no URL comes back as it is."""
    parts = urlsplit(url)
    netloc = parts.netloc
    if "@" in netloc:
        login, _, host = netloc.rpartition("@")
        user, colon, _ = login.partition(":")
        netloc = f"{user}{colon and ':***'}@{host}" if colon else f"{user}@{host}"
    query = parts.query
    for name in ("password",):
        for value in parse_qs(query).get(name, ()):
            query = query.replace(value, "***")
    return urlunsplit(parts._replace(netloc=netloc, query=query))
