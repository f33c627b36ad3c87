"""A worker in this process, with short intervals, on the shared server: fixtures to import."""

import io

import pytest

from sidekiq_lua import Formatters, Sidekiq, SidekiqLogger


@pytest.fixture
def log():
    return io.StringIO()


@pytest.fixture
def make_app(url, log):
    """Instances on the shared server; `make_app(concurrency=2)`. Their connections are closed at the end."""
    made = []

    def make(**settings):
        defaults = {
            "redis": url,
            "heartbeat_interval": 0.2,
            "heartbeat_ttl": 2,
            "recovery_interval": 0.1,
            "poll_interval_average": 0.05,
            "timeout": 5,
            "logger": SidekiqLogger(log, Formatters.Plain()),
        }
        app = Sidekiq(**{**defaults, **settings})
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app):
    return make_app()


@pytest.fixture
def run():
    """Start an instance's worker; it is stopped at the end."""
    runners = []

    def start(app):
        runner = app.run()
        runners.append(runner)
        return runner

    yield start
    for runner in runners:
        runner.stop()
