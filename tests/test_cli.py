"""Help, versions and every bad input of the command line."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import os
import re
import shlex
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from commandline import JOBS, ROOT, CommandLine, cli, make_cli, nowhere
from servers import Server

from sidekiq_lua import __version__


@pytest.fixture
def aged() -> Iterator[Callable[[str], str]]:
    """The URL of a server, behind a relay through which its version reads 6 instead of 7."""
    with ExitStack() as stack:

        def age(url: str) -> str:
            port = urlsplit(url).port

            class Relay(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    with socket.create_connection(("127.0.0.1", port)) as server:
                        while asked := self.request.recv(65_536):
                            server.sendall(asked)
                            answer = server.recv(65_536)
                            self.request.sendall(re.sub(rb"(?<=redis_version:)\d", b"6", answer))

            relay = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay))
            relay.daemon_threads = True
            threading.Thread(target=relay.serve_forever, daemon=True).start()
            stack.callback(relay.shutdown)
            return f"redis://127.0.0.1:{relay.server_address[1]}/0"

        yield age


def fails(done: subprocess.CompletedProcess[str], *named: str, code: int = 1) -> None:
    """The command said in one line on standard error what is wrong, and nothing else."""
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("sidekiq-lua"), done.stderr
    for text in named:
        assert text in done.stderr, done.stderr


# -- help -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["-h"],
        ["worker", "--help"],
        ["monitor", "-h"],
        ["server", "-h"],
        ["jobs", "-h"],
        ["retry", "-h"],
    ],
)
def test_help_loads_neither_redis_nor_asyncio(args: list[str]) -> None:
    look = (
        "import sys; from sidekiq_lua.cli.main import main; code = main(sys.argv[1:]);"
        "print(sorted({m.split('.')[0] for m in sys.modules}), code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", look, *args], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    loaded = done.stdout.splitlines()[-1]
    assert "Usage: sidekiq-lua" in done.stdout
    assert loaded.endswith(" 0")
    assert "'click'" in loaded
    for module in ("redis", "asyncio", "ujson", "yaml", "ssl"):
        assert f"'{module}'" not in loaded


def test_help_names_the_commands(nowhere: CommandLine) -> None:
    done = nowhere.run("--help")
    assert done.returncode == 0
    for command in ("worker", "monitor", "server"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("args", [["--version"], ["-V"], ["worker", "-V"], ["worker", "--version"]])
def test_version(nowhere: CommandLine, args: list[str]) -> None:
    done = nowhere.run(*args)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sidekiq-lua {__version__}\n", "")


def test_python_m_is_the_same_command(nowhere: CommandLine) -> None:
    installed = nowhere.run("--help")
    nowhere.command = [sys.executable, "-m", "sidekiq_lua"]
    assert nowhere.run("--help").stdout == installed.stdout
    assert nowhere.run("wrker").returncode == 2


# -- misuse -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["wrker"], "wrker"),
        (["worker", "--quue", "x"], "--quue"),
        (["worker", "-c", "many"], "many"),
        (["worker", "extra"], "extra"),
        (["worker", "-q"], "-q"),
        (["server", "sing"], "sing"),
    ],
)
def test_misuse_is_one_line_and_exits_with_2(nowhere: CommandLine, args: list[str], named: str) -> None:
    fails(nowhere.run(*args), named, "--help)", code=2)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["-q", "two words"], ["queue", "'two words'"]),
        (["-q", "low,heavy"], ["low", "'heavy'"]),
        (["-c", "0"], ["concurrency"]),
        (["-t", "-1"], ["timeout"]),
        (["-t", "nan"], ["timeout"]),
        (["-C", "absent.yml"], ["absent.yml", "No such file"]),
        (["-r", "absent.module"], ["-r absent.module: there is no module 'absent'"]),
        (["-r", "absent.py"], ["-r absent.py: there is no such file"]),
        (["-r", "folder"], ["-r folder: the directory has no __init__.py"]),
        (["-r", "what is this"], ["-r what is this: no file or directory is there"]),
        (["--app", "jobs"], ["jobs", "module:attribute"]),
        (["--app", "jobs:absent"], ["jobs:absent"]),
        (["--app", "jobs:note"], ["jobs:note", "function"]),
        (["--app", "absent:app"], ["--app absent"]),
        ([], ["no job class", "-r"]),
    ],
)
def test_what_the_worker_refuses(nowhere: CommandLine, args: list[str], named: list[str]) -> None:
    nowhere.write("jobs.py", JOBS)
    (nowhere.directory / "folder").mkdir()
    fails(nowhere.run("worker", *args), *named)


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("sidekiq.yml", "concurrency: [1\nqueues: x", "sidekiq.yml:2"),
        ("sidekiq.json", "{\n\n'a': 1}", "sidekiq.json:3"),
        ("config/sidekiq.toml", "a = 1\nb\nc = 1", "config/sidekiq.toml:2"),
        ("sidekiq.yml", "concurency: 5", "'concurrency'"),
        ("sidekiq.yml", "queues: ['two words']", "sidekiq.yml: a queue"),
    ],
)
def test_a_file_that_cannot_be_used(nowhere: CommandLine, name: str, text: str, named: str) -> None:
    nowhere.write(name, text)
    fails(nowhere.run("worker"), named)


def test_a_variable_that_cannot_be_used(nowhere: CommandLine) -> None:
    fails(nowhere.run("worker", RAILS_MAX_THREADS="many"), "RAILS_MAX_THREADS", "many")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("x = 1\ny = 1 / 0", ["ZeroDivisionError: division by zero", "(jobs.py:2)"]),
        ("import absent_library", ["No module named 'absent_library'", "(jobs.py:1)"]),
        ("x = 1\ndef broken(:\n  pass", ["SyntaxError", "jobs.py:2"]),
        ("import json\n\njson.loads('{')", ["JSONDecodeError", "(jobs.py:3)"]),
        ("from sidekiq_lua import Job\n\nclass Idle(Job):\n    pass", ["Idle has no perform", "(jobs.py:3)"]),
        ("raise SystemExit(0)", ["SystemExit: 0", "(jobs.py:1)"]),
        ("raise ValueError('one\\ntwo\\x1b[31m')", ["one / two\\x1b[31m"]),
    ],
)
def test_a_module_that_raises(nowhere: CommandLine, text: str, named: list[str]) -> None:
    nowhere.write("jobs.py", text)
    fails(nowhere.run("worker", "-r", "jobs"), "-r jobs: ", *named)


def test_verbose_adds_the_traceback(nowhere: CommandLine) -> None:
    nowhere.write("jobs.py", "1 / 0")
    done = nowhere.run("worker", "-r", "jobs", "-v")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "-r jobs: ZeroDivisionError" in done.stderr.splitlines()[-1]


def test_a_configure_block_that_raises(nowhere: CommandLine) -> None:
    nowhere.write(
        "jobs.py",
        f"""{JOBS}
    @sidekiq.configure_server
    def configure(config):
        config.concurency = 3
    """,
    )
    fails(nowhere.run("worker", "-r", "jobs"), "concurency", "(jobs.py:")


# -- servers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "given", "named"),
    [
        ("worker -r jobs", "http://localhost", "http://localhost"),
        ("worker -r jobs", "nonsense", "nonsense"),
        ("worker -r jobs", "redis://127.0.0.1:1/0", "127.0.0.1:1"),
        ("worker -r jobs", "redis://user:secret@127.0.0.1:1/0", "127.0.0.1:1"),
        ("worker -r jobs", "unix:///absent.sock", "absent.sock"),
        ("monitor", "http://localhost", "http://localhost"),
        ("monitor", "redis://user:secret@127.0.0.1:1/0", "127.0.0.1:1"),
    ],
)
def test_no_server(nowhere: CommandLine, command: str, given: str, named: str) -> None:
    nowhere.write("jobs.py", JOBS)
    done = nowhere.run(*command.split(), REDIS_URL=given)
    fails(done, named)
    assert "secret" not in done.stdout + done.stderr


def test_no_server_and_none_named_in_production(make_cli: Callable[..., CommandLine]) -> None:
    cli = make_cli(None)
    cli.write("jobs.py", JOBS)
    cli.write("sidekiq.yml", "redis: 'local:'")
    fails(cli.run("worker", "-r", "jobs", "-e", "production"), "production", "REDIS_URL")


@pytest.mark.parametrize("command", [["worker", "-r", "jobs"], ["monitor"]], ids=lambda command: command[0])
def test_a_wrong_password(
    make_server: Callable[..., Server], make_cli: Callable[..., CommandLine], command: list[str]
) -> None:
    server = make_server(requirepass="right")
    cli = make_cli(server.url.replace("right", "wrongest"))
    cli.write("jobs.py", JOBS)
    done = cli.run(*command)
    fails(done, "refused the login", str(server.port))
    assert "wrongest" not in done.stdout + done.stderr


def test_an_eviction_policy_that_loses_jobs(
    make_server: Callable[..., Server], make_cli: Callable[..., CommandLine]
) -> None:
    cli = make_cli(make_server(maxmemory_policy="allkeys-lru").url)
    cli.write("jobs.py", JOBS)
    fails(cli.run("worker", "-r", "jobs", "-e", "production"), "allkeys-lru", "noeviction")
    running = cli.start("worker", "-r", "jobs")
    assert "allkeys-lru" in running.output


def test_a_database_of_a_newer_version(cli: CommandLine, redis: Any) -> None:
    redis.hset("lua:scripts", "schema", 99)
    cli.write("jobs.py", JOBS)
    fails(cli.run("worker", "-r", "jobs"), "schema 99", "upgrade")


def test_a_server_that_is_too_old(cli: CommandLine, url: str, aged: Callable[[str], str]) -> None:
    cli.write("jobs.py", JOBS)
    fails(cli.run("worker", "-r", "jobs", REDIS_URL=aged(url)), "6.", "too old", "7.0")


# -- output -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["--help"], ["monitor"]], ids=lambda command: command[0])
def test_nobody_reads_the_output(cli: CommandLine, command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*cli.command, *command], cwd=cli.directory, env=cli.env,
        stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_disk_is_full(cli: CommandLine) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*cli.command, "monitor"], cwd=cli.directory, env=cli.env,
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=30,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_there_is_no_standard_output(cli: CommandLine) -> None:
    done = subprocess.run(
        f"{shlex.join(cli.command)} monitor >&-", shell=True, cwd=cli.directory, env=cli.env,
        stderr=subprocess.PIPE, text=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


# -- the bundled server -----------------------------------------------------------------


def test_the_current_directory_is_gone(nowhere: CommandLine) -> None:
    """As in a shell in a release that the next deploy has removed."""
    leave = 'mkdir old && cd old && rmdir ../old && exec "$@"'
    nowhere.command = ["sh", "-c", leave, "sh", *nowhere.command]
    done = nowhere.run("monitor")
    named = "sidekiq-lua monitor: the current directory is no more: change to one that there is\n"
    assert (done.returncode, done.stderr) == (1, named)


def test_the_bundled_server_is_started_found_and_stopped(make_cli: Callable[..., CommandLine]) -> None:
    cli = make_cli(None)
    try:
        absent = cli.run("server", "status")
        started = cli.run("server", "start")
        running = cli.run("server", "status")
        seen = cli.run("monitor", "overview")
    finally:
        stopped = cli.run("server", "stop")
    assert absent.returncode == 1
    assert "does not run" in absent.stdout
    assert started.returncode == 0, started.stderr
    assert str(cli.directory / "home" / "data") in started.stdout
    assert running.returncode == 0
    assert "Clients: 0" in running.stdout
    assert seen.returncode == 0
    assert (stopped.returncode, stopped.stdout) == (0, "The bundled server has stopped.\n")
    assert cli.run("server", "stop").stdout == "No bundled server ran.\n"


def test_the_bundled_server_is_refused_in_production(make_cli: Callable[..., CommandLine]) -> None:
    fails(make_cli(None).run("server", "start", "-e", "production"), "production")
