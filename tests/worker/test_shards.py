"""One worker on two Redis servers."""

import json
import os
import threading
import time

import pytest
from proxy import Proxy
from redis.exceptions import ResponseError
from waiting import wait_until

from sidekiq_lua import MetricsQuery, ProcessSet, Queue, RetrySet, ScheduledSet, Stats
from sidekiq_lua.errors import ConfigurationError, RedisUnavailable

QUICK = {"socket_timeout": 1, "connect_timeout": 1}


@pytest.fixture
def other(make_server):
    return make_server()


@pytest.fixture
def away(other):
    """A client of the other server."""
    with other.client() as client:
        yield client


@pytest.fixture
def make_sharded(make_app, url, other):
    """Instances with a capsule on the other server, which is the pool `eu`."""

    def make(**settings):
        pools = {"eu": {"url": other.url, **QUICK}}
        app = make_app(concurrency=2, **{"redis": {"url": url, **QUICK}, "pools": pools, **settings})
        app.config.capsule("europe", queues=["default", "low"], concurrency=3, pool="eu")
        return app

    return make


@pytest.fixture
def sharded(make_sharded):
    return make_sharded()


@pytest.fixture
def gate():
    made = threading.Event()
    yield made
    made.set()


def noting(app):
    """A job class that notes its arguments; they are answered."""
    seen = []

    class NoteJob(app.Job):
        def perform(self, text):
            seen.append(text)

    return NoteJob, seen


def is_empty(client):
    return not client.smembers("processes") and not client.hlen("lua:owners") and not leftovers(client)


def leftovers(client):
    return list(client.scan_iter("lua:running:*"))


def test_jobs_of_both_servers_run_and_are_counted_where_they_were(sharded, run, redis, away):
    note, seen = noting(sharded)
    note.perform_async("here")
    note.set(pool="eu").perform_async("eu")
    with sharded.client.via("eu"):
        note.set(queue="low").perform_async("eu low")
    eu = sharded.shard("eu")
    runner = run(sharded)
    wait_until(lambda: sorted(seen) == ["eu", "eu low", "here"])
    for app, server, concurrency, queues in (
        (sharded, redis, 2, ["default"]),
        (eu, away, 3, ["default", "low"]),
    ):
        [process] = ProcessSet(app)
        assert (process.identity, process.queues) == (runner.identity, queues)
        assert (process["concurrency"], process["pid"]) == (concurrency, os.getpid())
        assert len(server.hkeys("lua:owners")) == 1
    runner.stop()
    assert (Stats(sharded).processed, Stats(eu).processed) == (1, 2)
    runs = [MetricsQuery(app).for_job("NoteJob").job_results["NoteJob"].totals["p"] for app in (sharded, eu)]
    assert runs == [1, 2]
    assert is_empty(redis)
    assert is_empty(away)


def test_retries_and_scheduled_jobs_stay_on_their_server(sharded, run, redis, away):
    tries = []

    class OnceJob(sharded.Job):
        sidekiq_options = {"retry": 3}

        def perform(self, text):
            tries.append(text)
            if tries.count(text) == 1:
                raise ValueError(text)

    OnceJob.retry_in(lambda count, error, payload: 3600)
    OnceJob.perform_async("here")
    OnceJob.set(pool="eu").perform_async("eu")
    OnceJob.perform_in(3600, "later here")
    OnceJob.set(pool="eu").perform_in(3600, "later eu")
    run(sharded)
    both = [sharded, sharded.shard("eu")]
    wait_until(lambda: [len(RetrySet(app)) for app in both] == [1, 1])
    assert [[entry.args for entry in RetrySet(app)] for app in both] == [[["here"]], [["eu"]]]
    assert [[entry.args for entry in ScheduledSet(app)] for app in both] == [[["later here"]], [["later eu"]]]
    for name in ("retry", "schedule"):  # due now
        for client in (redis, away):
            for member in client.zrange(name, 0, -1):
                client.zadd(name, {member: time.time() - 1})
    wait_until(lambda: tries.count("here") == tries.count("eu") == 2)
    wait_until(lambda: [len(RetrySet(app)) for app in both] == [1, 1])
    assert [[entry.args for entry in RetrySet(app)] for app in both] == [[["later here"]], [["later eu"]]]


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_job_pushes_goes_to_its_own_server(sharded, run, redis, away, is_async):
    lengths = []
    deaths = []

    class ElsewhereJob(sharded.Job):
        sidekiq_options = {"queue": "away", "pool": "eu"}

        def perform(self): ...

    def act():
        sharded.client.push({"class": "ChildJob", "args": [], "queue": "children"})
        sharded.client.push({"class": "ChildJob", "args": [], "queue": "named", "pool": "default"})
        with sharded.client.via("default"):
            sharded.client.push({"class": "ChildJob", "args": [], "queue": "via"})
        ElsewhereJob.perform_async()
        lengths.append(sharded.here().transport().endpoint.url)

    if is_async:

        class ParentJob(sharded.Job):
            sidekiq_options = {"retry": False}

            async def perform(self):
                act()
                raise ValueError

    else:

        class ParentJob(sharded.Job):
            sidekiq_options = {"retry": False}

            def perform(self):
                act()
                raise ValueError

    @sharded.config.death_handler
    def buried(job, error):
        deaths.append(job["class"])
        sharded.client.push({"class": "ChildJob", "args": [], "queue": "deaths"})

    ParentJob.set(pool="eu").perform_async()
    runner = run(sharded)
    wait_until(lambda: deaths)
    runner.stop()
    names = ("children", "named", "via", "away", "deaths")
    assert [away.llen(f"queue:{name}") for name in names] == [1, 0, 0, 1, 1]
    assert [redis.llen(f"queue:{name}") for name in names] == [0, 1, 1, 0, 0]
    assert lengths == [sharded.config.pools["eu"]["url"]]
    assert sharded.home.get() is None


