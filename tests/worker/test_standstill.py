"""Bursts of short jobs at moments by chance: whatever meets whatever, no job stays where it is.

pytest -m slow tests/worker/test_standstill.py        10 s for each case
STANDSTILL_S=300 pytest …                             longer
"""

import asyncio
import os
import random
import time

import pytest
from waiting import wait_until

from sidekiq_lua.worker import waiter

SECONDS = float(os.environ.get("STANDSTILL_S", "10"))
LONGEST_S = 5.0
"""A burst takes some 50 ms; what stands still does so until the next heartbeat at least, if not for ever."""
QUEUES = ["a", "b", "c"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 60)]


@pytest.mark.parametrize("failing", [0.1, 0.9])
@pytest.mark.parametrize("concurrency", [1, 2, 10])
def test_every_burst_comes_to_its_end(make_app, run, redis, monkeypatch, concurrency, failing):
    monkeypatch.setattr(waiter, "REARM_S", 3600)  # or it would hide what is looked for here
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    app = make_app(concurrency=concurrency, queues=QUEUES, heartbeat_interval=10, heartbeat_ttl=60)
    ended = set()

    class SyncJob(app.Job):
        def perform(self, number, seconds, fails):
            time.sleep(seconds)
            ended.add(number)
            if fails:
                raise ValueError

    class AsyncJob(app.Job):
        async def perform(self, number, seconds, fails):
            if seconds:
                await asyncio.sleep(seconds)
            ended.add(number)
            if fails:
                raise ValueError

    kinds = ["SyncJob", "AsyncJob", "AsyncJob", "AsyncJob"]
    exchange = run(app)._launcher.stations[0].exchange
    number, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        burst = range(number, number + chance.choice([1, 1, 2, 3, concurrency, concurrency + 1, 50]))
        number = burst.stop
        for n in burst:
            app.client.push(
                {
                    "class": chance.choice(kinds),
                    "args": [n, chance.choice([0, 0, 0, 0.001]), chance.random() < failing],
                    "queue": chance.choice(QUEUES),
                    "retry": False,
                }
            )
        try:
            wait_until(lambda burst=burst: ended.issuperset(burst), LONGEST_S)
        except AssertionError:
            pytest.fail(
                f"seed {seed}, {len(burst)} jobs: ready {len(exchange.ready)}, active {len(exchange.active)}"
                f", news {exchange.has_news}, waiting {[redis.llen(f'queue:{name}') for name in QUEUES]}"
            )
    wait_until(lambda: redis.get("stat:processed") == b"%d" % number)
