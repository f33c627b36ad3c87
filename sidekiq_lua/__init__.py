"""Background jobs on Redis that speak Ruby Sidekiq's language.

Names are loaded when they are first used, so that a command line or a submodule pays only for its own
imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .config import Config
    from .context import Context
    from .instance import AsyncClient, Client, Deploy, Job, MetricsQuery, ProfileSet, Sidekiq, Stats, sidekiq
    from .job import JobOptions
    from .log import Formatters, SidekiqLogger
    from .middleware import Chain
    from .testing import Queues, Testing
    from .worker.runner import Runner

__all__ = [  # noqa: RUF022 -- grouped by what they are for
    # the instance and its settings
    "Sidekiq",
    "sidekiq",
    "Config",
    # making jobs
    "Job",
    "JobOptions",
    "Client",
    "AsyncClient",
    "Chain",
    # running jobs
    "Runner",
    # looking
    "Stats",
    "MetricsQuery",
    "Deploy",
    "ProfileSet",
    # testing
    "Testing",
    "Queues",
    # logging
    "Context",
    "Formatters",
    "SidekiqLogger",
    "__version__",
]

_HOME = {
    "Sidekiq": "instance",
    "sidekiq": "instance",
    "Job": "instance",
    "Config": "config",
    "JobOptions": "job",
    "Client": "instance",
    "AsyncClient": "instance",
    "Chain": "middleware",
    "Runner": "worker.runner",
    "Stats": "instance",
    "MetricsQuery": "instance",
    "Deploy": "instance",
    "ProfileSet": "instance",
    "Testing": "testing",
    "Queues": "testing",
    "Context": "context",
    "Formatters": "log",
    "SidekiqLogger": "log",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
