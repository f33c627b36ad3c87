"""Which server a process talks to, where several could be meant."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import BundledServerError, ConfigurationError, RedisUnavailable
from ..urls import mask
from .resp import Answer, ask
from .server import BundledServer, refuse_in_production

LOCAL = "local:"
"""The URL that means the bundled server, started if need be."""

DEFAULT_PORT = 6379
PROBE_TIMEOUT_S = 0.5
WAIT_FOR_STARTER_S = 30.0


def choose_server(
    explicit: str | None,
    environ: Mapping[str, str],
    environment: str,
    may_start: bool,
    bundled: BundledServer,
    default_port: int = DEFAULT_PORT,
) -> tuple[str, str]:
    """The URL of the server to use, and why, in one line for the log, without a password.

    In this order: `explicit` (from code or a file); the variable that REDIS_PROVIDER names; REDIS_URL; the
    bundled server, if it runs; localhost:6379, if something answers there; the bundled server, started, if
    `may_start` or SIDEKIQ_LUA_LOCAL=1. In production the bundled server is left out. A URL of `local:` means
    the bundled one and starts it.

    Raises ConfigurationError for a REDIS_PROVIDER that cannot be meant, BundledServerError where `local:`
    cannot be had, and RedisUnavailable, with what was tried, where nothing is left.
    """
    named = _named(explicit, environ)
    if named is not None:
        url, source = named
        if url == LOCAL:
            refuse_in_production(environment)
            return bundled.start(), _bundled_reason(bundled, f"{LOCAL} from {source}")
        return url, f"{mask(url)}, from {source}"

    production = environment == "production"
    if not production:
        running = bundled.running(wait_s=WAIT_FOR_STARTER_S)
        if running:
            return running, _bundled_reason(bundled, "already running, no other is named")

    url = f"redis://localhost:{default_port}/0"
    answer = ask(url, PROBE_TIMEOUT_S)
    if answer in (Answer.READY, Answer.LOADING, Answer.REFUSED):
        but = "; it refuses a PING, set REDIS_URL if it wants a password" if answer is Answer.REFUSED else ""
        return url, f"{url}, which answers there, and no other is named{but}"

    tried = f"REDIS_PROVIDER and REDIS_URL are not set, nothing answers on localhost:{default_port}"
    if production:
        raise RedisUnavailable(
            f"no Redis: {tried}, and the bundled server is refused in production; set REDIS_URL"
        )
    tried += ", no bundled server runs"
    if not (may_start or environ.get("SIDEKIQ_LUA_LOCAL") == "1"):
        raise RedisUnavailable(
            f"no Redis: {tried}; set REDIS_URL, or SIDEKIQ_LUA_LOCAL=1 to have a bundled server started"
        )
    try:
        return bundled.start(), _bundled_reason(bundled, "started, no other is named")
    except BundledServerError as error:
        raise RedisUnavailable(f"no Redis: {tried}, and {error}; or set REDIS_URL") from error


def _named(explicit: str | None, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The URL that somebody has named, and where; an empty variable counts as unset."""
    if explicit:
        return explicit, "the configuration"
    provider = environ.get("REDIS_PROVIDER")
    if provider:
        # Somebody who puts the URL itself there has found a common misreading; it may hold a password.
        if ":" in provider:
            raise ConfigurationError(
                "REDIS_PROVIDER names the variable that holds the URL, it is not a URL; use REDIS_URL"
            )
        if not environ.get(provider):
            raise ConfigurationError(f"REDIS_PROVIDER names {provider}, which is not set")
        return environ[provider], provider
    url = environ.get("REDIS_URL")
    return (url, "REDIS_URL") if url else None


def _bundled_reason(bundled: BundledServer, why: str) -> str:
    return (
        f"the bundled server ({why}); data in {bundled.data};"
        f" it stops after {_duration(bundled.idle_timeout_s)} without clients,"
        " or by `sidekiq-lua server stop`"
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} seconds"