def test_an_iterable_job_keeps_its_state_on_its_own_server(sharded, run, redis, away, gate):
    done = []

    class CountJob(sharded.IterableJob):
        def build_enumerator(self, *, cursor):
            return ((n, n + 1) for n in range(cursor or 0, 3))

        def each_iteration(self, n):
            if n == 1 and not done.count(1):
                done.append(n)
                gate.wait(10)
                raise ValueError
            done.append(n)

    CountJob.set(pool="eu").perform_async()
    run(sharded)
    wait_until(lambda: 1 in done)
    gate.set()
    wait_until(lambda: len(RetrySet(sharded.shard("eu"))) == 1)
    assert list(away.scan_iter("it-*"))
    assert not list(redis.scan_iter("it-*"))


def test_one_server_dies_and_the_other_one_goes_on(make_sharded, run, other, redis):
    app = make_sharded(health="127.0.0.1:0", heartbeat_ttl=4)
    note, seen = noting(app)
    runner = run(app)
    wait_until(lambda: not runner.unready())
    other.kill()
    wait_until(lambda: any(why.startswith(("eu: Redis", "europe: Redis")) for why in runner.unready()))
    note.perform_bulk([[n] for n in range(100)])
    wait_until(lambda: len(seen) == 100)
    assert not runner.unwell()
    with pytest.raises(RedisUnavailable):
        note.set(pool="eu").perform_async("lost")
    other.restart()
    note.set(pool="eu").perform_async("back")
    wait_until(lambda: "back" in seen, 15)
    wait_until(lambda: not runner.unready(), 15)
    runner.stop()
    assert is_empty(redis)


def test_a_stop_while_one_server_is_away_signs_off_from_the_other(make_sharded, run, other, redis, log):
    app = make_sharded(timeout=2)
    note, seen = noting(app)
    runner = run(app)
    note.perform_async("here")
    wait_until(lambda: seen)
    other.kill()
    runner.stop()
    assert is_empty(redis)
    assert "Redis is away: the process cannot sign off" in log.getvalue()


def test_a_server_that_is_away_at_the_start_is_waited_for(make_sharded, run, other, log, away):
    other.kill()
    app = make_sharded()
    note, seen = noting(app)
    note.perform_async("here")
    runner = run(app)
    wait_until(lambda: seen == ["here"])
    assert "eu, its capsules begin when it is back" in log.getvalue()
    assert runner.unready() == ["eu: Redis was not there yet"]
    assert not runner.unwell()
    other.restart()
    note.set(pool="eu").perform_async("eu")
    wait_until(lambda: seen == ["here", "eu"])
    wait_until(lambda: not runner.unready())
    assert "eu is there, its capsules begin" in log.getvalue()
    runner.stop()
    assert is_empty(away)


@pytest.fixture(params=["NOREPLICAS", "MASTERDOWN", "BUSY"])
def not_ready(request, other, away):
    """What the other server answers for now, and how to end that."""
    code = request.param
    if code == "NOREPLICAS":
        away.config_set("min-replicas-to-write", 1)
        return code, lambda: away.config_set("min-replicas-to-write", 0)
    if code == "MASTERDOWN":
        away.config_set("replica-serve-stale-data", "no")
        away.replicaof("127.0.0.1", 1)
        return code, lambda: away.replicaof("NO", "ONE")
    away.config_set("busy-reply-threshold", 10)
    thread = threading.Thread(target=_hang, args=[other])
    thread.start()
    wait_until(lambda: _is_busy(away))
    return code, lambda: (away.script_kill(), thread.join())


