"""A worker as a service: pid file, log file, background, systemd's socket and watchdog."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commandline import JOBS, CommandLine, Running, cli, heartbeat, make_cli, notes, nowhere, push
from servers import free_port
from waiting import real_now_s, wait_until

QUICK = "heartbeat_interval: 0.2\nheartbeat_ttl: 3\npoll_interval_average: 0.1\n"
KINDS = pytest.mark.parametrize("kind", [(), ("--processes", "2")], ids=["alone", "supervised"])


@pytest.fixture
def ready(cli: CommandLine) -> CommandLine:
    cli.write("jobs.py", JOBS)
    cli.write("sidekiq.yml", QUICK)
    return cli


# -- pid file ---------------------------------------------------------------------------


@KINDS
def test_the_pid_file_is_there_for_as_long_as_the_worker(ready: CommandLine, kind: tuple[str, ...]) -> None:
    running = ready.start("worker", "-r", "jobs", *kind, "--pidfile", "w.pid", ready="Booted")
    file = ready.directory / "w.pid"
    assert file.read_text() == f"{running.process.pid}\n"
    refused = ready.run("worker", "-r", "jobs", "--pidfile", "w.pid")
    assert refused.returncode == 1
    assert f"held by a worker that runs, pid {running.process.pid}" in refused.stderr
    running.signal("TERM")
    assert running.end() == 0
    assert not file.exists()


def test_a_pid_file_that_a_dead_process_left_is_replaced(ready: CommandLine) -> None:
    # The number is that of a live process, as it may be after a restart of the machine.
    ready.write("w.pid", f"{os.getpid()}\n")
    running = ready.start("worker", "-r", "jobs", "--pidfile", "w.pid")
    assert (ready.directory / "w.pid").read_text() == f"{running.process.pid}\n"
    running.kill()
    second = ready.start("worker", "-r", "jobs", "--pidfile", "w.pid")
    second.signal("TERM")
    assert second.end() == 0


def test_processes_that_outlive_their_supervisor_do_not_hold_its_pid_file(
    ready: CommandLine, redis: Any
) -> None:
    arguments = ("worker", "-r", "jobs", "--processes", "1", "--pidfile", "w.pid")
    first = ready.start(*arguments, ready="run under this supervisor")
    push(redis, "Gate", 60)
    wait_until(lambda: notes(redis) == ["inside"])
    first.kill()
    second = ready.start(*arguments, ready="run under this supervisor")
    redis.rpush("gate", "open")
    wait_until(lambda: notes(redis) == ["inside", "through"])
    second.signal("TERM")
    assert second.end() == 0


def test_what_a_job_has_forked_holds_neither_the_pid_file_nor_the_port(
    ready: CommandLine, redis: Any
) -> None:
    fork = """
    import os

    class Fork(Job):
        def perform(self):
            pid = os.fork()
            if not pid:
                time.sleep(60)
                os._exit(0)
            note(str(pid))
    """
    ready.write("jobs.py", JOBS + fork)
    arguments = ("worker", "-r", "jobs", "--pidfile", "w.pid", "--health", str(free_port()))
    first = ready.start(*arguments)
    push(redis, "Fork")
    (forked,) = wait_until(lambda: notes(redis))
    try:
        first.kill()
        second = ready.start(*arguments)
        assert (ready.directory / "w.pid").read_text() == f"{second.process.pid}\n"
        second.signal("TERM")
        assert second.end() == 0
    finally:
        os.kill(int(forked), signal.SIGKILL)


def test_the_pid_file_stays_through_a_rolling_restart(ready: CommandLine) -> None:
    arguments = ("worker", "-r", "jobs", "--processes", "1", "--pidfile", "w.pid")
    running = ready.start(*arguments, ready="run under this supervisor")
    running.signal("USR2")
    running.wait_for("The rolling restart is complete")
    assert (ready.directory / "w.pid").read_text() == f"{running.process.pid}\n"
    assert "held by a worker that runs" in ready.run(*arguments).stderr
    running.signal("TERM")
    assert running.end() == 0
    assert not (ready.directory / "w.pid").exists()


def test_the_pid_file_follows_a_link_to_a_new_release(ready: CommandLine) -> None:
    for release in ("one", "two"):
        ready.write(f"{release}/jobs.py", JOBS)
    current = ready.directory / "current"
    current.symlink_to("one")
    arguments = ("worker", "-r", "jobs", "--processes", "1", "--pidfile", "w.pid")
    ready.command = ["sh", "-c", 'cd current && exec "$@"', "sh", *ready.command]
    running = ready.start(*arguments, ready="run under this supervisor")
    current.unlink()
    current.symlink_to("two")
    running.signal("USR2")
    running.wait_for("The rolling restart is complete")
    assert (current / "w.pid").read_text() == f"{running.process.pid}\n"
    assert "held by a worker that runs" in ready.run(*arguments).stderr
    running.signal("TERM")
    assert running.end() == 0
    assert not (current / "w.pid").exists()


# -- the stand-in -----------------------------------------------------------------------


def test_a_file_named_like_one_of_pythons_does_not_hinder_the_stand_in(
    ready: CommandLine, redis: Any
) -> None:
    for name in ("signal.py", "json.py", "types.py", "socket.py"):
        ready.write(name, "raise ImportError('this is of the application')")
    running = ready.start("worker", "-r", "jobs")
    push(redis, "Gate", 60)
    wait_until(lambda: notes(redis) == ["inside"])
    (identity,) = redis.smembers("processes")
    running.kill()
    wait_until(lambda: redis.exists(b"lua:fallen:" + identity))
    assert "of the application" not in running.output


# -- log file ---------------------------------------------------------------------------


def write_to(log: Path, redis: Any) -> bool:
    """Whether every process that beats has this very file as its standard output."""
    pids = [int(identity.split(b":")[1]) for identity in redis.smembers("processes")]
    return all(Path(f"/proc/{pid}/fd/1").samefile(log) for pid in pids)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks up open files in /proc")
@KINDS
def test_usr1_opens_the_log_file_again(ready: CommandLine, kind: tuple[str, ...], redis: Any) -> None:
    running = ready.start("worker", "-r", "jobs", *kind, "--logfile", "w.log", ready="")
    log, old = ready.directory / "w.log", ready.directory / "w.log.1"
    last = "run under this supervisor" if kind else "Starting processing"
    wait_until(lambda: log.exists() and last in log.read_text(), 20)
    log.rename(old)
    before = old.read_text()
    running.signal("USR1")
    wait_until(lambda: log.exists() and write_to(log, redis))
    push(redis, "Note", "hello")
    wait_until(lambda: ": done" in log.read_text())
    running.signal("TERM")
    assert running.end() == 0
    assert "Bye!" in log.read_text()
    assert ": done" not in old.read_text()
    assert old.read_text().startswith(before)
    assert running.output == ""


def test_what_a_log_file_cannot_be(ready: CommandLine) -> None:
    ended = ready.run("worker", "-r", "jobs", "--logfile", "logs/w.log")
    assert ended.returncode == 1
    assert re.fullmatch(
        r"sidekiq-lua worker: --logfile \S+/logs/w.log: there is no directory \S+/logs; make it\n",
        ended.stderr,
    )
    ended = ready.run("worker", "-r", "jobs", "--logfile", "/dev")
    assert ended.returncode == 1
    assert "--logfile /dev: Is a directory" in ended.stderr


# -- in the background ------------------------------------------------------------------


@pytest.fixture
def daemon(ready: CommandLine) -> Iterator[Callable[[], int]]:
    """Answers the pid of the worker in the background, which is killed when the test ends."""
    file = ready.directory / "w.pid"
    yield lambda: int(file.read_text())
    if file.exists():
        os.kill(int(file.read_text()), signal.SIGKILL)


IN_BACKGROUND = ("worker", "-r", "jobs", "--daemonize", "--logfile", "w.log", "--pidfile", "w.pid")


@KINDS
def test_a_daemon_has_booted_when_the_command_returns(
    ready: CommandLine, kind: tuple[str, ...], redis: Any, daemon: Callable[[], int]
) -> None:
    ended = ready.run(*IN_BACKGROUND, *kind)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert len(redis.smembers("processes")) == (2 if kind else 1)
    pid = daemon()
    assert os.getsid(pid) != pid
    assert os.getsid(pid) != os.getsid(0)
    push(redis, "Note", "hello")
    wait_until(lambda: notes(redis) == ["hello"])
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not (ready.directory / "w.pid").exists())
    assert "Bye!" in (ready.directory / "w.log").read_text()
    assert redis.smembers("processes") == set()


@KINDS
def test_a_daemon_that_cannot_boot_says_so_to_the_command(
    ready: CommandLine, nowhere: CommandLine, kind: tuple[str, ...]
) -> None:
    ended = nowhere.run(*IN_BACKGROUND, *kind)
    assert ended.returncode == 1
    assert ended.stderr.startswith("sidekiq-lua worker: Redis at redis://127.0.0.1:1/0 is not available")
    assert ended.stderr.count("\n") == 1
    assert "is not available" in (ready.directory / "w.log").read_text()
    assert not (ready.directory / "w.pid").exists()


def test_a_daemon_that_dies_while_it_boots(ready: CommandLine) -> None:
    ready.write("jobs.py", "import os\nos._exit(3)")
    ended = ready.run(*IN_BACKGROUND)
    assert ended.returncode == 1
    assert re.fullmatch(
        r"sidekiq-lua worker: the worker died while it started; see \S+/w.log\n", ended.stderr
    )


def test_a_daemon_needs_a_log_file(ready: CommandLine) -> None:
    ended = ready.run("worker", "-r", "jobs", "--daemonize")
    assert ended.returncode == 1
    assert "--daemonize needs --logfile FILE" in ended.stderr


# -- systemd ----------------------------------------------------------------------------


class Manager:
    """The end of the notify socket that systemd has."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.settimeout(20)
        self.heard: list[str] = []

    def wait_for(self, field: str) -> str:
        """Until a message has that line; answers the message."""
        while True:
            message = self.socket.recv(4096).decode()
            self.heard.append(message)
            if any(line.startswith(field) for line in message.splitlines()):
                return message

    def pings_within(self, seconds: float) -> int:
        """How many pings come within a time."""
        until, pings = real_now_s() + seconds, 0
        try:
            while (left := until - real_now_s()) > 0:
                self.socket.settimeout(left)
                pings += self.socket.recv(4096) == b"WATCHDOG=1"
        except TimeoutError:
            pass
        self.socket.settimeout(20)
        return pings


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(f"@sidekiq-lua-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "n"))
    yield made
    made.socket.close()


@KINDS
def test_systemd_hears_of_the_start_the_state_and_the_stop(
    ready: CommandLine, manager: Manager, kind: tuple[str, ...], redis: Any
) -> None:
    ready.write(
        "jobs.py", f"{JOBS}\n    class Env(Job):\n        def perform(self):\n"
        "            import os\n            note(str(os.environ.get('NOTIFY_SOCKET')))\n",
    )  # fmt: skip
    running = ready.start(
        "worker", "-r", "jobs", "-c", "2", *kind, ready="",
        NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="1000000",
    )  # fmt: skip
    assert "STATUS=" in manager.wait_for("READY=1")
    manager.wait_for("WATCHDOG=1")
    push(redis, "Env")
    wait_until(lambda: notes(redis) == ["None"])
    running.signal("TERM")
    manager.wait_for("STOPPING=1")
    assert running.end() == 0


def test_systemd_hears_of_a_rolling_restart(ready: CommandLine, tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "n"))
    running = ready.start("worker", "-r", "jobs", "--processes", "1", ready="", NOTIFY_SOCKET=manager.address)
    manager.wait_for("READY=1")
    running.signal("USR2")
    assert re.search(r"^MONOTONIC_USEC=\d+$", manager.wait_for("RELOADING=1"), re.MULTILINE)
    manager.wait_for("READY=1")
    running.signal("TERM")
    manager.wait_for("STOPPING=1")
    assert running.end() == 0
    manager.socket.close()


