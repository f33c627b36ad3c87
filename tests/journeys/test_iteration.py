"""Iterable jobs over whole processes: one is killed or stopped in the middle, and another goes on."""

from __future__ import annotations

import pytest
from waiting import wait_until

from sidekiq_lua import Sidekiq


@pytest.fixture
def app(url):
    made = Sidekiq(redis=url)
    yield made
    made.close()


def items(reports, worker):
    return [argument for who, event, argument, _ in reports() if (who, event) == (worker, "item")]


def events(reports, worker):
    return {event for who, event, _, _ in reports() if who == worker}


def clean(redis):
    assert not list(redis.scan_iter("lua:running:*"))
    assert not list(redis.scan_iter("it-*"))
    assert redis.llen("queue:default") == redis.zcard("retry") == redis.zcard("dead") == 0


@pytest.mark.parametrize("kind", ["WalkJob", "AsyncWalkJob"])
def test_kill_9_repeats_the_item_under_way_and_no_other(app, start_worker, redis, reports, kind):
    app.client.push({"class": kind, "args": [60, 40]})
    first = start_worker("first", concurrency=2)
    wait_until(lambda: 40 in items(reports, "first"), 20)
    first.kill()
    second = start_worker("second", concurrency=2)
    wait_until(lambda: redis.get("stat:processed") == b"1", 20, second.text())
    second.stop()
    # The state is saved before each item here, so what is not saved is the one that was hanging.
    assert items(reports, "first") == list(range(41))
    assert items(reports, "second") == list(range(40, 60))
    assert events(reports, "second") == {"resume", "item"}
    clean(redis)


def test_kill_9_before_the_first_save_begins_again(app, start_worker, redis, reports):
    app.client.push({"class": "RareWalkJob", "args": [20, 10]})
    first = start_worker("first", concurrency=2)
    wait_until(lambda: 10 in items(reports, "first"), 20)
    first.kill()
    second = start_worker("second", concurrency=2)
    wait_until(lambda: redis.get("stat:processed") == b"1", 20, second.text())
    second.stop()
    assert items(reports, "second") == list(range(20))
    assert events(reports, "second") == {"start", "item"}
    clean(redis)


@pytest.mark.parametrize("kind", ["SlowWalkJob", "AsyncSlowWalkJob"])
def test_term_and_another_process_goes_on_without_repeating(app, start_worker, redis, reports, kind):
    jids = app.client.push_bulk({"class": kind, "args": [[500, 0.01] for _ in range(3)]})
    first = start_worker("first", concurrency=3)
    wait_until(lambda: len(items(reports, "first")) > 60, 20)
    assert first.stop() == 0
    done = items(reports, "first")
    assert len(done) < 1500
    assert {redis.hget(f"it-{jid}", "ex") for jid in jids} == {b"1"}
    assert redis.llen("queue:default") == 3
    assert not redis.exists("stat:processed", "stat:failed")
    second = start_worker("second", concurrency=3)
    wait_until(lambda: redis.get("stat:processed") == b"3", 20, second.text())
    second.stop()
    assert sorted(done + items(reports, "second")) == sorted([*range(500)] * 3)
    assert events(reports, "second") == {"resume", "item"}
    clean(redis)


def test_a_longer_item_is_cut_off_at_the_deadline_and_repeated(app, start_worker, redis, reports):
    app.client.push({"class": "WalkJob", "args": [6, 3]})
    first = start_worker("first", concurrency=1, timeout=0.2)
    wait_until(lambda: 3 in items(reports, "first"), 20)
    assert first.stop() == 0
    second = start_worker("second", concurrency=1)
    wait_until(lambda: redis.get("stat:processed") == b"1", 20, second.text())
    second.stop()
    assert items(reports, "second") == [3, 4, 5]
    clean(redis)


@pytest.mark.slow
def test_an_outage_is_waited_for_and_repeats_nothing(app, start_worker, make_server, redis, reports):
    """A run that cannot save its state does no more items until it can."""
    server = make_server(appendonly="yes", appendfsync="always")
    elsewhere = Sidekiq(redis=server.url)
    elsewhere.client.push({"class": "WalkElsewhereJob", "args": [600, 0.005]})
    worker = start_worker("only", "-q", "default", url=server.url, report_url=redis_url(redis), concurrency=1)
    wait_until(lambda: len(items(reports, "only")) > 20, 20)
    server.kill()
    stuck = wait_until(lambda: settle(reports), 20)
    server.restart()
    wait_until(lambda: len(items(reports, "only")) == 600, 30, worker.text())
    assert stuck < 600
    assert items(reports, "only") == list(range(600))
    with server.client() as client:
        wait_until(lambda: client.get("stat:processed") == b"1")
        assert client.get("stat:failed") is None
    elsewhere.close()
    assert worker.stop() == 0


def redis_url(client):
    options = client.connection_pool.connection_kwargs
    return (
        f"unix://{options['path']}" if "path" in options else f"redis://{options['host']}:{options['port']}"
    )


def settle(reports):
    """How many items were done, once it is as many twice, half a second apart."""
    before = len(items(reports, "only"))
    try:
        wait_until(lambda: len(items(reports, "only")) > before, 0.5)
    except AssertionError:
        return before
    return None
