"""`/livez` and `/readyz`: what a worker answers to probes."""

import gc
import json
import re
import socket
import threading
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest
from proxy import Proxy
from waiting import wait_until

from sidekiq_lua.errors import ConfigurationError
from sidekiq_lua.worker import vitals
from sidekiq_lua.worker.health import HealthServer


def get(runner, path):
    """Status and body of an answer."""
    try:
        with urllib.request.urlopen(runner.health_url + path, timeout=10) as reply:
            return reply.status, json.load(reply)
    except HTTPError as error:
        return error.code, json.load(error)


def status(runner, path="/readyz"):
    return get(runner, path)[0]


@pytest.fixture
def healthy(make_app, run):
    """Start a worker with endpoints on a free port."""

    def start(**settings):
        return run(make_app(health="127.0.0.1:0", **settings))

    return start


@pytest.fixture
def hasty(monkeypatch):
    """So that a test need not wait for 5 s."""
    monkeypatch.setattr(vitals, "FRESH_S", 0.2)


def let_time_pass(runner):
    """The worker waits for jobs, and has fetched none for long."""
    (station,) = runner._launcher.stations
    wait_until(lambda: all(move.armed for move in station.waiter._moves))
    station.exchange.last_answer -= 100


@pytest.fixture
def proxy(server, redis):
    with Proxy(server.port) as made:
        yield made


def test_a_worker_that_waits_is_live_and_ready(healthy):
    runner = healthy(concurrency=3)
    assert runner.health_url.startswith("http://127.0.0.1:")
    told = {"identity": runner.identity, "busy": 0, "concurrency": 3}
    assert get(runner, "/livez") == (200, {"status": "live", **told})
    assert get(runner, "/readyz?probe=1") == (200, {"status": "ready", **told})


def test_after_a_while_without_jobs_the_server_is_asked_whether_it_waits(healthy, hasty, redis):
    runner = healthy(queues=["a", "b"], heartbeat_ttl=60)
    let_time_pass(runner)
    assert status(runner) == 200
    # The server forgets one of the two, and the worker is not told: it answers to nobody but the server.
    waiter = runner._launcher.stations[0].waiter
    known, waiter._moves[1].client_id = waiter._moves[1].client_id, 10**9
    code, body = get(runner, "/readyz")
    waiter._moves[1].client_id = known  # else the stop would wait until the move's time is over
    assert code == 503
    assert "the server does not know that it waits" in body["why"][0]


def test_who_may_not_ask_for_connections_is_believed(healthy, hasty, server, redis, request):
    redis.execute_command("ACL", "SETUSER", "half", "on", ">secret", "~*", "+@all", "-client|list")
    request.addfinalizer(lambda: redis.execute_command("ACL", "DELUSER", "half"))
    runner = healthy(redis={"url": server.url, "username": "half", "password": "secret"}, heartbeat_ttl=60)
    let_time_pass(runner)
    assert status(runner) == 200


def test_a_busy_worker_is_ready_however_long_its_jobs_take(make_app, run, hasty):
    app = make_app(health="127.0.0.1:0", concurrency=1)
    gate = threading.Event()

    class GateJob(app.Job):
        def perform(self):
            gate.wait(20)

    runner = run(app)
    GateJob.perform_async()
    wait_until(lambda: runner.busy == 1)
    runner._launcher.stations[0].exchange.last_answer -= 100
    code, body = get(runner, "/readyz")
    gate.set()
    assert (code, body["busy"]) == (200, 1)


def test_paused_queues_do_not_make_it_unready(make_app, run, redis):
    redis.sadd("paused", "default")
    app = make_app(health="127.0.0.1:0")
    app.transport().run(app.store.queues.push("default", [b"{}"]))
    runner = run(app)
    wait_until(lambda: runner._launcher.stations[0].exchange.paused)
    assert status(runner) == 200


def test_a_quiet_worker_is_live_and_not_ready(healthy):
    runner = healthy()
    runner.quiet()
    assert get(runner, "/readyz")[1]["why"] == ["it is quiet"]
    assert status(runner, "/livez") == 200


def test_a_stopping_worker_is_live_and_not_ready_and_then_the_port_is_closed(make_app, run):
    app = make_app(health="127.0.0.1:0")
    gate = threading.Event()

    class GateJob(app.Job):
        def perform(self):
            gate.wait(20)

    runner = run(app)
    GateJob.perform_async()
    wait_until(lambda: runner.busy == 1)
    url = runner.health_url
    stopper = threading.Thread(target=runner.stop)
    stopper.start()
    wait_until(lambda: get(runner, "/readyz")[1].get("why") == ["it is stopping"])
    assert status(runner) == 503
    assert status(runner, "/livez") == 200
    gate.set()
    stopper.join()
    assert runner.health_url is None
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/livez", timeout=10)


