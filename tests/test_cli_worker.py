"""What a worker is told, and what it imports."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import gc
import json
import os
import re
import socket
import urllib.request
from typing import Any

import pytest
from commandline import JOBS, CommandLine, Running, cli, heartbeat, make_cli, push

# -- what it is told --------------------------------------------------------------------


def test_the_banner(cli: CommandLine, redis: Any) -> None:
    cli.write("jobs.py", f"{JOBS}\n    import os\n    print('environment', os.environ['SIDEKIQ_ENV'])")
    running = cli.start(
        "worker", "-r", "jobs", "-q", "high,2", "-q", "low,1", "-c", "3", "-g", "banner", "-e", "test"
    )
    lines = running.output
    (identity,) = redis.smembers("processes")
    for text in (
        f"pid {running.process.pid}",
        "environment test\n",
        f"Redis: {cli.env['REDIS_URL']}, from REDIS_URL",
        f"Booted {identity.decode()} in test; concurrency: 3, queues: high,2 low,1 (weighted)",
    ):
        assert text in lines
    info = json.loads(heartbeat(redis)["info"])
    assert (info["tag"], info["concurrency"], info["weights"]) == ("banner", 3, [{"high": 2, "low": 1}])


FILES = {
    "sidekiq.yml": """
        :concurrency: 2
        :queues: [[critical, 3], low]
        production:
          :concurrency: 4
    """,
    "config/sidekiq.yaml": "concurrency: 2\nqueues: ['critical,3', low]\nproduction:\n  concurrency: 4",
    "sidekiq.json": """
        {"concurrency": 2, "queues": ["critical,3", "low"], "production": {"concurrency": 4}}
    """,
    "config/sidekiq.toml": """
        concurrency = 2
        queues = ["critical,3", "low"]
        [production]
        concurrency = 4
    """,
}


@pytest.mark.parametrize("name", FILES)
def test_settings_from_a_file(cli: CommandLine, name: str) -> None:
    cli.write("jobs.py", JOBS)
    cli.write(name, FILES[name])
    running = cli.start("worker", "-r", "jobs", SIDEKIQ_ENV="production")
    assert "in production; concurrency: 4, queues: critical,3 low (weighted)" in running.output


def test_a_file_that_names_its_environment(cli: CommandLine) -> None:
    cli.write("jobs.py", JOBS)
    cli.write(
        "sidekiq.yml", "environment: test\nconcurrency: 2\ntest:\n  concurrency: 3\nstaging: {timeout: 1}"
    )
    assert "in test; concurrency: 3," in cli.start("worker", "-r", "jobs").output
    assert "in staging; concurrency: 2," in cli.start("worker", "-r", "jobs", "-e", "staging").output


def booted(running: Running) -> str:
    (line,) = re.findall(r"Booted \S+ (.*)", running.output)
    return str(line)


def test_who_has_the_last_word(cli: CommandLine) -> None:
    """Code defaults < file < command line < configure blocks; RAILS_MAX_THREADS where nobody else speaks."""
    cli.write("named.yml", "concurrency: 2\nqueues: [from_file]\ntimeout: 9\nrequire: absent")
    cli.write(
        "jobs.py",
        f"""{JOBS}
    from sidekiq_lua import Sidekiq

    app = Sidekiq(concurrency=7, queues=["in_code"], labels=["label"])

    class Own(app.Job):
        def perform(self): ...

    @sidekiq.configure_server
    @app.configure_server
    def configure(config):
        config.labels = [str(config.concurrency), *config.queues, str(config.timeout), *config.labels]
        config.concurrency += 1
        print("labels", *config.labels)

    @sidekiq.configure_client
    @app.configure_client
    def never(config):
        raise AssertionError("this process is a server")
    """,
    )
    running = cli.start("worker", "-C", "named.yml", "-r", "jobs", "-q", "given", RAILS_MAX_THREADS="4")
    assert "labels 2 given 9" in running.output
    assert booted(running) == "in development; concurrency: 3, queues: given (strict), job classes: 2"
    other = cli.start("worker", "--app", "jobs:app", "-r", "jobs", "-t", "3")
    assert "labels 7 in_code 3.0 label" in other.output
    assert booted(other) == "in development; concurrency: 8, queues: in_code (strict), job classes: 1"
    plain = cli.start("worker", "-r", "jobs", RAILS_MAX_THREADS="4")
    assert "labels 4 default 25" in plain.output


@pytest.mark.parametrize(
    ("own", "args", "env"),
    [
        ("config.logger = SidekiqLogger(level='info')", ["-v"], {}),
        ("", [], {"DEBUG_INVOCATION": "1"}),
    ],
)
def test_the_debug_level(cli: CommandLine, own: str, args: list[str], env: dict[str, str]) -> None:
    cli.write(
        "jobs.py",
        f"""{JOBS}
    from sidekiq_lua import SidekiqLogger

    @sidekiq.configure_server
    def configure(config):
        {own}
        config.on("startup", lambda: sidekiq.logger.debug("fine"))
    """,
    )
    assert "fine" in cli.start("worker", "-r", "jobs", *args, **env).output
    assert "fine" not in cli.start("worker", "-r", "jobs").output


@pytest.mark.parametrize(
    ("own", "concurrency", "wanted"),
    [("pass", 1000, 10_000), ("pass", 5, gc.get_threshold()[0]), ("gc.set_threshold(900)", 1000, 900)],
)
def test_the_garbage_collector_looks_less_often_where_many_jobs_run_at_once(
    cli: CommandLine, own: str, concurrency: int, wanted: int
) -> None:
    """Unless the application has told it something of its own."""
    cli.write(
        "jobs.py",
        f"""{JOBS}
    import gc

    {own}

    @sidekiq.configure_server
    def configure(config):
        config.on("startup", lambda: print("threshold", gc.get_threshold()[0], flush=True))
    """,
    )
    assert f"threshold {wanted}\n" in cli.start("worker", "-r", "jobs", "-c", str(concurrency)).output


# -- what it imports --------------------------------------------------------------------


def job_class(name: str) -> str:
    """A module with a job class that prints the module's name."""
    perform = "def perform(self): print(__name__, flush=True)"
    return f"from sidekiq_lua import Job\nclass {name}(Job):\n    {perform}\n"