def _hang(server):
    with server.client(socket_timeout=60) as foreign, pytest.raises(ResponseError, match="killed by user"):
        foreign.eval("while true do end", 0)


def _is_busy(redis):
    try:
        redis.ping()
    except ResponseError as error:
        return str(error).startswith("BUSY")
    return False


def test_a_server_that_is_not_ready_at_the_start_is_waited_for(make_sharded, run, log, away, not_ready):
    code, end = not_ready
    app = make_sharded()
    note, seen = noting(app)
    note.perform_async("here")
    try:
        runner = run(app)
        wait_until(lambda: seen == ["here"])
    finally:
        end()
    assert code in log.getvalue()
    assert "cannot be checked" not in log.getvalue()
    note.set(pool="eu").perform_async("eu")
    wait_until(lambda: seen == ["here", "eu"])
    runner.stop()
    assert is_empty(away)


def test_a_server_that_refuses_the_login_is_not_waited_for(make_sharded, run, away, other, redis):
    """docs/capsules.md: only absence is. Else a wrong password would look like an outage, for ever."""
    away.execute_command("ACL", "SETUSER", "default", "resetpass", ">right")
    app = make_sharded(pools={"eu": {"url": other.url, "password": "wrong", **QUICK}})
    with pytest.raises(RedisUnavailable, match="refused the login"):
        run(app)
    assert is_empty(redis)


def test_a_worker_whose_second_server_never_came_stops(make_sharded, run, other, redis):
    other.kill()
    runner = run(make_sharded())
    runner.quiet()
    runner.stop()
    other.restart()
    with other.client() as client:
        assert is_empty(client)
    assert is_empty(redis)


def test_no_server_at_all_is_an_error(make_sharded, other):
    other.kill()
    app = make_sharded(redis="redis://127.0.0.1:1/0")
    with pytest.raises(RedisUnavailable):
        app.run()


def test_a_word_through_either_server_reaches_the_whole_worker(sharded, run, redis):
    runner = run(sharded)
    [process] = ProcessSet(sharded.shard("eu"))
    process.quiet()
    wait_until(lambda: redis.hget(runner.identity, "quiet") == b"true")
    process.stop()
    assert runner.wait(10)


def test_two_names_of_one_database_are_one_server(make_app, run, redis, url):
    app = make_app(pools={"same": {"url": url}, "again": {"url": url}})
    app.config.capsule("a", queues=["a"], pool="same")
    app.config.capsule("b", queues=["b"], pool="again")
    note, seen = noting(app)
    runner = run(app)
    note.perform_async(1)
    note.set(queue="a").perform_async(2)
    note.set(queue="b", pool="again").perform_async(3)
    wait_until(lambda: sorted(seen) == [1, 2, 3])
    [process] = ProcessSet(app)
    assert (process.queues, process["concurrency"]) == (["default", "a", "b"], 15)
    assert list(json.loads(redis.hget(runner.identity, "info"))["capsules"]) == ["default", "a", "b"]


def test_a_paused_queue_of_one_server_does_not_stop_that_of_the_other(sharded, run):
    note, seen = noting(sharded)
    Queue("default", sharded.shard("eu")).pause()
    note.set(pool="eu").perform_async("eu")
    run(sharded)
    note.perform_async("here")
    wait_until(lambda: seen == ["here"])
    assert len(Queue("default", sharded.shard("eu"))) == 1


def test_an_unknown_pool_is_told_before_anything_starts(make_app):
    app = make_app(pools={"eu": {"url": "redis://x"}})
    app.config.capsule("a", queues=["a"], pool="us")
    with pytest.raises(ConfigurationError, match=r"capsule 'a': no Redis pool is called 'us'.*has: eu"):
        app.run()


def test_a_silent_server_holds_up_nobody_else(make_sharded, run, other, redis, away):
    """It neither answers nor closes a connection: only who asks finds out."""
    with Proxy(other.port) as proxy:
        app = make_sharded(pools={"eu": {"url": proxy.url, **QUICK, "socket_timeout": 0.5}}, timeout=2)
        note, seen = noting(app)
        runner = run(app)
        note.set(pool="eu").perform_async("eu")
        wait_until(lambda: seen == ["eu"])
        proxy.silence()
        wait_until(lambda: runner.unready())
        note.perform_bulk([[n] for n in range(100)])
        wait_until(lambda: len(seen) == 101)
        assert [why for why in runner.unready() if not why.startswith(("eu", "europe"))] == []
        runner.stop()
        assert is_empty(redis)
        assert away.smembers("processes") == {runner.identity.encode()}
