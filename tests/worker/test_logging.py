"""What a worker logs for one job only, and what it tells the error handlers."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
from typing import Any

import pytest
from waiting import wait_until

from sidekiq_lua import Formatters, Sidekiq, SidekiqLogger, log_error
from sidekiq_lua.errors import RedisUnavailable
from sidekiq_lua.worker.heartbeat import Heartbeat
from sidekiq_lua.worker.recovery import Recovery
from sidekiq_lua.worker.scheduler import Scheduler
from sidekiq_lua.worker.waiter import Waiter


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_job_has_a_level_of_its_own(app: Sidekiq, run: Any, log: Any, redis: Any, kind: str) -> None:
    def work(job: Any, text: str) -> None:
        job.logger.debug("debug %s", text)
        job.logger.info("info %s", text)
        job.logger.error("error %s", text)

    if kind == "sync":

        class LogJob(app.Job):  # type: ignore[misc, name-defined]
            def perform(self, text: str) -> None:
                work(self, text)
    else:

        class LogJob(app.Job):  # type: ignore[misc, name-defined, no-redef]
            async def perform(self, text: str) -> None:
                work(self, text)

    for level in ("debug", "error", 3, 0, "loud", None, True):
        LogJob.set(log_level=level).perform_async(f"at {level}.") if level is not None else (
            LogJob.perform_async("at None.")
        )
    LogJob.set_sidekiq_options(log_level="fatal")
    LogJob.perform_async("at fatal.")
    run(app)
    wait_until(lambda: redis.get("stat:processed") == b"8")

    said = log.getvalue()
    found = {
        level: [name for name in ("debug", "info", "error") if f"{name} at {level}." in said]
        for level in ("debug", "error", "3", "0", "loud", "None", "True", "fatal")
    }
    normal, everything = ["info", "error"], ["debug", "info", "error"]
    assert found == {
        "debug": everything, "0": everything, "error": ["error"], "3": ["error"], "fatal": [],
        "loud": normal, "None": normal, "True": normal,
    }  # fmt: skip
    # The lines about a job are part of it: three of the eight are silent.
    assert (said.count(": start"), said.count(": done")) == (5, 5)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_level_of_its_own_does_not_hide_that_a_job_failed(
    app: Sidekiq, run: Any, log: Any, redis: Any, kind: str
) -> None:
    """As in Ruby, where the error handlers run after the job's level has ended."""

    class QuietJob(app.Job):  # type: ignore[misc, name-defined]
        sidekiq_options = {"log_level": "error", "retry": 0}

        if kind == "sync":

            def perform(self) -> None:
                raise ValueError("boom")
        else:

            async def perform(self) -> None:
                raise ValueError("boom")

    jid = QuietJob.perform_async()
    run(app)
    wait_until(lambda: redis.get("stat:failed") == b"1")
    wait_until(lambda: "boom (ValueError)" in log.getvalue())
    assert f'"jid":"{jid}"' in log.getvalue()
    assert (log.getvalue().count(": start"), log.getvalue().count(": fail")) == (0, 0)


def test_errors_are_logged_also_where_a_handler_was_added(app: Sidekiq, run: Any, log: Any) -> None:
    seen = []

    class FailJob(app.Job):  # type: ignore[misc, name-defined]
        def perform(self) -> None:
            raise ValueError("boom")

    @app.config.error_handler
    def broken(error: Any, context: Any, config: Any) -> None:
        raise RuntimeError("broken handler")

    app.config.error_handler(lambda error, context, config: seen.append((error, context, config)))
    jid = FailJob.perform_async()
    FailJob.set(retry=False).perform_async()
    run(app)
    wait_until(lambda: len(seen) == 2)
    error, context, config = next(item for item in seen if item[1]["job"]["jid"] == jid)
    assert (str(error), config) == ("boom", app.config)
    assert (context["context"], context["queue"], context["will_retry"]) == (
        "Job raised exception", "default", True,
    )  # fmt: skip
    assert [c["will_retry"] for _, c, _ in seen if c["job"]["jid"] != jid] == [False]
    lines = [line for line in log.getvalue().splitlines() if "boom (ValueError)" in line]
    assert len(lines) == 2
    assert f'job={{"retry":true,"queue":"default","class":"FailJob","args":[],"jid":"{jid}"' in "".join(lines)
    assert "will_retry" not in log.getvalue()
    assert log.getvalue().count("RuntimeError: broken handler") == 2
    assert log.getvalue().count("an error handler failed") == 2


