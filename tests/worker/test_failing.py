"""Jobs that fail: retries, hooks, death, discard, and what no handler may break."""

import asyncio
from datetime import UTC, datetime

import pytest
from waiting import wait_until

from sidekiq_lua.payload import Codec


def load(raw):
    return Codec().load(raw)


@pytest.fixture
def deaths(app):
    seen = []
    app.config.death_handlers.append(lambda payload, error: seen.append((payload, error)))
    return seen


@pytest.fixture
def errors(app):
    seen = []
    app.config.error_handlers.append(lambda error, context, config: seen.append((error, context, config)))
    return seen


@pytest.fixture(params=["sync", "async"])
def failing(request, app):
    """A job class that always fails, `def` or `async def`."""

    def make(**options):
        if request.param == "sync":

            class FailJob(app.Job):
                sidekiq_options = options

                def perform(self, *args):
                    raise ValueError("boom")
        else:

            class FailJob(app.Job):
                sidekiq_options = options

                async def perform(self, *args):
                    await asyncio.sleep(0)
                    raise ValueError("boom")

        return FailJob

    return make


def test_a_failed_job_is_in_the_retry_set_and_counted(app, run, redis, failing, errors):
    job = failing(backtrace=True)
    jid = job.perform_async(1)
    app.config.poll_interval_average = 60
    run(app)
    ((raw, due),) = wait_until(lambda: redis.zrange("retry", 0, -1, withscores=True))
    stored = load(raw)
    assert (stored["jid"], stored["retry_count"], stored["error_class"]) == (jid, 0, "ValueError")
    assert 15 <= due - stored["failed_at"] / 1000 < 25.1
    wait_until(lambda: errors)
    ((error, context, config),) = errors
    assert (str(error), context["context"], context["job"]["jid"]) == ("boom", "Job raised exception", jid)
    assert config is app.config
    wait_until(lambda: (redis.get("stat:processed"), redis.get("stat:failed")) == (b"1", b"1"))


def test_equal_jobs_without_a_jid_that_fail_at_once_are_all_tried_again(app, run, redis, failing):
    """Other writers may leave the jid out, and a sorted set holds equal texts once."""
    failing()
    app.config.poll_interval_average = 60
    redis.rpush("queue:default", *[b'{"class":"FailJob","args":[]}'] * 200)
    run(app)
    wait_until(lambda: redis.get("stat:failed") == b"200")
    assert redis.zcard("retry") == 200
    assert len({load(raw)["jid"] for raw in redis.zrange("retry", 0, -1)}) == 200


@pytest.mark.parametrize("stored", ["", ',"retry":null'])
def test_a_job_without_retry_keeps_the_limit_of_its_class(app, run, redis, failing, stored):
    """Other writers may leave it out; whoever moves a due job then writes that of any job, 25 tries."""
    failing(retry=1)
    redis.rpush("queue:default", b'{"class":"FailJob","args":[],"jid":"j"%b}' % stored.encode())
    run(app)
    [raw] = wait_until(lambda: redis.zrange("retry", 0, -1))
    assert load(raw)["retry"] == 1
    redis.zadd("retry", {raw: 1}, xx=True)
    [dead] = wait_until(lambda: redis.zrange("dead", 0, -1))
    assert (load(dead)["retry"], load(dead)["retry_count"]) == (1, 1)


def test_a_retry_that_succeeds(app, run, redis):
    runs = []

    class FlakyJob(app.Job):
        @staticmethod
        def sidekiq_retry_in(count, error, payload):
            return 1

        def perform(self):
            runs.append(self.jid)
            if len(runs) == 1:
                raise ValueError("first try")

    app.config.max_retries = 25
    jid = FlakyJob.perform_async()
    run(app)
    (raw,) = wait_until(lambda: redis.zrange("retry", 0, -1))
    redis.zadd("retry", {raw: 1.0}, xx=True)  # it may be due already, and gone
    wait_until(lambda: redis.get("stat:processed") == b"2")
    assert runs == [jid, jid]
    assert redis.get("stat:failed") == b"1"
    assert redis.zcard("retry") == 0


