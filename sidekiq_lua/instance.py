"""The public face of an instance, and the default one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from .api import classes, deploy, history, iteration, metrics, processes, profiles, queue, sets, stats, work
from .app import App, Block
from .async_client import BaseAsyncClient
from .client import BaseClient
from .config import Config
from .config.check import called_with
from .errors import FrozenConfig
from .iterable import IterableJobBase
from .job import JobBase, P
from .worker.embedded import Embedded
from .worker.runner import Runner


class Sidekiq(App):
    """One Sidekiq: settings, job classes, client and worker.

    `Sidekiq(redis="redis://…", concurrency=10)` takes the keys of docs/configuration.md. Two instances in
    one process share nothing.
    """

    def run(self, config: Config | None = None) -> Runner:
        """Start a worker in this process and answer it; the settings are frozen from here on.

        `config` replaces the instance's settings. Raises ConfigurationError, UnsupportedServer,
        RedisUnavailable, RedisRefused or NewerSchema.
        """
        self.is_server = True
        if config is not None:
            self.replace_config(config)
        self.config.freeze()
        runner = Runner(self)
        runner.start()
        return runner

    def configure_embed(self, block: Block | None = None) -> Embedded:
        """A worker for this process, which keeps its other work. As a decorator: `block(config)` runs now.

        Blocks of configure_client and configure_server run first. `concurrency` is 2 where nobody has set it,
        for the jobs share this process's GIL. Raises ConfigurationError, also once the settings are frozen.
        """
        if self._config.frozen:
            raise FrozenConfig("configure_embed: a worker of this instance has started, so it comes too late")
        self.embed()
        config = self.config
        if not config.concurrency_given:
            config.concurrency = 2
        if block is not None:
            called_with("config")("configure_embed", block)(config)
        return Embedded(self)


sidekiq = Sidekiq()
"""The default instance: what `class HardJob(Job)` and `Client.push` use."""


class Client(BaseClient):
    """The client of the default instance: `Client.push(…)`, or `Client()` for one of your own."""

    def __init__(self, app: App | None = None, pool: str | None = None) -> None:
        super().__init__(app or sidekiq, pool)

    @classmethod
    def default(cls) -> BaseClient:
        return sidekiq.client


class AsyncClient(BaseAsyncClient):
    """The asyncio client of the default instance, or of another: `AsyncClient(app)`."""

    def __init__(self, app: App | None = None, pool: str | None = None) -> None:
        super().__init__(app or sidekiq, pool)


Sidekiq.client_class = Client
Sidekiq.async_client_class = AsyncClient


def _here(app: App | None) -> App:
    """The server that an object of the Data API belongs to, from when it is made."""
    return (app or sidekiq).here()


class Stats(stats.Stats):
    """Totals of the default instance, or of another: `Stats(app)`."""

    def __init__(self, app: App | None = None) -> None:
        super().__init__(_here(app))


class MetricsQuery(metrics.MetricsQuery):
    """What ran, by class, of the default instance's Redis, or of another: `MetricsQuery(app)`."""

    def __init__(self, app: App | None = None, now: float | None = None) -> None:
        super().__init__(_here(app), now)


class Deploy(deploy.Deploys):
    """Marks of deploys of the default instance: `Deploy.mark("v2")`; or of another: `Deploy(app).mark(…)`."""

    def __init__(self, app: App | None = None) -> None:
        super().__init__(_here(app))

    @classmethod
    def default(cls) -> Deploy:
        return cls()


class ProfileSet(profiles.ProfileSet):
    """The kept profiles of the default instance, or of another: `ProfileSet(app)`."""

    def __init__(self, app: App | None = None) -> None:
        super().__init__(_here(app))


class StatsHistory(history.StatsHistory):
    __doc__ = history.StatsHistory.__doc__

    def __init__(self, days_previous: int, start_date: date | None = None, app: App | None = None) -> None:
        super().__init__(_here(app), days_previous, start_date)


class Queue(queue.Queue):
    """A queue of the default instance: `Queue("low")`; or of another: `Queue("low", app)`."""

    def __init__(self, name: str = "default", app: App | None = None) -> None:
        super().__init__(_here(app), name)

    @classmethod
    def all(cls, app: App | None = None) -> list[Queue]:
        """Every known queue, by name. Raises RedisError. Keys: `queues`, `queue:NAME`, `paused`."""
        here = _here(app)
        return [cls(found.name, here) for found in queue.Queue._all(here)]


class ScheduledSet(sets.ScheduledSet):
    __doc__ = sets.ScheduledSet.__doc__

    def __init__(self, app: App | None = None) -> None:
        super().__init__(_here(app))


class RetrySet(sets.RetrySet):
    __doc__ = sets.RetrySet.__doc__

    def __init__(self, app: App | None = None) -> None:
        super().__init__(_here(app))


class DeadSet(sets.DeadSet):
    __doc__ = sets.DeadSet.__doc__

    def __init__(self, app: App | None = None) -> None:
        super().__init__(_here(app))


class ProcessSet(processes.ProcessSet):
    __doc__ = processes.ProcessSet.__doc__

    def __init__(self, app: App | None = None, clean: bool = True) -> None:
        super().__init__(_here(app), clean)


class WorkSet(work.WorkSet):
    __doc__ = work.WorkSet.__doc__

    def __init__(self, app: App | None = None) -> None:
        super().__init__(_here(app))


Workers = WorkSet
"""Sidekiq's old name of WorkSet."""


class IterableJobQuery(iteration.IterableJobQuery):
    __doc__ = iteration.IterableJobQuery.__doc__

    def __init__(self, jids: str | Iterable[str | None] | None, app: App | None = None) -> None:
        super().__init__(_here(app), jids)


class PausedClass(classes.PausedClass):
    __doc__ = classes.PausedClass.__doc__

    def __init__(self, job_class: type[JobBase[...]] | str, app: App | None = None) -> None:
        super().__init__(_here(app), job_class)

    @classmethod
    def all(cls, app: App | None = None) -> list[PausedClass]:
        """The paused classes, and those that go on and still have held jobs, by name. Raises RedisError."""
        here = _here(app)
        return [cls(name, here) for name in classes.PausedClass._names(here)]


class Job(JobBase[P]):
    """Base of the default instance's job classes; see JobBase."""

    abstract = True
    _app = sidekiq


class IterableJob(IterableJobBase[P]):
    """Base of the default instance's iterable job classes; see IterableJobBase."""

    abstract = True
    _app = sidekiq