def test_without_log_error_nothing_is_logged(app: Sidekiq, log: Any) -> None:
    seen = []
    app.config.error_handlers = [lambda error, context, config: seen.append(context)]
    app.handle_exception(ValueError("boom"), {"context": "here"})
    assert (seen, log.getvalue()) == ([{"context": "here"}], "")
    log_error(ValueError("boom"), {"context": "here"}, app.config)
    assert "context=here: boom (ValueError)" in log.getvalue()


def test_what_was_logged_already_is_told_to_the_others_only(app: Sidekiq, log: Any) -> None:
    seen = []
    app.config.error_handler(lambda error, context, config: seen.append(context))
    app.handle_exception(ValueError("boom"), {}, is_logged=True)
    assert (len(seen), log.getvalue()) == (1, "")


def test_every_part_of_a_worker_tells_the_error_handlers(
    app: Sidekiq, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[str] = []

    def bad(*_: Any) -> Any:
        raise ValueError("bad")

    @app.config.error_handler
    def note(error: Any, context: Any, config: Any) -> None:
        contexts.append(context["context"])

    def fails_once(target: type, name: str) -> None:
        original, failed = getattr(target, name), []

        def step(*args: Any) -> Any:
            if not failed:
                failed.append(True)
                bad()
            return original(*args)

        monkeypatch.setattr(target, name, step)

    app.config.health = "127.0.0.1:0"
    app.health_routes["/bad"] = bad
    app.config.on("beat", bad)
    app.config.on("quiet", bad)
    for target, name in ((Recovery, "sweep"), (Scheduler, "enqueue_due"), (Waiter, "_step")):
        fails_once(target, name)
    runner = run(app)
    fails_once(Heartbeat, "beat")
    with pytest.raises(urllib.error.HTTPError, match="500"):
        urllib.request.urlopen(f"{runner.health_url}/bad", timeout=10)
    expected = {
        "the answer to /bad failed",
        "Exception during Sidekiq lifecycle event beat.",
        "Exception during Sidekiq lifecycle event quiet.",
        "the recovery failed, it goes on",
        "the scheduler failed, it goes on",
        "the heartbeat failed, it goes on",
        "the fetcher failed, it goes on in a second",
    }
    late = {"Exception during Sidekiq lifecycle event quiet."}
    wait_until(lambda: expected - late <= set(contexts), what=f"{expected - set(contexts)}")
    runner.quiet()
    assert set(contexts) == expected


def test_a_fetch_that_fails_is_told_once(make_app: Any, run: Any) -> None:
    app = make_app()
    contexts = []
    app.config.error_handler(
        lambda error, context, config: contexts.append((type(error), context["context"]))
    )
    runner = run(app)
    error = RedisUnavailable("away")
    for station in runner._launcher.stations:
        with station.exchange.lock:  # so that the waiter does not bring it back between the two
            station.exchange.fail(error)
            station.exchange.fail(error)
    found = [context for context in contexts if context[0] is RedisUnavailable]
    assert found == [(RedisUnavailable, "Redis does not answer, no jobs are fetched")]


def test_the_default_logger_is_one_for_the_instance_and_its_handlers(url: str) -> None:
    app = Sidekiq(redis=url, log_level="debug")
    stream = io.StringIO()
    assert isinstance(app.logger, SidekiqLogger)
    assert app.logger is app.logger
    app.logger.writer._stream = stream
    app.logger.writer.setFormatter(Formatters.Plain())
    app.handle_exception(ValueError("boom"), {})
    assert "boom (ValueError)" in stream.getvalue()
