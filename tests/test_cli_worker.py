"""The worker as a process: what it is told, what it imports, and how signals end it."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

import pytest
from commandline import JOBS, CommandLine, Running, cli, make_cli, notes
from waiting import wait_until

QUICK = "heartbeat_interval: 0.1\npoll_interval_average: 0.1\n"


def push(redis: Any, name: str, *args: Any, queue: str = "default") -> None:
    """A job as any client would push it."""
    job = {"class": name, "args": args, "queue": queue, "jid": os.urandom(12).hex(), "retry": True}
    redis.sadd("queues", queue)
    redis.lpush(f"queue:{queue}", json.dumps({**job, "created_at": 1, "enqueued_at": 1}))


def heartbeat(redis: Any) -> dict[str, str]:
    (identity,) = redis.smembers("processes")
    return {name.decode(): value.decode() for name, value in redis.hgetall(identity).items()}


@pytest.fixture
def busy(cli: CommandLine, redis: Any) -> Running:
    """A worker that runs a job, which waits for something in the list `gate`."""
    cli.write("jobs.py", JOBS)
    cli.write("sidekiq.yml", QUICK)
    running = cli.start("worker", "-r", "jobs", "-c", "2")
    push(redis, "Gate", 60)
    wait_until(lambda: notes(redis) == ["inside"])
    return running


# -- signals ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_a_signal_lets_the_running_job_finish(busy: Running, redis: Any, name: str) -> None:
    busy.signal(name)
    busy.wait_for("Pausing to allow jobs to finish")
    redis.rpush("gate", "open")
    assert busy.end() == 0
    assert notes(redis) == ["inside", "through"]
    assert redis.get("stat:processed") == b"1"
    assert redis.smembers("processes") == set()
    assert busy.output.rstrip().endswith("Bye!")


@pytest.mark.parametrize(("first", "second"), [("INT", "INT"), ("TERM", "INT"), ("INT", "TERM")])
def test_a_second_signal_forces_the_exit(busy: Running, redis: Any, first: str, second: str) -> None:
    busy.signal(first)
    busy.wait_for("Pausing to allow jobs to finish")

    def ended() -> bool:
        busy.signal(second)
        return busy.process.poll() is not None

    wait_until(ended)
    assert busy.end() == 1
    assert f"Got {second} while stopping: forced exit, 1 running" in busy.output
    assert notes(redis) == ["inside"]
    (kept,) = redis.keys("lua:running:*")
    assert redis.llen(kept) == 1


def test_one_signal_that_arrives_twice_is_one(cli: CommandLine, redis: Any, busy: Running) -> None:
    for _ in range(20):
        busy.signal("INT")
    busy.wait_for("Pausing to allow jobs to finish")
    redis.rpush("gate", "open")
    assert busy.end() == 0
    assert notes(redis) == ["inside", "through"]


def test_jobs_that_outlast_the_time_out_go_back(cli: CommandLine, redis: Any) -> None:
    cli.write("jobs.py", JOBS)
    running = cli.start("worker", "-r", "jobs", "-t", "0.2")
    push(redis, "Gate", 2)
    wait_until(lambda: notes(redis) == ["inside"])
    running.signal("TERM")
    assert running.end() == 0
    assert redis.llen("queue:default") == 1


def test_tstp_stops_fetching_and_shows_in_redis(busy: Running, redis: Any) -> None:
    assert heartbeat(redis)["quiet"] == "false"
    busy.signal("TSTP")
    wait_until(lambda: heartbeat(redis)["quiet"] == "true")
    push(redis, "Note", "too late")
    redis.rpush("gate", "open")
    wait_until(lambda: heartbeat(redis)["busy"] == "0" and notes(redis) == ["inside", "through"])
    assert redis.llen("queue:default") == 1
    busy.signal("TERM")
    assert busy.end() == 0
    assert redis.llen("queue:default") == 1


def test_nobody_reads_the_log(cli: CommandLine, redis: Any) -> None:
    cli.write("jobs.py", JOBS)
    reader, writer = os.pipe()
    os.close(reader)
    running = cli.start("worker", "-r", "jobs", ready="the log cannot be written", stdout=writer)
    os.close(writer)
    push(redis, "Note", "done")
    wait_until(lambda: notes(redis) == ["done"])
    running.signal("TERM")
    assert running.end() == 0
    assert running.output.count("\n") == 1, running.output


def test_ttin_logs_every_thread(busy: Running) -> None:
    busy.signal("TTIN")
    busy.wait_for("sidekiq.heartbeat")
    busy.wait_for("in perform")
    assert busy.process.poll() is None


@pytest.mark.parametrize(("sent", "code"), [("TERM", 0), ("TSTP", None)])
def test_a_signal_through_redis(busy: Running, redis: Any, sent: str, code: int | None) -> None:
    (identity,) = redis.smembers("processes")
    redis.lpush(f"{identity.decode()}-signals", sent)
    busy.wait_for(f"Got {sent} through Redis")
    redis.rpush("gate", "open")
    if code is None:
        wait_until(lambda: heartbeat(redis)["quiet"] == "true")
        busy.signal("TERM")
    assert busy.end() == 0
    assert notes(redis) == ["inside", "through"]


def test_a_child_of_a_job_keeps_its_signals_to_itself(cli: CommandLine, redis: Any) -> None:
    cli.write(
        "jobs.py",
        f"""{JOBS}
    import os, signal

    class Fork(Job):
        def perform(self):
            child = os.fork()
            if not child:
                signal.pause()
                os._exit(7)
            os.kill(child, signal.SIGTERM)
            note(str(os.waitpid(child, 0)[1]))
    """,
    )
    running = cli.start("worker", "-r", "jobs", PYTHONWARNINGS="ignore")
    push(redis, "Fork")
    push(redis, "Note", "still here")
    wait_until(lambda: len(notes(redis)) == 2)
    assert set(notes(redis)) == {str(int(signal.SIGTERM)), "still here"}
    assert "Got TERM" not in running.output
    running.signal("TERM")
    assert running.end() == 0


def test_a_thread_that_a_job_left_behind_does_not_keep_the_process(cli: CommandLine, redis: Any) -> None:
    cli.write(
        "jobs.py",
        f"""{JOBS}
    import threading

    class Leave(Job):
        def perform(self):
            threading.Thread(target=threading.Event().wait, name="left-over", daemon=False).start()
    """,
    )
    running = cli.start("worker", "-r", "jobs")
    push(redis, "Leave")
    wait_until(lambda: redis.llen("queue:default") == 0)
    running.wait_for(": done")
    running.signal("TERM")
    assert running.end() == 0
    assert "cut off: left-over" in running.output


# -- what it is told --------------------------------------------------------------------


def test_the_banner(cli: CommandLine, redis: Any) -> None:
    cli.write("jobs.py", JOBS)
    running = cli.start(
        "worker", "-r", "jobs", "-q", "high,2", "-q", "low,1", "-c", "3", "-g", "banner", "-e", "test"
    )
    lines = running.output
    (identity,) = redis.smembers("processes")
    for text in (
        f"pid {running.process.pid}",
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


def test_verbose_is_the_debug_level(cli: CommandLine) -> None:
    cli.write(
        "jobs.py", f"{JOBS}\n    @sidekiq.configure_server\n    def f(config): sidekiq.logger.debug('fine')"
    )
    assert "fine" in cli.start("worker", "-r", "jobs", "-v").output
    assert "fine" not in cli.start("worker", "-r", "jobs").output


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