def test_exhausted_hook_then_dead_set_then_death_handlers_then_error_handlers(app, run, redis, failing):
    order = []
    job = failing(retry=0)

    @job.retries_exhausted
    def exhausted(payload, error):
        order.append(("exhausted", redis.zcard("dead"), str(error)))

    app.config.death_handlers.append(lambda payload, error: order.append(("death", redis.zcard("dead"))))
    app.config.error_handlers.append(lambda *args: order.append("error"))
    jid = job.perform_async()
    run(app)
    wait_until(lambda: len(order) == 3)
    assert order == [("exhausted", 0, "boom"), ("death", 1), "error"]
    (raw,) = redis.zrange("dead", 0, -1)
    assert load(raw)["jid"] == jid


@pytest.mark.parametrize(
    "how", ["dead_false", "exhausted_says_discard", "retry_in_says_discard", "retry_false"]
)
def test_discarded_jobs_are_seen_by_death_handlers_and_stored_nowhere(app, run, redis, failing, deaths, how):
    job = failing(
        **{"dead_false": {"retry": 0, "dead": False}, "retry_false": {"retry": False}}.get(how, {"retry": 0})
    )
    if how == "exhausted_says_discard":
        job.retries_exhausted(lambda payload, error: "discard")
    if how == "retry_in_says_discard":
        job.set_sidekiq_options(retry=5)
        job.retry_in(lambda count, error, payload: "discard")
    jid = job.perform_async()
    run(app)
    wait_until(lambda: deaths and redis.get("stat:failed"))
    ((payload, error),) = deaths
    assert (payload["jid"], str(error)) == (jid, "boom")
    assert ("discarded_at" in payload) == (how != "retry_false")
    assert redis.zcard("dead") == redis.zcard("retry") == redis.llen("queue:default") == 0
    assert not list(redis.scan_iter("lua:running:*"))


def test_retry_in_says_kill(app, run, redis, failing, deaths):
    job = failing()
    job.retry_in(lambda count, error, payload: "kill")
    job.perform_async()
    run(app)
    wait_until(lambda: deaths)
    assert redis.zcard("dead") == 1


def test_broken_hooks_and_handlers_stop_nothing(app, run, redis, failing, errors):
    job = failing(retry=0)

    def broken(*args):
        raise RuntimeError("broken hook")

    job.retries_exhausted(broken)
    app.config.error_handlers.insert(0, broken)
    app.config.death_handlers.append(broken)
    job.perform_async()
    run(app)
    wait_until(lambda: [context["context"] for _, context, _ in errors][-1:] == ["Job raised exception"])
    assert [context["context"] for _, context, _ in errors] == [
        "Error calling retries_exhausted",
        "Error calling death handler",
        "Job raised exception",
    ]
    assert redis.zcard("dead") == 1


@pytest.mark.parametrize(
    "raw", [b'{"bad json', b"\xff\xfe", b"[1]", b'{"class":1,"args":[]}', b'{"class":"A"}', b"{}"]
)
def test_what_is_no_job_goes_to_the_dead_set_as_it_is_and_is_not_counted(app, run, redis, errors, raw):
    redis.lpush("queue:default", raw)
    run(app)
    assert wait_until(lambda: redis.zrange("dead", 0, -1)) == [raw]
    wait_until(lambda: errors)
    assert errors[0][1]["context"] == "Invalid JSON for job"
    assert errors[0][1]["jobstr"] == raw.decode("utf-8", "backslashreplace")
    assert redis.get("stat:processed") is None
    assert not list(redis.scan_iter("lua:running:*"))


