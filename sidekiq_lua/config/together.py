"""What settings must be so together, each of which may be right alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .settings import Config


def check_together(values: Mapping[str, Any]) -> None:
    """Raises ConfigurationError."""
    interval, ttl = values["heartbeat_interval"], values["heartbeat_ttl"]
    if ttl <= 2 * interval:
        raise ConfigurationError(
            f"heartbeat_ttl ({ttl} s) must be more than twice heartbeat_interval ({interval} s): "
            "raise heartbeat_ttl first, or set both at once with update()"
        )
    if values["push_buffer"] and not values["reliable_push"]:
        raise ConfigurationError(
            "push_buffer needs reliable_push: else a job whose reply is lost while the buffer is emptied "
            "would be lost or doubled; set reliable_push first, or set both at once with update()"
        )


def check_capsules(config: Config) -> None:
    """Raises ConfigurationError for a capsule without queues, or on a server that nobody has named."""
    for name, capsule in config.capsules.items():
        if not capsule.queues:
            raise ConfigurationError(
                f"capsule {name!r} has no queues, so it would run nothing: name some, as in "
                f'config.capsule({name!r}, queues=["low"])'
            )
        if capsule.pool and capsule.pool not in config.pools and "://" not in capsule.pool:
            known = ", ".join(sorted(config.pools)) or "none"
            raise ConfigurationError(
                f"capsule {name!r}: no Redis pool is called {capsule.pool!r} "
                f"(the setting `pools` has: {known})"
            )
