"""What goes wrong around a supervisor, and must not end it; and as the first process of a container."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from commandline import CommandLine, Running, cli, make_cli, notes, push
from supervised import QUICK, WHO, Start, lives, pids, start
from waiting import wait_until

# -- what must not end a supervisor -----------------------------------------------------


def test_a_log_file_that_cannot_be_opened_again_ends_nothing(
    start: Start, cli: CommandLine, redis: Any
) -> None:
    logs = cli.directory / "logs"
    logs.mkdir()
    running = start("--processes", "2", "--logfile", "logs/w.log", ready="")
    wait_until(lambda: len(pids(redis)) == 2)
    before = pids(redis)
    logs.rename(cli.directory / "moved")
    log = cli.directory / "moved" / "w.log"
    running.signal("USR1")
    wait_until(lambda: log.read_text().count("The log goes on where it was: --logfile ") == 3)
    push(redis, "Who")
    wait_until(lambda: notes(redis))
    assert pids(redis) == before
    logs.mkdir()
    running.signal("USR1")
    wait_until((logs / "w.log").exists)
    running.signal("TERM")
    assert running.end() == 0
    assert "Traceback" not in log.read_text()


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="there are no signals for real time")
def test_a_process_that_a_nameless_signal_has_ended_is_replaced(start: Start, redis: Any) -> None:
    running = start("--processes", "1")
    (before,) = pids(redis)
    os.kill(before, signal.SIGRTMIN + 1)
    running.wait_for(f"pid {before} was killed by signal {signal.SIGRTMIN + 1}; another one starts")
    wait_until(lambda: pids(redis) - {before})
    running.signal("TERM")
    assert running.end() == 0


def test_a_trial_that_cannot_be_started_changes_nothing(start: Start, cli: CommandLine, redis: Any) -> None:
    running = start("--processes", "2")
    before = pids(redis)
    there, away = cli.directory, cli.directory.with_name("away")
    there.rename(away)
    try:
        running.signal("USR2")
        log = away / "output-0"
        wait_until(lambda: "The trial could not be started, no process is replaced" in log.read_text())
    finally:
        away.rename(there)
    push(redis, "Who")
    wait_until(lambda: notes(redis))
    assert pids(redis) == before
    running.signal("TERM")
    assert running.end() == 0


def test_a_trial_that_hangs_makes_way_for_the_next(start: Start, cli: CommandLine, redis: Any) -> None:
    running = start("--processes", "1")
    cli.write("jobs.py", "import time\nprint('hangs', flush=True)\ntime.sleep(60)")
    running.signal("USR2")
    running.wait_for("hangs")
    cli.write("jobs.py", WHO)
    running.signal("USR2")
    running.wait_for("The trial of before has not ended, it is given up")
    running.wait_for("The rolling restart is complete")


def test_a_process_that_cannot_be_made_is_tried_again(start: Start, redis: Any) -> None:
    running = start("--processes", "2")
    soft, hard = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (3, hard))
    os.kill(min(pids(redis)), signal.SIGKILL)
    running.wait_for("No process can be started, the next attempt is in ")
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: len(pids(redis)) == 2)
    running.signal("TERM")
    assert running.end() == 0


# -- a rolling restart that meets a change ----------------------------------------------


def test_a_rolling_restart_while_a_process_makes_room_leaves_no_old_one(
    start: Start, cli: CommandLine, redis: Any
) -> None:
    slow = """
    @sidekiq.config.on("startup")
    def slow():
        while sidekiq.transport().command("EXISTS", "slow"):
            time.sleep(0.01)
    """
    cli.write("jobs.py", WHO + slow)
    running = start("--max-jobs", "1", ready="1 processes run")
    before = pids(redis)
    redis.set("slow", 1)
    push(redis, "Who")
    running.wait_for("makes room for")
    running.signal("USR2")
    running.wait_for("of a rolling restart")
    redis.delete("slow")
    running.wait_for("The rolling restart is complete")
    wait_until(lambda: not any(lives(pid) for pid in before), 20, "the old process has ended")
    wait_until(lambda: len(pids(redis)) == 1)
    running.signal("TERM")
    assert running.end() == 0


def test_a_rolling_restart_to_settings_of_one_process(start: Start, cli: CommandLine, redis: Any) -> None:
    cli.write("sidekiq.yml", f"{QUICK}processes: 2\n")
    running = start()
    before = pids(redis)
    cli.write("sidekiq.yml", QUICK)
    running.signal("USR2")
    running.wait_for("The rolling restart is complete")
    wait_until(lambda: not any(lives(pid) for pid in before), 20, "the old processes have ended")
    assert len(pids(redis)) == 1
    running.signal("TERM")
    assert running.end() == 0


def test_a_rolling_restart_to_a_port_in_use_ends_nothing(start: Start, cli: CommandLine, redis: Any) -> None:
    running = start("--processes", "1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cli.write("sidekiq.yml", f"{QUICK}health: {taken.getsockname()[1]}\n")
        running.signal("USR2")
        running.wait_for("The rolling restart is complete")
    assert "nothing can listen on" in running.output
    wait_until(lambda: len(pids(redis)) == 1)


def test_a_port_that_is_not_wanted_any_more_is_closed(start: Start, cli: CommandLine) -> None:
    cli.write("sidekiq.yml", f"{QUICK}health: 127.0.0.1:0\n")
    running = start("--processes", "1")
    (port,) = re.findall(r"Health: http://127.0.0.1:(\d+)/livez", running.output)
    socket.create_connection(("127.0.0.1", int(port)), 5).close()
    cli.write("sidekiq.yml", QUICK)
    running.signal("USR2")
    running.wait_for("The rolling restart is complete")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)), 5)


# -- as the first process of a container ------------------------------------------------

ALONE = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]


@pytest.fixture
def contained(start: Start, cli: CommandLine) -> Start:
    """The same, but the supervisor is process 1."""
    if shutil.which("unshare") is None or subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("`unshare --pid` is refused here: needs util-linux, and root or user namespaces")
    cli.command = [*ALONE, *cli.command]
    return start


def supervisor_of(running: Running) -> int:
    """Its pid outside the container."""
    (pid,) = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    return int(pid)


def test_a_trial_that_fails_changes_nothing_in_a_container(
    contained: Start, cli: CommandLine, redis: Any
) -> None:
    running = contained("--processes", "2")
    before = pids(redis)
    cli.write("jobs.py", "raise ValueError('not yet')")
    os.kill(supervisor_of(running), signal.SIGUSR2)
    running.wait_for("The code could not be loaded (exit code 1): no process is replaced")
    push(redis, "Who")
    wait_until(lambda: notes(redis))
    assert pids(redis) == before


def test_a_rolling_restart_after_a_scrape_in_a_container(
    contained: Start, cli: CommandLine, redis: Any
) -> None:
    page = 'sidekiq.health_routes["/page"] = lambda: (200, "text/plain", b"here")'
    cli.write("jobs.py", f"{WHO}\n    {page}\n")
    running = contained("--processes", "2", "--health", "127.0.0.1:0")
    (base,) = re.findall(r"Health: (http://\S+?)/livez", running.output)
    with urllib.request.urlopen(base + "/page", timeout=5) as answer:
        assert answer.read() == b"here"
    supervisor = supervisor_of(running)
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
    wait_until(lambda: len(children.read_text().split()) == 2, 5, "the process that answered is buried")
    os.kill(supervisor, signal.SIGUSR2)
    running.wait_for("The rolling restart is complete")


def test_a_term_that_comes_during_the_imports_is_heard_in_a_container(
    contained: Start, cli: CommandLine
) -> None:
    cli.write("jobs.py", "import time\nprint('imports', flush=True)\ntime.sleep(60)")
    running = contained(ready="imports")
    os.kill(supervisor_of(running), signal.SIGTERM)
    assert running.end() == 128 + signal.SIGTERM