STUCK = f"""{JOBS}
    import sys, threading, time

    def hold():
        # A handler of a beat that never returns, so that no further beat can go out.
        threading.Event().wait()

    @sidekiq.configure_server
    def configure(config):
        config.on("beat", lambda: hold() if sidekiq.transport().command("EXISTS", "stick") else None)
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_stuck_worker_is_not_kept_alive(ready: CommandLine, redis: Any, tmp_path: Path) -> None:
    """The pings rest on the heartbeat's thread, not on a timer: here it never comes round again.

    Both kinds at once, for each has half a minute to be taken for stuck.
    """
    ready.write("jobs.py", STUCK)
    told = {"ready": "", "WATCHDOG_USEC": "1000000"}
    managers = [Manager(str(tmp_path / name)) for name in ("alone", "supervised")]
    alone = ready.start("worker", "-r", "jobs", NOTIFY_SOCKET=managers[0].address, **told)
    supervised = ready.start(
        "worker", "-r", "jobs", "--processes", "2", NOTIFY_SOCKET=managers[1].address, **told
    )
    for manager in managers:
        manager.wait_for("READY=1")
        assert manager.pings_within(5) >= 3
    redis.set("stick", 1)
    for manager in managers:
        wait_until(lambda manager=manager: manager.pings_within(2) == 0, 60)
        assert manager.pings_within(3) == 0
    for running in (alone, supervised):
        assert running.process.poll() is None
        running.kill()
    for manager in managers:
        manager.socket.close()


@pytest.mark.parametrize(
    ("environment", "pings", "complaint"),
    [
        ({"WATCHDOG_USEC": "500000"}, False, "WatchdogSec=0.500 is too short: 1 s is the least"),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, False, ""),
        ({}, False, ""),
    ],
)
def test_when_no_pings_are_sent(
    ready: CommandLine, tmp_path: Path, environment: dict[str, str], pings: bool, complaint: str
) -> None:
    manager = Manager(str(tmp_path / "n"))
    running = ready.start("worker", "-r", "jobs", ready="", NOTIFY_SOCKET=manager.address, **environment)
    manager.wait_for("READY=1")
    assert manager.pings_within(1.2) == 0
    running.signal("TERM")
    assert running.end() == 0
    assert complaint in running.output
    manager.socket.close()


def test_a_socket_that_nobody_has_is_told_once(ready: CommandLine) -> None:
    running = ready.start("worker", "-r", "jobs", NOTIFY_SOCKET=str(ready.directory / "nobody"))
    running.signal("TERM")
    assert running.end() == 0
    assert running.output.count("systemd was not notified") == 1