def test_an_unknown_class_is_retried_and_never_imported(app, run, redis, errors):
    app.config.poll_interval_average = 60
    redis.lpush("queue:default", b'{"class":"os.path","args":[],"jid":"a","retry":true}')
    run(app)
    (raw,) = wait_until(lambda: redis.zrange("retry", 0, -1))
    assert load(raw)["error_class"] == "sidekiq_lua.errors.UnknownJobClass"
    assert "'os.path'" in load(raw)["error_message"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_errors_that_end_programs_are_the_jobs_failure(app, run, redis, error):
    class ExitJob(app.Job):
        sidekiq_options = {"retry": 0}

        def perform(self):
            raise error

    class AsyncExitJob(app.Job):
        sidekiq_options = {"retry": 0}

        async def perform(self):
            raise error

    ExitJob.perform_async()
    AsyncExitJob.perform_async()
    run(app)
    wait_until(lambda: redis.zcard("dead") == 2)
    assert {load(raw)["error_class"] for raw in redis.zrange("dead", 0, -1)} == {type(error).__name__}

    class FineJob(app.Job):
        async def perform(self):
            return

    FineJob.perform_async()
    wait_until(lambda: redis.get("stat:processed") == b"3")


def test_the_dead_set_is_trimmed_by_count_and_age(make_app, run, redis):
    app = make_app(dead_max_jobs=3, dead_timeout_in_seconds=100)

    class DieJob(app.Job):
        sidekiq_options = {"retry": 0}

        def perform(self, n):
            raise ValueError(n)

    redis.zadd("dead", {"old": app.clock.now() - 101})
    DieJob.perform_bulk([[n] for n in range(5)])
    run(app)
    wait_until(lambda: redis.get("stat:failed") == b"5")
    assert redis.zcard("dead") == 2
    assert redis.zscore("dead", "old") is None


def test_a_job_that_cannot_be_written_again_is_buried_as_it_was(app, run, redis, errors):
    """1e400 is read as infinity, which JSON does not have."""

    class FailJob(app.Job):
        def perform(self, n):
            raise ValueError(n)

    raw = b'{"class":"FailJob","args":[1e400],"jid":"a","retry":true}'
    redis.lpush("queue:default", raw)
    run(app)
    assert wait_until(lambda: redis.zrange("dead", 0, -1)) == [raw]


@pytest.mark.parametrize("wish", [datetime(2030, 1, 1, tzinfo=UTC), "100", True])
def test_what_is_no_answer_of_retry_in_is_told(app, run, redis, failing, errors, wish):
    job = failing()
    job.retry_in(lambda count, error, payload: wish)
    job.perform_async()
    run(app)
    wait_until(lambda: redis.zcard("retry") == 1)
    (told,) = [error for error, context, _ in errors if "the default delay is taken" in context["context"]]
    assert str(told) == f"it answered {wish!r}, not seconds, 'discard', 'kill' or None"


def test_a_hook_that_wants_to_end_the_program_ends_nothing(app, run, redis, failing, errors, deaths):
    """Nor the job's retries, nor what is to be known of its error."""

    def leave(*args):
        raise SystemExit(1)

    retried = failing()
    retried.retry_in(leave)
    retried.retries_exhausted(leave)
    jid = retried.perform_async()
    last = retried.set(retry=0).perform_async()
    run(app)
    (later,) = wait_until(lambda: redis.zrange("retry", 0, -1))
    (dead,) = wait_until(lambda: redis.zrange("dead", 0, -1))
    assert (load(later)["jid"], load(later)["retry_count"]) == (jid, 0)
    assert (load(dead)["jid"], load(dead)["error_class"]) == (last, load(later)["error_class"])
    wait_until(lambda: deaths and len(errors) == 4)
    told = sorted(context["context"] for _, context, _ in errors)
    assert told[0] == "Error calling retries_exhausted"
    assert "the default delay is taken" in told[-1]
    assert not list(redis.scan_iter("lua:running:*"))


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("line", ["start", "done", "fail"])
def test_a_log_filter_that_breaks_leaves_no_job_where_it_is(app, run, redis, errors, kind, line):
    def strict(record):
        if record.getMessage() == line:
            raise TypeError("what is this?")
        return True

    if kind == "sync":

        class HalfJob(app.Job):
            def perform(self, fails):
                if fails:
                    raise ValueError
    else:

        class HalfJob(app.Job):
            async def perform(self, fails):
                if fails:
                    raise ValueError

    app.logger.addFilter(strict)
    try:
        HalfJob.perform_bulk([[True], [False]])
        runner = run(app)
        wait_until(lambda: "Internal exception!" in [context["context"] for _, context, _ in errors])
        wait_until(
            lambda: redis.zcard("dead") + redis.zcard("retry") == {"start": 2, "done": 2, "fail": 1}[line]
        )
        wait_until(lambda: runner._launcher.stations[0].idle)
        wait_until(lambda: not list(redis.scan_iter("lua:running:*")))
    finally:
        app.logger.removeFilter(strict)
