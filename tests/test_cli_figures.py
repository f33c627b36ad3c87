"""The pages beside the probes of a supervisor: figures of all its processes, from one scrape."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import concurrent.futures
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from commandline import JOBS, CommandLine, Running, cli, make_cli, push
from prometheus_client.parser import text_string_to_metric_families
from waiting import wait_until

from sidekiq_lua.cli.supervisor.figures import Sum, Teller
from sidekiq_lua.tally import BUCKETS, Tally

UP = "run under this supervisor"
QUICK = "crash_limit: 0\n"
QUICK += "heartbeat_interval: 0.2\nheartbeat_ttl: 3\npoll_interval_average: 0.1\nrecovery_interval: 0.2\n"
PAGES = f"""{JOBS}
    import os
    from sidekiq_lua.contrib.prometheus import add_to_health

    add_to_health(sidekiq)

    class Who(Job):
        def perform(self):
            note(str(os.getpid()))

    class Pair(Job):
        def perform(self):
            redis = sidekiq.transport()
            redis.command("SADD", "pids", str(os.getpid()))
            while redis.command("SCARD", "pids") < 2:
                time.sleep(0.01)

    class Fail(Job):
        def perform(self):
            raise ValueError

    def hang():
        note("hangs")
        while not sidekiq.transport().command("EXISTS", "go on"):
            time.sleep(0.01)
        return 200, "text/plain", b"gone on"

    def broken():
        raise ValueError("broken page")

    sidekiq.health_routes["/hang"] = hang
    sidekiq.health_routes["/broken"] = broken
"""


@pytest.fixture
def start(cli: CommandLine) -> Callable[..., Running]:
    """Start a supervisor whose pages are at a port of its own choice."""
    cli.write("jobs.py", PAGES)
    cli.write("sidekiq.yml", QUICK)

    def begin(*args: str) -> Running:
        options = ("-r", "jobs", "-c", "2", "--health", "127.0.0.1:0", *args)
        return cli.start("worker", *options, ready=UP)

    return begin


def url_of(running: Running) -> str:
    return running.output.split("Health: ")[1].split("/livez")[0]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=15) as reply:
        return str(reply.read().decode())


def scrape(url: str) -> dict[str, float]:
    """Each sample, named as in the page; twice the same is an error."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(get(f"{url}/metrics")):
        for sample in family.samples:
            name = sample.name + "".join(f" {value}" for value in sample.labels.values())
            assert name not in found
            found[name] = sample.value
    return found


def test_one_scrape_has_the_figures_of_all_and_no_run_is_counted_twice(
    start: Callable[..., Running], redis: Any
) -> None:
    running = start("--processes", "2")
    url = url_of(running)
    for _ in range(4):
        push(redis, "Pair")  # they end only where both processes run some
    wait_until(lambda: redis.get("stat:processed") == b"4", 20)
    for _ in range(36):
        push(redis, "Who")
    for _ in range(3):
        push(redis, "Fail")
    wait_until(lambda: redis.get("stat:processed") == b"43", 20)
    wait_until(lambda: scrape(url).get("sidekiq_job_runs_total Fail failure") == 3)
    found = wait_until(lambda: (now := scrape(url)).get("sidekiq_job_runs_total Who success") == 36 and now)
    assert found["sidekiq_job_runs_total Pair success"] == 4
    assert found["sidekiq_job_seconds_count Who"] == found["sidekiq_job_seconds_bucket Who +Inf"] == 36
    assert found["sidekiq_processed_total"] == 43
    assert found["sidekiq_failed_total"] == 3
    assert (found["sidekiq_processes"], found["sidekiq_concurrency"], found["sidekiq_up"]) == (2, 4, 1)

    # What a process had run stays in the sum when it dies, or ends in order.
    killed = int(redis.srandmember("pids"))
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: running.output.count("another one starts") == 1)
    for _ in range(20):
        push(redis, "Who")
    wait_until(lambda: scrape(url).get("sidekiq_job_runs_total Who success") == 56)
    running.signal("TERM")
    assert running.end() == 0


def test_what_a_process_ran_just_before_its_orderly_end_counts(
    start: Callable[..., Running], redis: Any
) -> None:
    running = start("--processes", "1")
    url = url_of(running)
    push(redis, "Gate", 60)
    wait_until(lambda: redis.llen("notes") == 1)
    (identity,) = redis.smembers("processes")
    os.kill(int(identity.split(b":")[1]), signal.SIGTERM)
    running.wait_for("Pausing to allow jobs to finish")
    redis.rpush("gate", 1)
    wait_until(lambda: running.output.count("Booted") == 2, 20)
    assert scrape(url)["sidekiq_job_runs_total Gate success"] == 1
    running.signal("TERM")
    assert running.end() == 0


def test_a_page_that_hangs_holds_up_nothing(start: Callable[..., Running], redis: Any) -> None:
    running = start("--processes", "1")
    url = url_of(running)
    with pytest.raises(urllib.error.HTTPError, match="500") as failed:
        get(f"{url}/broken")
    assert failed.value.read() == b"failed: ValueError: broken page\n"
    with pytest.raises(urllib.error.HTTPError, match="404") as failed:
        get(f"{url}/nothing")
    assert b'"paths": ["/broken", "/hang", "/livez", "/metrics", "/readyz"]' in failed.value.read()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        hanging = [pool.submit(get, f"{url}/hang") for _ in range(4)]
        wait_until(lambda: redis.llen("notes") == 4)
        assert '"status": "ready"' in get(f"{url}/readyz")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(f"{url}/metrics")
        redis.set("go on", 1)
        assert [done.result(15) for done in hanging] == ["gone on"] * 4

    def goes_on() -> bool:
        try:
            return scrape(url)["sidekiq_up"] == 1
        except urllib.error.HTTPError as error:  # the processes that have answered are not all buried yet
            error.close()
            return False

    wait_until(goes_on)
    running.signal("TERM")
    assert running.end() == 0


def test_sums_of_what_is_new() -> None:
    class Line:
        heard: list[dict[str, Any]] = []
        deaf = False

        def say(self, **fields: Any) -> bool:
            if not self.deaf:
                self.heard.append(fields)
            return not self.deaf

    tally, line, total = Tally(), Line(), Sum()
    teller = Teller(tally.totals, line)  # type: ignore[arg-type]
    assert teller.say(busy=1)
    assert line.heard == [{"busy": 1}]
    tally.succeeded({"class": "A"}, 0.025)
    tally.succeeded({"class": "A"}, 0.001)
    tally.failed({"class": "B"})
    line.deaf = True
    assert not teller.say()
    line.deaf = False
    teller.say()
    tally.succeeded({"class": "A"}, 400)
    teller.say()
    teller.say()
    for words in line.heard:
        total.add(words.get("ran", {}))
    assert [sorted(words.get("ran", {})) for words in line.heard] == [[], ["A", "B"], ["A"], []]
    assert total.totals == tally.totals()
    other = Tally()
    other.failed({"class": "B"})
    other.include(total.totals)
    assert other.totals()["B"] == [0.0, 2, *[0] * BUCKETS]
    assert other.totals()["A"] == tally.totals()["A"]
