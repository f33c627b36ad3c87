"""One life of a worker process: what begins and ends with it, on one Redis server or on several."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..clock import monotonic
from ..config import Capsule
from ..errors import LoginRefused, RedisError, RedisNotReady, RedisUnavailable
from .branch import Branch
from .events import Events
from .failure import ErrorReporter
from .identity import new_identity, set_title
from .station import Station

if TYPE_CHECKING:
    from ..app import App


class Launcher:
    """Start, quiet, stop. There is a Branch for each Redis server that the capsules name."""

    def __init__(self, app: App, on_signal: Callable[[str], None], *, embedded: bool = False) -> None:
        config = app.config
        self._app = app
        self._log = app.logger
        self.identity = new_identity()
        self._quiet = False
        self.started = False
        self.heartbeat_ttl = config.heartbeat_ttl
        self._stopping = threading.Event()
        self._embedded = embedded
        self.events = Events(config, ErrorReporter(app))
        self.concurrency = config.total_concurrency
        self.branches = [
            Branch(
                shard, capsules, self.identity, self._stopping.is_set, on_signal,
                self._other_event if number else self._event, embedded=embedded,
            )
            for number, (shard, capsules) in enumerate(_by_server(app))
        ]  # fmt: skip

    @property
    def stations(self) -> list[Station]:
        """What takes and runs jobs, one for each capsule."""
        return [station for branch in self.branches for station in branch.stations]

    def start(self) -> None:
        """Check the servers, register, beat once and begin.

        A server that is away, or takes no writes for now, is waited for in the background, if another one is
        there; one that refuses the login is not. Raises UnsupportedServer, RedisUnavailable, RedisRefused,
        NewerSchema, and what a `startup` handler raises.
        """
        late: dict[Branch, RedisError] = {}
        try:
            self._check_middleware()
            for branch in self.branches:
                try:
                    branch.enter()
                except (RedisUnavailable, RedisNotReady) as error:
                    late[branch] = error
                    if len(late) == len(self.branches) or isinstance(error, LoginRefused):
                        raise
            self.events.fire("startup")
            for branch in self.branches:
                if branch not in late:
                    branch.show()
        except BaseException:
            self.cancel()
            raise
        for branch in self.branches:
            if branch in late:
                branch.start_later(late[branch])
            else:
                branch.start()
        self.started = True

    def cancel(self) -> None:
        """Give back what was made for a start that does not come."""
        for branch in self.branches:
            branch.cancel()

    def _check_middleware(self) -> None:
        config = self._app.config
        config.client_middleware.check_sync()
        if any(not job_class.is_async for job_class in self._app.registry):
            for capsule in config.capsules.values():
                capsule.server_middleware.check_sync()

    @property
    def is_quiet(self) -> bool:
        return self._quiet

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def busy(self) -> int:
        """How many jobs run now."""
        return sum(branch.busy for branch in self.branches)

    def quiet(self) -> None:
        """Fetch no more jobs. It cannot be undone."""
        if self._quiet:
            return
        self._quiet = True
        self._log.info("Scheduler exiting...")
        self._each(Branch.quiet)
        self.events.fire("quiet")

    def stop(self) -> None:
        """Let running jobs finish until the setting `timeout` (seconds), then put them back.

        While Redis is away it ends within that time too, or two seconds later if jobs were cut off.
        """
        deadline = monotonic() + float(self._app.config.timeout)
        self._log.info("Shutting down")
        self.quiet()
        self._stopping.set()
        self.events.fire("shutdown")
        if not all(branch.idle for branch in self.branches):
            self._log.info("Pausing to allow jobs to finish...")
        self._each(lambda branch: branch.end(deadline))
        self.events.fire("exit")
        self._log.info("Bye!")

    def _each(self, act: Callable[[Branch], Any]) -> None:
        """Do it with every branch at the same time: one whose server is away shall not delay the others."""
        if len(self.branches) == 1:
            act(self.branches[0])
            return
        with ThreadPoolExecutor(len(self.branches)) as threads:
            for done in [threads.submit(act, branch) for branch in self.branches]:
                done.result()

    # -- links --------------------------------------------------------------------------

    def _event(self, event: str) -> None:
        """Something has happened on the first server."""
        self.events.fire(event)
        if event == "beat" and not self._embedded:
            set_title(self._app.config.tag or "", self.busy, self.concurrency, self._quiet)

    def _other_event(self, event: str) -> None:
        """The same on another: handlers of `beat` are called at the beats of one server."""
        if event != "beat":
            self.events.fire(event)


def _by_server(app: App) -> list[tuple[App, dict[int, Capsule]]]:
    """The instance, or its shard, on each server, and the capsules there by their numbers."""
    found: dict[Any, tuple[App, dict[int, Capsule]]] = {}
    for number, capsule in enumerate(app.config.capsules.values()):
        shard = app.shard(capsule.pool) if capsule.pool else app
        # Two names may stand for one database, which must see this process once.
        found.setdefault(shard.transport().endpoint.place, (shard, {}))[1][number] = capsule
    return list(found.values())
