"""Several relays of one outbox: one works, and whoever comes late doubles nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from contrib.shop import Shop, passes
from waiting import wait_until

from sidekiq_lua.contrib.outbox import DbApi, Outbox


def test_a_relay_that_stood_still_for_hours_doubles_nothing(shop: Shop) -> None:
    for n in range(10):
        shop.write(n)
    has_read, goes_on = threading.Event(), threading.Event()

    class Slow(DbApi):
        reads = 0

        def read(self, *args: Any) -> Any:
            found = super().read(*args)
            self.reads += 1
            if self.reads == 2:  # the one after its claim
                has_read.set()
                assert goes_on.wait(20)
            return found

    stale = Outbox("shop", Slow(shop.connect), shop.app).relay()
    thread = threading.Thread(target=stale.run_once)
    thread.start()
    assert has_read.wait(20)
    shop.redis.delete("lua:relay:shop")  # its claim ran out
    passes(shop.outbox.relay(), shop.rows)  # another one does all, and leaves
    shop.take("default")

    goes_on.set()
    thread.join()

    shop.take("default")
    assert shop.ran["default"] == list(range(10))
    assert not shop.redis.exists("lua:relayed:shop")
    shop.write(10)
    assert stale.run_once() == 1
    stale.close()


@pytest.mark.parametrize("has_read", [True, False])
def test_a_deletion_that_comes_late_makes_nobody_forget_what_another_may_have_read(
    shop: Shop, has_read: bool
) -> None:
    shop.write(1)
    pushed, goes_on = threading.Event(), threading.Event()

    class Slow(DbApi):
        def write(self, *args: Any) -> None:
            pushed.set()
            assert goes_on.wait(20)  # as where the database makes it wait
            super().write(*args)

    slow = Outbox("shop", Slow(shop.connect), shop.app).relay()
    thread = threading.Thread(target=slow.run_once)
    thread.start()
    assert pushed.wait(20)
    shop.redis.delete("lua:relay:shop")  # its claim ran out

    class Next(DbApi):
        reads = 0

        def read(self, *args: Any) -> Any:
            found = super().read(*args)
            self.reads += 1
            if self.reads == 3:  # it has claimed, and looked for what is left of others
                goes_on.set()
                thread.join()
            return found if has_read else super().read(*args)

    following = Outbox("shop", Next(shop.connect), shop.app).relay()
    following.run_once()
    shop.write(2)
    following.run_once()

    assert (shop.rows(), shop.queued()) == (0, [1, 2])
    assert not shop.redis.exists("lua:relayed:shop")
    following.close()
    slow.close()


def test_several_relays_beside_producers_keep_the_order(shop: Shop, url: str) -> None:
    outboxes = [Outbox("shop", DbApi(shop.connect), shop.app) for _ in range(3)]
    relays = [outbox.relay(batch=11, interval=0.002, claim=0.05).start() for outbox in outboxes]
    for n in range(300):
        shop.write(n, "low" if n % 2 else "default")
        if n % 60 == 0:
            shop.redis.delete("lua:relay:shop")  # so that another one comes in between
    wait_until(lambda: shop.rows() == 0, 30)
    for relay in relays:
        relay.stop()
    shop.write(300)  # with which goes what one had to leave behind
    passes(shop.outbox.relay(), shop.rows)

    assert shop.queued() == list(range(0, 301, 2))
    assert shop.queued("low") == list(range(1, 300, 2))
    assert not shop.redis.exists("lua:relayed:shop", "lua:relay:shop")


def test_one_works_and_the_other_takes_over_when_it_leaves(shop: Shop) -> None:
    first, second = shop.outbox.relay(), Outbox("shop", DbApi(shop.connect), shop.app).relay()
    shop.write(1)
    assert first.run_once() == 1
    shop.write(2)
    assert second.run_once() == 0
    first.close()
    assert second.run_once() == 1
    second.close()


def test_one_that_was_made_before_a_fork_is_two_after_it(shop: Shop) -> None:
    relay = shop.outbox.relay()
    shop.write(1)
    child = os.fork()
    if child == 0:
        gone = 99
        try:
            gone = relay.run_once()  # and it keeps its claim
        finally:
            os._exit(gone)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    shop.write(2)

    assert relay.run_once() == 0
    assert shop.queued() == [1]


ANYWHERE = """
import signal, sys
from sidekiq_lua import Sidekiq
from sidekiq_lua.contrib.outbox import DbApi, Outbox

class Nothing(DbApi):
    def read(self, sql, values):
        return []

relay = Outbox("shop", Nothing(lambda: None), Sidekiq(redis=sys.argv[1])).relay(interval=0.0001)
signal.signal(signal.SIGTERM, lambda *_: relay.stop())

def trace(frame, event, arg):
    global left
    left -= event == "line"
    if left == 0:
        sys.settrace(None)
        signal.raise_signal(signal.SIGTERM)
    return trace

for n in range(1, 200):
    left = n
    sys.settrace(trace)
    relay.run()
    sys.settrace(None)
"""


def test_the_signal_that_stops_it_may_come_anywhere(url: str) -> None:
    subprocess.run([sys.executable, "-c", ANYWHERE, url], check=True, timeout=20)
