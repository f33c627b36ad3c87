"""Processes that die or stop in the middle of their jobs."""

import signal
import time

import pytest
from faults.harness import COMES_BACK_S
from waiting import wait_until

from sidekiq_lua import Sidekiq


@pytest.fixture
def app(url):
    made = Sidekiq(redis=url)
    yield made
    made.close()


def push(app, name, rows):
    return app.client.push_bulk({"class": name, "args": rows})


@pytest.mark.parametrize("kind", ["HangJob", "AsyncHangJob"])
def test_kill_9_amid_50_running_jobs(app, start_worker, redis, reports, kind):
    push(app, kind, [[n] for n in range(50)])
    first = start_worker("first", concurrency=50)
    wait_until(lambda: len(reports()) == 50, 20)
    first.kill()
    second = start_worker("second", concurrency=10)
    wait_until(lambda: redis.get("stat:processed") == b"50", 20, second.text())
    second.stop()
    begun = [argument for worker, event, argument, _ in reports() if (worker, event) == ("first", "begin")]
    ended = [argument for worker, event, argument, _ in reports() if (worker, event) == ("second", "end")]
    assert sorted(begun) == sorted(ended) == list(range(50))
    assert redis.get("stat:failed") is None
    assert not list(redis.scan_iter("lua:running:*"))
    assert redis.llen("queue:default") == redis.zcard("retry") == redis.zcard("dead") == 0


@pytest.mark.alone
@pytest.mark.slow
def test_ten_jobs_over_two_workers_begin_at_once(app, start_worker, redis, reports):
    """Alone on the machine, as every test of a time is; other load can only add to the best of three."""
    start_worker("one", concurrency=5)
    start_worker("two", concurrency=5)
    latest = []
    for round_ in range(3):
        pushed_at = time.time()
        push(app, "SleepJob", [[n, 1] for n in range(10)])
        ends = 10 * (round_ + 1)
        wait_until(lambda: len([event for _, event, _, _ in reports() if event == "end"]) == ends)  # noqa: B023
        wait_until(lambda: not list(redis.scan_iter("lua:running:*")))
        begun = [(worker, at - pushed_at) for worker, event, _, at in reports() if event == "begin"][-10:]
        assert [worker for worker, _ in begun].count("one") == 5
        latest.append(max(after for _, after in begun))
    assert min(latest) < 0.2, latest


def test_a_stopped_process_that_wakes_up_disturbs_nothing(app, start_worker, redis, reports):
    """SIGSTOP for longer than the heartbeat lives: its jobs run elsewhere, its results do not count."""
    push(app, "HangJob", [[n] for n in range(5)])
    first = start_worker("first", concurrency=5)
    wait_until(lambda: len(reports()) == 5)
    first.signal(signal.SIGSTOP)
    start_worker("second", concurrency=5)
    wait_until(lambda: redis.get("stat:processed") == b"5", 20)
    redis.set("go", 1)
    first.signal(signal.SIGCONT)
    wait_until(lambda: first.text().count("settled elsewhere") == 5, 10, first.text())
    assert redis.get("stat:processed") == b"5"
    push(app, "SleepJob", [[n, 0] for n in range(100, 200)])
    wait_until(lambda: redis.get("stat:processed") == b"105", 20)
    ended = [argument for worker, event, argument, _ in reports() if event == "end" and argument >= 100]
    assert sorted(ended) == list(range(100, 200))
    assert first.stop() == 0


def test_an_outage_of_the_server(app, start_worker, make_server, reports):
    """The worker consumes again once the server is back, without a restart, and tells the downtime."""
    server = make_server(appendonly="yes", appendfsync="always")
    client = server.client()
    worker = start_worker("only", url=server.url, concurrency=2)
    elsewhere = Sidekiq(redis=server.url)
    push(elsewhere, "SleepJob", [[1, 0]])
    wait_until(lambda: client.llen("reports") == 2)
    server.kill()
    wait_until(lambda: "no jobs are fetched" in worker.text(), 10)
    server.restart()
    back_at = time.time()
    client = server.client()
    elsewhere = Sidekiq(redis=server.url)
    push(elsewhere, "SleepJob", [[2, 0]])
    wait_until(lambda: client.llen("reports") == 4, 10, worker.text())
    assert time.time() - back_at < COMES_BACK_S
    wait_until(lambda: "Redis is online" in worker.text(), 10)
    elsewhere.close()
    assert worker.stop() == 0