def test_an_outage_makes_it_unready_and_the_return_ready(healthy, make_server, redis):
    server = make_server()
    runner = healthy(redis=server.url)
    assert status(runner) == 200
    server.kill()
    wait_until(lambda: status(runner) == 503)
    assert "Redis" in get(runner, "/readyz")[1]["why"][0]
    assert status(runner, "/livez") == 200
    server.restart()
    wait_until(lambda: status(runner) == 200, 5)


def test_a_silent_network_makes_it_unready(healthy, proxy):
    """Nothing closes the connections: only who asks finds out."""
    runner = healthy(redis={"url": proxy.url, "socket_timeout": 0.5}, heartbeat_ttl=60, heartbeat_interval=20)
    assert status(runner) == 200
    let_time_pass(runner)
    proxy.silence()
    assert "Redis does not answer" in get(runner, "/readyz")[1]["why"][0]


def test_a_thread_that_has_ended_makes_it_dead(healthy, monkeypatch):
    runner = healthy()
    launcher = runner._launcher
    launcher.branches[0].recovery.stop()
    wait_until(lambda: not launcher.branches[0].recovery.runs)
    assert get(runner, "/livez")[1]["why"] == ["the recovery has ended"]
    monkeypatch.setattr(
        launcher.branches[0].heartbeat, "turned_at", launcher.branches[0].heartbeat.turned_at - 1000
    )
    launcher.branches[0].heartbeat.stop()
    wait_until(lambda: not launcher.branches[0].heartbeat.runs)
    assert re.search(r"the heartbeat has not come round for 10\d\d s", str(get(runner, "/livez")[1]["why"]))


def test_other_paths(make_app, run):
    app = make_app(health="127.0.0.1:0")
    app.health_routes["/metrics"] = lambda: (200, "application/json", b"[1]")
    app.health_routes["/broken"] = lambda: 1 / 0
    runner = run(app)
    assert get(runner, "/metrics") == (200, [1])
    assert get(runner, "/broken") == (
        500,
        {"status": "failed", "why": ["ZeroDivisionError: division by zero"]},
    )
    paths = ["/broken", "/livez", "/metrics", "/readyz"]
    assert get(runner, "/") == (404, {"status": "not found", "paths": paths})


def test_head_and_other_methods(healthy):
    runner = healthy()
    url = f"{runner.health_url}/livez"
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10) as reply:
        assert (reply.status, reply.read()) == (200, b"")
        assert int(reply.headers["Content-Length"]) > 0
    with pytest.raises(HTTPError, match="501"):
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10)


def test_a_client_that_says_nothing_keeps_nobody_waiting(healthy):
    runner = healthy()
    port = int(runner.health_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):
        assert status(runner) == 200


def test_probes_are_answered_where_no_thread_can_be_started(healthy, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    runner = healthy()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert [status(runner, "/livez") for _ in range(20)] == [200] * 20
    assert status(runner, "/livez") == 200


def test_a_port_that_is_taken(make_app, redis):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        app = make_app(health=port)
        with pytest.raises(
            ConfigurationError, match=rf"^health: nothing can listen on 127\.0\.0\.1:{port}: "
        ):
            app.run()
    assert redis.dbsize() == 0
    assert not [t for t in threading.enumerate() if t.name == "sidekiq.health"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks up open files in /proc")
def test_starts_that_fail_leave_no_file_open(make_app):
    """Each left the one of its marks: an embedded worker may be tried again and again."""

    def marks():
        gc.collect()  # the map of a file that is closed keeps it open, too
        files = [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
        return sum("sidekiq-lua-marks" in str(fd.readlink()) for fd in files)

    counts = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        app = make_app(health=f"127.0.0.1:{taken.getsockname()[1]}")
        for _ in range(4):
            with pytest.raises(ConfigurationError):
                app.run()
            counts.append(marks())
    assert counts[0] == counts[-1]


def test_a_restart_listens_again(healthy):
    runner = healthy()
    identity = runner.identity
    runner.restart()
    assert get(runner, "/readyz")[1]["identity"] != identity


def test_version_6_of_the_protocol(app):
    server = HealthServer("[::1]:0", {}, app.logger, app.handle_exception)
    assert server.url.startswith("http://[::1]:")
    server.stop()


@pytest.mark.parametrize(
    "value", ["", "host", "host:", ":x", "a b:1", "h:70000", -1, True, 1.5, "http://h:1/"]
)
def test_what_health_takes(make_app, value):
    with pytest.raises(ConfigurationError, match=r"^health must be HOST:PORT or a port"):
        make_app(health=value)


@pytest.mark.parametrize(
    ("value", "kept"), [(7433, "127.0.0.1:7433"), (":7433", "127.0.0.1:7433"), ("0.0.0.0:1", "0.0.0.0:1")]
)
def test_what_becomes_of_it(make_app, value, kept):
    assert make_app(health=value).config.health == kept
