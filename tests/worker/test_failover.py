"""Behind the address of the server is another one by now, and the old one still answers."""

from __future__ import annotations

import threading
from time import sleep

import pytest
from proxy import Proxy
from waiting import wait_until


def waiting(client):
    return [found["id"] for found in client.client_list() if found["cmd"] == "blmove"]


@pytest.mark.own_keys
def test_a_worker_that_waits_at_an_old_primary(make_app, run, make_server, log):
    """It has lost its replicas and refuses to wait for jobs: the worker goes where the address leads now."""
    old, new = make_server(), make_server()
    with Proxy(old.port) as proxy, old.client() as before, new.client() as after:
        app = make_app(redis=proxy.url)
        ran = []

        class Job(app.Job):
            def perform(self, n):
                ran.append(n)

        run(app)
        wait_until(lambda: waiting(before))
        proxy.redirect(new.port)
        before.config_set("min-replicas-to-write", 1)
        for move in waiting(before):  # none if its time was over just now
            before.client_unblock(move)
        wait_until(lambda: waiting(after), 10, log.getvalue())
        Job.perform_async(1)
        wait_until(lambda: ran == [1])
        assert "NOREPLICAS" in log.getvalue()


@pytest.mark.own_keys
def test_a_stop_in_a_failover_acknowledges_what_is_done(make_app, run, make_server, log):
    """It takes writes again in the last seconds of the time-out: the job, which is done, ran twice."""
    server = make_server()
    with server.client() as redis:
        app = make_app(redis=server.url, timeout=7, heartbeat_ttl=60)
        gate = threading.Event()

        class GateJob(app.Job):
            def perform(self):
                gate.wait(20)

        runner = run(app)
        GateJob.perform_async()
        wait_until(lambda: runner.busy)
        redis.config_set("min-replicas-to-write", 1)
        gate.set()
        wait_until(lambda: "no jobs are fetched" in log.getvalue())
        stop = threading.Thread(target=runner.stop)
        stop.start()
        sleep(4.7)  # where Redis is away, 2.5 s are kept for the end
        redis.config_set("min-replicas-to-write", 0)
        stop.join(20)
        assert redis.get("stat:processed") == b"1"
        assert not redis.exists("lua:owners")
        assert not list(redis.scan_iter("lua:running:*"))
