"""Background jobs on Redis that speak Ruby Sidekiq's language.

Names are loaded when they are first used, so that a command line or a submodule pays only for its own
imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .api.bulk import Progress
    from .api.entry import SortedEntry
    from .api.processes import Process
    from .api.queue import QueuedJob
    from .api.record import JobRecord
    from .api.work import Work
    from .config import Capsule, Config
    from .context import Context
    from .instance import (
        AsyncClient,
        Client,
        DeadSet,
        Deploy,
        IterableJob,
        IterableJobQuery,
        Job,
        MetricsQuery,
        PausedClass,
        ProcessSet,
        ProfileSet,
        Queue,
        RetrySet,
        ScheduledSet,
        Sidekiq,
        Stats,
        StatsHistory,
        Workers,
        WorkSet,
        sidekiq,
    )
    from .job import JobOptions
    from .log import Formatters, SidekiqLogger
    from .middleware import Chain
    from .reporting import log_error
    from .testing import Queues, Testing
    from .worker.embedded import Embedded
    from .worker.runner import Runner

__all__ = [  # noqa: RUF022 -- grouped by what they are for
    # the instance and its settings
    "Sidekiq",
    "sidekiq",
    "Config",
    "Capsule",
    # making jobs
    "Job",
    "IterableJob",
    "JobOptions",
    "Client",
    "AsyncClient",
    "Chain",
    # running jobs
    "Runner",
    "Embedded",
    # looking
    "Stats",
    "StatsHistory",
    "Queue",
    "JobRecord",
    "QueuedJob",
    "SortedEntry",
    "ScheduledSet",
    "RetrySet",
    "DeadSet",
    "Progress",
    "PausedClass",
    "ProcessSet",
    "Process",
    "WorkSet",
    "Workers",
    "Work",
    "IterableJobQuery",
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
    "log_error",
    "__version__",
]

_HOME = {
    "Sidekiq": "instance",
    "sidekiq": "instance",
    "Job": "instance",
    "IterableJob": "instance",
    "Config": "config",
    "Capsule": "config",
    "JobOptions": "job",
    "Client": "instance",
    "AsyncClient": "instance",
    "Chain": "middleware",
    "Runner": "worker.runner",
    "Embedded": "worker.embedded",
    "Stats": "instance",
    "StatsHistory": "instance",
    "Queue": "instance",
    "JobRecord": "api.record",
    "QueuedJob": "api.queue",
    "SortedEntry": "api.entry",
    "ScheduledSet": "instance",
    "RetrySet": "instance",
    "DeadSet": "instance",
    "Progress": "api.bulk",
    "PausedClass": "instance",
    "ProcessSet": "instance",
    "Process": "api.processes",
    "WorkSet": "instance",
    "Workers": "instance",
    "Work": "api.work",
    "IterableJobQuery": "instance",
    "MetricsQuery": "instance",
    "Deploy": "instance",
    "ProfileSet": "instance",
    "Testing": "testing",
    "Queues": "testing",
    "Context": "context",
    "Formatters": "log",
    "SidekiqLogger": "log",
    "log_error": "reporting",
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
