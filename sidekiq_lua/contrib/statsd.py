"""Counts and times of jobs for StatsD, under the names of Sidekiq Pro. No library is needed::

    from sidekiq_lua.contrib.statsd import CountPushes, MeasureJobs, Statsd

    statsd = Statsd("127.0.0.1", 8125, tags=["env:production"])

    @sidekiq.configure_server
    def measure(config):
        config.server_middleware.use(MeasureJobs, statsd)
        config.client_middleware.use(CountPushes, statsd)

| metric | type | when |
| --- | --- | --- |
| `sidekiq.jobs.count` | counter | a run ended |
| `sidekiq.jobs.success`, `sidekiq.jobs.failure` | counter | it ended well, or raised |
| `sidekiq.jobs.perform` | timing, ms | how long it took, either way |
| `sidekiq.jobs.pushed` | counter | a job went to Redis, or was moved to its queue when due |

With tags (DogStatsD, the default) each has `worker:CLASS` and `queue:NAME`; without, the class stands in the
name, `sidekiq.jobs.CLASS.count`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..clock import monotonic
from ..errors import ConfigurationError, Interrupted

_IN_TAGS = str.maketrans(dict.fromkeys("|,#\n\r\0", "_"))
_IN_NAMES = str.maketrans(dict.fromkeys("|@:#\n\r\0 ", "_"))


class Statsd:
    """Sends datagrams, each without waiting; threads and forks may share it.

    What cannot be sent is dropped and counted in `dropped`: a job never fails or waits for its figures. The
    host's name is looked up once, here. Raises ConfigurationError if that fails.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8125,
        *,
        prefix: str = "sidekiq.",
        tags: Iterable[str] | None = (),
    ) -> None:
        """`tags` are added to every metric; None: the server knows no tags."""
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise ConfigurationError(f"no StatsD at {host}:{port}: {error}") from error
        self._address: Any = address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._prefix = prefix
        self._tags = None if tags is None else [tag.translate(_IN_TAGS) for tag in tags]
        self.dropped = 0

    def send(self, values: Mapping[str, str], job_class: str, queue: str) -> None:
        """Send metrics of one job in one datagram: `{"count": "1|c", "perform": "12.5|ms"}`."""
        if self._tags is None:
            start, end = f"{self._prefix}jobs.{job_class.translate(_IN_NAMES)}.", ""
        else:
            own = (f"worker:{job_class.translate(_IN_TAGS)}", f"queue:{queue.translate(_IN_TAGS)}")
            start, end = f"{self._prefix}jobs.", "|#" + ",".join((*self._tags, *own))
        text = "\n".join(f"{start}{name}:{value}{end}" for name, value in values.items())
        try:
            self._socket.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError:
            self.dropped += 1

    def close(self) -> None:
        """Close the socket; what is sent after that is dropped."""
        self._socket.close()


class MeasureJobs:
    """Server middleware: counts and times of every run."""

    def __init__(self, statsd: Statsd) -> None:
        self._statsd = statsd

    def call(self, job: Any, payload: Mapping[str, Any], queue: str, next: Callable[[], Any]) -> Any:
        began = monotonic()
        outcome = "failure"
        try:
            result = next()
            outcome = "success"
            return result
        except Interrupted:
            outcome = "success"  # an iterable job made room, and goes on later
            raise
        finally:
            took = f"{(monotonic() - began) * 1000:.3f}|ms"
            values = {"count": "1|c", outcome: "1|c", "perform": took}
            self._statsd.send(values, _name(payload), queue)


class CountPushes:
    """Client middleware: counts every job that goes on to Redis."""

    def __init__(self, statsd: Statsd) -> None:
        self._statsd = statsd

    def call(
        self, job_class: Any, payload: Mapping[str, Any], queue: str, redis: Any, next: Callable[[], Any]
    ) -> Any:
        result = next()
        if result:
            self._statsd.send({"pushed": "1|c"}, _name(payload), queue)
        return result


def _name(payload: Mapping[str, Any]) -> str:
    return str(payload.get("wrapped") or payload["class"])
