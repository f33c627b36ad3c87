"""A worker that its system gives no more threads, files or room on a disk."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import errno
import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from commandline import JOBS, CommandLine, Running, cli, make_cli, notes, push
from supervised import UP, Start, start
from waiting import wait_until

from sidekiq_lua.cli.pidfile import PidFile

QUICK = "heartbeat_interval: 0.1\npoll_interval_average: 0.1\n"
NO_THREADS = f"""{JOBS}
    import threading

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    class NoThreads(Job):
        def perform(self):
            threading.Thread.start = refuse
            note("none")
"""


@pytest.fixture
def full(cli: CommandLine, redis: Any) -> Running:
    """A worker that runs a job which waits for something in the list `gate`, and gets no more threads."""
    cli.write("jobs.py", NO_THREADS)
    cli.write("sidekiq.yml", QUICK)
    running = cli.start("worker", "-r", "jobs", "-c", "2")
    push(redis, "Gate", 60)
    wait_until(lambda: notes(redis) == ["inside"])
    push(redis, "NoThreads")
    wait_until(lambda: notes(redis) == ["inside", "none"])
    return running


def test_without_new_threads_a_signal_is_acted_on_and_the_running_job_finishes(
    full: Running, redis: Any
) -> None:
    full.signal("TTIN")
    full.wait_for(" sidekiq.default/processor")
    full.signal("TERM")
    full.wait_for("Pausing to allow jobs to finish")
    redis.rpush("gate", "open")
    assert full.end() == 0
    assert notes(redis) == ["inside", "none", "through"]
    assert redis.smembers("processes") == set()


def test_without_new_threads_a_second_signal_forces_the_exit(full: Running) -> None:
    full.signal("TERM")
    full.wait_for("Pausing to allow jobs to finish")
    time.sleep(0.2)  # signals that come together are one
    full.signal("INT")
    assert full.end() == 1
    assert "Got INT while stopping: forced exit, 1 running jobs" in full.output


# -- files ------------------------------------------------------------------------------


def test_a_rolling_restart_whose_log_file_cannot_be_opened_ends_nothing(start: Start, redis: Any) -> None:
    running = start("--processes", "1", "--logfile", "w.log", ready="")
    log, moved = running.directory / "w.log", running.directory / "moved"
    wait_until(lambda: log.exists() and UP in log.read_text(), 20)
    log.rename(moved)
    log.mkdir()
    running.signal("USR2")
    wait_until(lambda: "The rolling restart is complete" in moved.read_text(), 20)
    assert "the log goes on where it was: --logfile " in moved.read_text()
    push(redis, "Who")
    wait_until(lambda: notes(redis))
    running.signal("TERM")
    assert running.end() == 0


def test_closed_standard_streams_are_no_place_for_other_files(cli: CommandLine, redis: Any) -> None:
    """Connections, the pid file and the pipe to the command had their numbers, and the log wrote into it."""
    cli.write("jobs.py", JOBS)
    plain = cli.command
    cli.command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *plain]
    ended = cli.run("worker", "-r", "jobs", "--daemonize", "--logfile", "w.log", "--pidfile", "w.pid")
    log, pid = cli.directory / "w.log", int((cli.directory / "w.pid").read_text())
    try:
        assert ended.returncode == 0
        push(redis, "Note", "hello")
        wait_until(lambda: "class=Note" in log.read_text())
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: log.read_text().rstrip().endswith("Bye!"))
    wait_until(lambda: not (cli.directory / "w.pid").exists())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks up open files in /proc")
@pytest.mark.parametrize("options", [(), ("--processes", "1")], ids=["alone", "supervised"])
def test_a_log_file_that_was_moved_away_is_held_by_nobody(
    start: Start, redis: Any, options: tuple[str, ...]
) -> None:
    """Its room on the disk is free once it is deleted: the stand-in held it for as long as it lived."""
    running = start(*options, "--logfile", "w.log", ready="")
    log = running.directory / "w.log"
    wait_until(lambda: log.exists() and "Booted" in log.read_text(), 20)
    moved = log.rename(running.directory / "moved")

    def held() -> bool:
        """By any process of this machine that may be looked at."""
        for fd in Path("/proc").glob("[0-9]*/fd/2"):
            with suppress(OSError):
                if fd.samefile(moved):
                    return True
        return False

    assert held()
    running.signal("USR1")
    wait_until(lambda: not held())
    running.signal("TERM")
    assert running.end() == 0
    assert "stand-in" not in log.read_text()


def test_a_pid_file_on_a_full_disk_is_named(cli: CommandLine) -> None:
    cli.write("jobs.py", JOBS)
    limit = 'ulimit -f 0; trap "" XFSZ; exec "$@"'
    cli.command = ["sh", "-c", limit, "sh", *cli.command]
    ended = cli.run("worker", "-r", "jobs", "--pidfile", "w.pid")
    assert ended.returncode == 1
    assert re.fullmatch(
        r"sidekiq-lua worker: --pidfile \S+/w.pid: File too large; it cannot be written\n", ended.stderr
    )


def test_a_pid_file_that_may_not_be_removed_is_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that root has made for the worker in /run."""

    def refuse(path: Path, missing_ok: bool) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    file = PidFile(tmp_path / "w.pid")
    assert (tmp_path / "w.pid").read_text() == f"{os.getpid()}\n"
    monkeypatch.setattr(Path, "unlink", refuse)
    file.release()
    assert (tmp_path / "w.pid").read_text() == ""