TREE = {
    "app/__init__.py": "",
    "app/jobs/__init__.py": "",
    "app/jobs/first.py": job_class("First"),
    "app/jobs/second.py": "from app.jobs.first import First\nclass Second(First): ...",
    "app/jobs/_private.py": "raise AssertionError('not a module of jobs')",
    "my-jobs.py": job_class("Dash"),
    "src/lib/__init__.py": "",
    "src/lib/work.py": f"import lib\n{job_class('Work')}",
    "src/json.py": job_class("Json"),
}


@pytest.mark.parametrize(
    ("named", "job", "module", "classes"),
    [
        ("app.jobs.first", "First", "app.jobs.first", 1),
        ("app/jobs/first.py", "First", "app.jobs.first", 1),
        ("./app/jobs/../jobs/first.py", "First", "app.jobs.first", 1),
        ("app/jobs", "Second", "app.jobs.first", 2),
        ("app/jobs/", "First", "app.jobs.first", 2),
        ("app.jobs.second", "Second", "app.jobs.first", 2),
        ("my-jobs.py", "Dash", "required_my-jobs", 1),
    ],
)
def test_what_r_names(
    cli: CommandLine,
    redis: Any,
    named: str,
    job: str,
    module: str,
    classes: int,
) -> None:
    for name, text in TREE.items():
        cli.write(name, text)
    running = cli.start("worker", "-r", named)
    assert f"job classes: {classes}" in running.output
    push(redis, job)
    running.wait_for(f"\n{module}\n")


def test_r_names_a_file_outside_the_path(cli: CommandLine, redis: Any) -> None:
    for name, text in TREE.items():
        cli.write(name, text)
    cli.directory = cli.directory / "app"
    running = cli.start("worker", "-r", "../src/lib/work.py", "-r", "../src/json.py")
    assert "job classes: 2" in running.output
    push(redis, "Work")
    running.wait_for("\nlib.work\n")
    push(redis, "Json")
    running.wait_for("\nrequired_json\n")


def test_r_names_a_file_as_the_nearest_directory_of_the_path_does(cli: CommandLine, redis: Any) -> None:
    for name, text in TREE.items():
        cli.write(name, text)
    (cli.directory / "src/json.py").unlink()
    path = os.pathsep.join([cli.env["PYTHONPATH"], str(cli.directory / "src")])
    running = cli.start("worker", "-r", "src/lib/work.py", PYTHONPATH=path)
    push(redis, "Work")
    running.wait_for("\nlib.work\n")


def test_modules_without_a_job_class_are_warned_of(cli: CommandLine) -> None:
    cli.write("empty.py", "")
    assert (
        "empty: no job class of this instance is defined there" in cli.start("worker", "-r", "empty").output
    )


def test_an_instance_by_name_runs_its_own_jobs(cli: CommandLine, redis: Any) -> None:
    cli.write(
        "own.py",
        """
        from sidekiq_lua import Sidekiq

        class Wrapper:
            app = Sidekiq()

        class Own(Wrapper.app.Job):
            def perform(self): print("own", flush=True)
    """,
    )
    running = cli.start("worker", "--app", "own:Wrapper.app")
    push(redis, "Own")
    running.wait_for("\nown\n")


# -- probes -----------------------------------------------------------------------------


def test_health_endpoints(cli: CommandLine, redis: Any) -> None:
    cli.write("jobs.py", JOBS)
    running = cli.start("worker", "-r", "jobs", "--health", "0")
    found = re.search(r"Health: (http://127\.0\.0\.1:\d+)/livez /readyz\n", running.output)
    assert found, running.output
    with urllib.request.urlopen(f"{found[1]}/readyz", timeout=10) as reply:
        assert json.load(reply)["status"] == "ready"


def test_a_port_that_is_taken_is_one_line(cli: CommandLine, redis: Any) -> None:
    cli.write("jobs.py", JOBS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli.run("worker", "-r", "jobs", "--health", str(port))
    assert done.returncode != 0
    assert re.fullmatch(
        rf"sidekiq-lua worker: health: nothing can listen on 127\.0\.0\.1:{port}: .* another address\n",
        done.stderr,
    )
    assert redis.smembers("processes") == set()


def test_an_address_that_is_none(cli: CommandLine) -> None:
    cli.write("jobs.py", JOBS)
    done = cli.run("worker", "-r", "jobs", "--health", "localhost")
    assert done.returncode != 0
    assert "health must be HOST:PORT or a port" in done.stderr
    assert done.stderr.count("\n") == 1
