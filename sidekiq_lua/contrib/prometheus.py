"""Figures for Prometheus; the extra `prometheus`.

`render(app)` is one page of them, `serve(app, "127.0.0.1:9394")` a small server of it. A registry of your own
takes `SidekiqCollector(app)`. Names begin with `sidekiq_`; times are in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..api.pages import process_infos
from ..api.stats import Stats
from ..errors import ConfigurationError, RedisError
from ..tally import BOUNDS_MS

if TYPE_CHECKING:
    from prometheus_client import Metric

    from ..app import App

try:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ConfigurationError(
        "figures for Prometheus need prometheus-client: pip install 'sidekiq-lua[prometheus]'"
    ) from error


class SidekiqCollector(Collector):
    """The state of one instance's Redis, and what this process has run.

    A scrape reads Redis once per queue page and process page. Where Redis does not answer, `sidekiq_up` is 0
    and only what this process has run is told beside it. Keys: those of `Stats`.
    """

    def __init__(self, app: App, *, redis: bool = True) -> None:
        """`redis=False`: only what this process has run, for many workers beside one reader of Redis."""
        self._app = app
        self._redis = redis

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when the collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric, now. Raises nothing that Redis does."""
        if self._redis:
            yield from self._of_redis()
        yield from self._of_this_process()

    def _of_redis(self) -> Iterator[Metric]:
        try:
            found = list(_stats(self._app))
        except RedisError:
            found = []
        yield GaugeMetricFamily("sidekiq_up", "1 if Redis answered, else 0.", value=int(bool(found)))
        yield from found

    def _of_this_process(self) -> Iterator[Metric]:
        runs = CounterMetricFamily(
            "sidekiq_job_runs", "Runs that ended in this process.", labels=["class", "status"]
        )
        seconds = HistogramMetricFamily(
            "sidekiq_job_seconds", "How long runs that succeeded took in this process.", labels=["class"]
        )
        for name, (elapsed_s, failed, *buckets) in sorted(self._app.totals().items()):
            done = sum(buckets)
            runs.add_metric([name, "success"], done)
            runs.add_metric([name, "failure"], failed)
            ends = [*(str(bound / 1000) for bound in BOUNDS_MS), "+Inf"]
            cumulative = [sum(buckets[: i + 1]) for i in range(len(buckets))]
            seconds.add_metric([name], list(zip(ends, cumulative, strict=True)), elapsed_s)
        yield runs
        yield seconds


def _stats(app: App) -> Iterator[Metric]:
    stats = Stats(app)
    processes, queues = process_infos(app), stats.queue_summaries
    yield CounterMetricFamily("sidekiq_processed", "Runs that ended, well or not.", value=stats.processed)
    yield CounterMetricFamily("sidekiq_failed", "Runs that failed.", value=stats.failed)
    gauges = (
        ("sidekiq_scheduled", "Jobs that are due later.", stats.scheduled_size),
        ("sidekiq_retries", "Jobs that wait for another try.", stats.retry_size),
        ("sidekiq_dead", "Jobs in the dead set.", stats.dead_size),
        ("sidekiq_enqueued", "Jobs in all queues.", sum(queue.size for queue in queues)),
        ("sidekiq_processes", "Worker processes that have a heartbeat.", len(processes)),
        ("sidekiq_busy", "Jobs that run now, by the last heartbeats.", sum(p.busy for p in processes)),
        ("sidekiq_concurrency", "Jobs that could run at once.", sum(p.concurrency or 0 for p in processes)),
    )
    for name, text, value in gauges:
        yield GaugeMetricFamily(name, text, value=value)
    size = GaugeMetricFamily("sidekiq_queue_size", "Jobs in a queue.", labels=["queue"])
    latency = GaugeMetricFamily(
        "sidekiq_queue_latency_seconds", "How long a queue's oldest job has waited.", labels=["queue"]
    )
    paused = GaugeMetricFamily("sidekiq_queue_paused", "1 if a queue is paused.", labels=["queue"])
    for queue in queues:
        size.add_metric([queue.name], queue.size)
        latency.add_metric([queue.name], queue.latency)
        paused.add_metric([queue.name], int(queue.paused))
    yield from (size, latency, paused)


def registry(app: App) -> CollectorRegistry:
    """A registry that has these figures alone."""
    made = CollectorRegistry()
    made.register(SidekiqCollector(app))
    return made


def render(app: App) -> tuple[str, bytes]:
    """(content type, page) in Prometheus's text format. Raises nothing that Redis does."""
    return CONTENT_TYPE_LATEST, generate_latest(registry(app))


def add_to_health(app: App) -> None:
    """Answer `/metrics` where the setting `health` lets a worker answer probes."""
    app.health_routes["/metrics"] = lambda: (200, *render(app))


@contextmanager
def serve(app: App, address: str) -> Iterator[str]:
    """Serve the page at `HOST:PORT` (port 0: any) by a thread of its own; the value is its URL.

    Raises ConfigurationError for an address that cannot be used.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigurationError(f"{address!r} is no address: give HOST:PORT, such as 127.0.0.1:9394")
    host = host.removeprefix("[").removesuffix("]")
    try:
        server, thread = start_http_server(int(port), host, registry(app))
    except OSError as error:
        raise ConfigurationError(f"nothing can be served at {address}: {error.strerror or error}") from error
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
