"""Several processes under one supervisor: births, deaths, replacements, signals."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest
from commandline import JOBS, CommandLine, cli, make_cli, notes, nowhere, push
from supervised import QUICK, WHO, Start, lives, pids, quiet, start
from waiting import wait_until


def test_each_process_has_its_own_identity_and_all_end_in_order(start: Start, redis: Any) -> None:
    running = start("--processes", "3")
    found = pids(redis)
    assert len(found) == 3
    assert running.process.pid not in found
    assert len({identity.split(b":")[2] for identity in redis.smembers("processes")}) == 3
    running.signal("TERM")
    assert running.end() == 0
    assert redis.smembers("processes") == set()
    assert not list(redis.scan_iter("lua:running:*"))
    assert running.output.count("Bye!") == 3
    assert "[0 of 2 busy]" not in running.output


def test_running_jobs_finish_at_a_stop(start: Start, redis: Any) -> None:
    running = start("--processes", "2")
    for _ in range(3):
        push(redis, "Gate", 60)
    wait_until(lambda: len(notes(redis)) == 3)
    running.signal("TERM")
    running.wait_for("Pausing to allow jobs to finish")
    redis.rpush("gate", 1, 2, 3)
    assert running.end() == 0
    assert sorted(notes(redis)) == ["inside"] * 3 + ["through"] * 3
    assert redis.llen("queue:default") == 0


def test_a_second_signal_forces_the_exit(start: Start, redis: Any) -> None:
    running = start("--processes", "2")
    for _ in range(2):
        push(redis, "Gate", 60)
    wait_until(lambda: len(notes(redis)) == 2)
    found = pids(redis)
    running.signal("INT")
    running.wait_for("Pausing to allow jobs to finish")

    def ended() -> bool:
        running.signal("INT")
        return running.process.poll() is not None

    wait_until(ended)
    assert running.end() == 1
    assert not any(lives(pid) for pid in found)
    assert sum(redis.llen(key) for key in redis.scan_iter("lua:running:*")) == 2


def test_a_killed_process_is_replaced_and_its_jobs_run(start: Start, redis: Any) -> None:
    running = start("--processes", "2")
    before = pids(redis)
    for _ in range(4):
        push(redis, "Gate", 60)
    wait_until(lambda: notes(redis) == ["inside"] * 4)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    running.wait_for(f"pid {victim} was killed by SIGKILL; another one starts now")
    wait_until(lambda: notes(redis) == ["inside"] * 6)
    redis.rpush("gate", *range(6))
    wait_until(lambda: notes(redis).count("through") == 4)
    wait_until(lambda: len(pids(redis)) == 2)
    assert len(pids(redis) & before) == 1
    running.signal("TERM")
    assert running.end() == 0


def test_no_process_outlives_its_supervisor(start: Start, redis: Any) -> None:
    running = start("--processes", "2")
    push(redis, "Gate", 60)
    wait_until(lambda: notes(redis) == ["inside"])
    found = pids(redis)
    running.kill()
    wait_until(lambda: "The supervisor is gone, this process stops" in running.output)
    redis.rpush("gate", "open")
    wait_until(lambda: not any(lives(pid) for pid in found))
    assert notes(redis) == ["inside", "through"]
    assert redis.smembers("processes") == set()


@pytest.mark.parametrize(
    ("option", "job", "why"),
    [
        (("--max-jobs", "1"), ("Who",), r"it has run 1 jobs, of 1"),
        (("--max-memory", "150MB"), ("Grow", 300), r"it uses \d+ MB, over the limit of 150 MB"),
    ],
)
def test_a_process_makes_room_when_another_has_booted(
    start: Start, redis: Any, option: tuple[str, str], job: tuple[Any, ...], why: str
) -> None:
    running = start(*option, ready="1 processes run")
    (first,) = pids(redis)
    push(redis, "Gate", 60)
    wait_until(lambda: notes(redis) == ["inside"])
    push(redis, *job)
    running.wait_for("finishes its jobs and ends")
    assert re.search(rf"pid {first} makes room for pid \d+: {why}", running.output)
    assert lives(first)
    wait_until(lambda: quiet(redis, first))
    push(redis, "Who")
    wait_until(lambda: len(notes(redis)) == 3)
    assert notes(redis)[1] == str(first)
    assert notes(redis)[2] != str(first)
    redis.rpush("gate", "open")
    running.wait_for(f"pid {first} has ended")
    assert notes(redis).count("through") == 1
    running.signal("TERM")
    assert running.end() == 0


def test_usr2_replaces_every_process_with_the_code_as_it_is_then(
    start: Start, cli: CommandLine, redis: Any
) -> None:
    running = start("--processes", "2")
    before = pids(redis)
    push(redis, "Gate", 60)
    wait_until(lambda: notes(redis) == ["inside"])
    cli.write("jobs.py", WHO.replace("note(str(os.getpid()))", 'note("new")'))
    running.signal("USR2")
    running.wait_for("The rolling restart is complete")
    wait_until(lambda: all(quiet(redis, pid) or not lives(pid) for pid in before))
    push(redis, "Who")
    wait_until(lambda: notes(redis) == ["inside", "new"])
    redis.rpush("gate", "open")
    wait_until(lambda: not any(lives(pid) for pid in before))
    assert notes(redis) == ["inside", "new", "through"]
    wait_until(lambda: len(pids(redis)) == 2)
    assert running.process.poll() is None
    running.signal("TERM")
    assert running.end() == 0
    assert redis.smembers("processes") == set()


def test_usr2_with_code_that_cannot_be_loaded_changes_nothing(
    start: Start, cli: CommandLine, redis: Any
) -> None:
    running = start("--processes", "2")
    before = pids(redis)
    cli.write("jobs.py", "raise ValueError('not yet')")
    running.signal("USR2")
    running.wait_for("The code could not be loaded (exit code 1): no process is replaced")
    assert "ValueError: not yet" in running.output
    push(redis, "Who")
    wait_until(lambda: notes(redis))
    assert pids(redis) == before
    running.signal("TERM")
    assert running.end() == 0


def test_a_rolling_restart_that_fails_half_way_keeps_the_old_processes(
    start: Start, cli: CommandLine, redis: Any
) -> None:
    running = start("--processes", "2")
    before = pids(redis)
    cli.write("sidekiq.yml", QUICK + "redis: redis://127.0.0.1:1/0\n")
    running.signal("USR2")
    running.wait_for("The rolling restart is broken off, 2 processes stay as they were")
    push(redis, "Who")
    wait_until(lambda: notes(redis))
    assert pids(redis) == before
    assert int(notes(redis)[0]) in before
    running.signal("TERM")
    assert running.end() == 0


def test_quiet_reaches_every_process(start: Start, redis: Any) -> None:
    running = start("--processes", "2")
    running.signal("TSTP")
    wait_until(lambda: {redis.hget(name, "quiet") for name in redis.smembers("processes")} == {b"true"})
    os.kill(min(pids(redis)), signal.SIGKILL)
    running.wait_for("was killed by SIGKILL")
    push(redis, "Who")
    assert "another one starts" not in running.output
    running.signal("TERM")
    assert running.end() == 0
    assert redis.llen("queue:default") == 1


def test_ttin_logs_the_threads_of_every_process(start: Start, redis: Any) -> None:
    running = start("--processes", "2")
    running.signal("TTIN")
    for pid in pids(redis):
        wait_until(lambda pid=pid: re.search(rf"pid={pid} .*sidekiq.heartbeat", running.output))
    running.signal("TERM")
    assert running.end() == 0


def test_a_worker_that_cannot_boot_is_started_once(start: Start, nowhere: CommandLine) -> None:
    nowhere.write("jobs.py", JOBS)
    ended = nowhere.run("worker", "-r", "jobs", "--processes", "3")
    assert ended.returncode == 1
    assert ended.stderr.startswith("sidekiq-lua worker: ")
    assert ended.stderr.count("is not available") == ended.stderr.count("\n") == 1


def test_one_endpoint_answers_for_all(start: Start, redis: Any) -> None:
    running = start("--processes", "2", "--health", "127.0.0.1:0")
    (base,) = re.findall(r"Health: (http://\S+?)/livez", running.output)

    def ask(path: str) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(base + path, timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    wait_until(lambda: ask("/readyz")[0] == 200)
    status, body = ask("/livez")
    assert (status, body["status"]) == (200, "live")
    assert {process["pid"] for process in body["processes"]} == pids(redis)
    assert body["concurrency"] == 4
    assert ask("/else")[0] == 404
    running.signal("TSTP")
    wait_until(lambda: ask("/readyz")[0] == 503)
    status, body = ask("/readyz")
    assert re.fullmatch(r"[01] of 2 processes are ready", body["why"][0])
    assert ["it is quiet"] in [process["why"] for process in body["processes"]]
    assert ask("/livez")[0] == 200
    running.signal("TERM")
    assert running.end() == 0


def test_counts_of_all_processes_add_up(start: Start, redis: Any) -> None:
    running = start("--processes", "3")
    for _ in range(60):
        push(redis, "Who")
    wait_until(lambda: len(notes(redis)) == 60)
    running.signal("TERM")
    assert running.end() == 0
    assert redis.get("stat:processed") == b"60"
    minutes = [key for key in redis.scan_iter("j|*") if re.fullmatch(rb"j\|\d+\|\d+:\d\d", key)]
    assert sum(int(redis.hget(key, "Who|p") or 0) for key in minutes) == 60


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_twenty_random_kills_and_every_job_runs(start: Start, redis: Any) -> None:
    """4 processes, 20 of them killed amid their work: every job has run, and there are 4 in the end."""
    running = start("--processes", "4", "-t", "5")
    wanted = {f"job-{n}" for n in range(4000)}
    for name in sorted(wanted):
        push(redis, "Nap", name)
    killed = 0
    while killed < 20:
        # Only one that works: a kill during the boot proves nothing.
        busy = [
            int(name.split(b":")[1])
            for name in redis.smembers("processes")
            if redis.hget(name, "busy") not in (None, b"0")
        ]
        alive = [pid for pid in busy if lives(pid)]
        if not alive:
            assert redis.llen("queue:default") or list(redis.scan_iter("lua:running:*")), (
                "the jobs were too few"
            )
            threading.Event().wait(0.05)
            continue
        os.kill(random.choice(alive), signal.SIGKILL)
        killed += 1
        threading.Event().wait(random.uniform(0.2, 1.0))
    assert redis.llen("queue:default"), "the jobs were too few: the last kills met idle processes"

    def done() -> bool:
        return set(notes(redis)) >= wanted

    wait_until(done, 90, "all jobs have run")
    ran = notes(redis)
    assert set(ran) == wanted
    wait_until(lambda: len(pids(redis)) == 4, 40)
    running.signal("TERM")
    assert running.end() == 0
    assert not list(redis.scan_iter("lua:running:*"))
    assert redis.llen("queue:default") == redis.zcard("retry") == redis.zcard("dead") == 0
