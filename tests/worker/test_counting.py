"""What a worker writes down of its scripts, for `sidekiq-lua scripts`."""

import threading

from waiting import wait_until

from sidekiq_lua.errors import LostReply
from sidekiq_lua.store.script_counts import read
from sidekiq_lua.store.scripts import library
from sidekiq_lua.worker import counting
from sidekiq_lua.worker.counting import CountsFlusher
from sidekiq_lua.worker.failure import ErrorReporter


def written(redis):
    scripts = read([part for pair in redis.hgetall("lua:script_counts").items() for part in pair]).scripts
    return {name: scripts[script.sha] for name, script in library().items() if script.sha in scripts}


def test_a_worker_that_ends_has_written_its_counts(app, run, redis):
    ran = threading.Event()

    class CountedJob(app.Job):
        def perform(self):
            ran.set()

    runner = run(app)
    CountedJob.perform_async()
    assert ran.wait(10)
    runner.stop()

    found = written(redis)
    assert found["push"]["calls"] == found["leave"]["calls"] == found["announce"]["calls"] == 1
    assert found["beat"]["calls"] >= 1
    assert sum(counts["failures"] + counts["fenced"] for counts in found.values()) == 0


def test_a_fenced_result_is_written_with_the_next_beat(app, run, redis):
    gate, runs = threading.Event(), []

    class ZombieJob(app.Job):
        def perform(self):
            runs.append(1)
            if len(runs) == 1:
                gate.wait(10)

    run(app)
    ZombieJob.perform_async()
    wait_until(lambda: runs)
    (running,) = redis.scan_iter("lua:running:*")
    redis.lmove(running.decode(), "queue:default", "RIGHT", "RIGHT")
    wait_until(lambda: len(runs) == 2)
    gate.set()

    wait_until(lambda: sum(counts["fenced"] for counts in written(redis).values()) == 1)
    assert {name for name, counts in written(redis).items() if counts["fenced"]} <= {"ack", "ack_and_fetch"}


def flusher(app):
    return CountsFlusher(app, app.transport(), ErrorReporter(app))


def test_calls_alone_are_written_once_a_minute(app, redis, monkeypatch):
    writer, counts = flusher(app), app.transport().counts
    counts.calls["push"] += 1
    writer.beat()
    assert written(redis) == {}
    monkeypatch.setattr(counting, "EACH_S", 0.0)
    writer.beat()
    assert written(redis)["push"]["calls"] == 1
    before = counts.calls["count_scripts"]
    counts.settle(counts.news())
    writer.flush()
    assert counts.calls["count_scripts"] == before, "there was nothing to write"


def test_what_is_refused_is_written_later(app, redis, log):
    writer, counts = flusher(app), app.transport().counts
    redis.set("lua:script_counts", "no hash")
    counts.failures["push"] += 1
    writer.beat()
    writer.flush()
    assert log.getvalue().count("counts of scripts could not be written") == 1
    redis.delete("lua:script_counts")
    writer.beat()
    assert written(redis) == {}, "it is not tried at each beat"
    writer.flush()
    assert written(redis)["push"]["failures"] == 1


def test_a_lost_reply_does_not_count_twice(app, redis, monkeypatch):
    writer, transport = flusher(app), app.transport()
    transport.counts.calls["push"] += 1
    send = transport.run

    def lose(call):
        send(call)
        raise LostReply("lost")

    monkeypatch.setattr(transport, "run", lose)
    writer.flush()
    monkeypatch.undo()
    writer.flush()
    assert written(redis)["push"]["calls"] == 1
