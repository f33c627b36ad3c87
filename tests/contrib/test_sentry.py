"""Events and transactions of jobs, as a transport of the real sentry_sdk gets them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.transport import Transport
from waiting import wait_until

from sidekiq_lua import Sidekiq
from sidekiq_lua.contrib.sentry import HEADERS, instrument
from sidekiq_lua.current import persist
from sidekiq_lua.errors import Interrupted, Shutdown

tenant: ContextVar[str] = ContextVar("tenant")


class Collected(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__({"dsn": "http://key@localhost/1"})
        self.events: list[dict[str, Any]] = []
        self.transactions: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            found = json.loads(item.get_bytes())
            if item.type == "event":
                self.events.append(found)
            elif item.type == "transaction":
                self.transactions.append(found)


@pytest.fixture
def init() -> Iterator[Callable[..., Collected]]:
    """Initialize the SDK; `init(traces_sample_rate=1.0)`. It is off again at the end."""

    def begin(**options: Any) -> Collected:
        transport = Collected()
        sentry_sdk.init(
            dsn="http://key@localhost/1",
            transport=transport,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[DedupeIntegration()],
            **options,
        )
        return transport

    yield begin
    sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture
def app(make_app: Any) -> Sidekiq:
    return make_app(poll_interval_average=0.05, heartbeat_interval=0.2)


def run_until(app: Sidekiq, done: Callable[[], Any]) -> None:
    """Run a worker until then; retries are due at once."""
    transport = app.transport()
    runner = app.run()

    def retried_and_done() -> Any:
        for raw in transport.command("ZRANGE", "retry", "2", "+inf", "BYSCORE"):
            transport.command("ZADD", "retry", "XX", "1", raw)
        return done()

    try:
        wait_until(retried_and_done, 20)
    finally:
        runner.stop()


@pytest.fixture(params=["sync", "async"])
def make_job(request: Any, app: Sidekiq) -> Callable[..., Any]:
    """A job class, `def` or `async def`, that calls `work(job, *args)`."""

    def make(work: Callable[..., Any], **options: Any) -> Any:
        if request.param == "sync":

            class SomeJob(app.Job):
                sidekiq_options = options

                def perform(self, *args: Any) -> None:
                    work(self, *args)
        else:

            class SomeJob(app.Job):  # type: ignore[no-redef]
                sidekiq_options = options

                async def perform(self, *args: Any) -> None:
                    await asyncio.sleep(0)
                    work(self, *args)
                    await asyncio.sleep(0)

        return SomeJob

    return make


def test_an_event_for_each_failure_with_the_scope_of_its_job(
    app: Sidekiq, init: Any, make_job: Any, redis: Any
) -> None:
    transport = init()
    instrument(app.config)
    persist(app.config, [tenant])

    def fail(job: Any, secret: str) -> None:
        sentry_sdk.set_tag("mine", "yes")
        sentry_sdk.add_breadcrumb(message="on the way")
        raise ZeroDivisionError("bad luck")

    some_job = make_job(fail, queue="default", tags=["a", "b"])
    some_job.retry_in(lambda count, error, payload: 1 if count == 0 else "kill")
    token = tenant.set("acme")
    jid = some_job.perform_async("hush")
    tenant.reset(token)
    run_until(app, lambda: redis.zcard("dead"))

    first, second = transport.events
    for event in (first, second):
        [value] = event["exception"]["values"]
        assert (value["type"], value["value"]) == ("ZeroDivisionError", "bad luck")
        assert value["mechanism"] == {"type": "sidekiq_lua", "handled": False}
        assert value["stacktrace"]["frames"][-1]["function"] == "fail"
        assert event["transaction"] == "SomeJob"
        assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == ["on the way"]
        assert event["contexts"]["current_attributes"] == {"tenant": "acme"}
        assert event["contexts"]["sidekiq"]["tags"] == ["a", "b"]
        assert "args" not in event["contexts"]["sidekiq"]
    tags = {"jid": jid, "class": "SomeJob", "queue": "default", "tags": "a,b", "mine": "yes"}
    assert first["tags"] == tags
    assert second["tags"] == {**tags, "retry_count": "0"}
    assert first["contexts"]["failure"] == {"context": "Job raised exception", "will_retry": True}
    assert second["contexts"]["failure"] == {"context": "Job raised exception", "will_retry": False}
    assert sentry_sdk.get_isolation_scope()._tags == {}


def test_only_the_failure_that_is_the_last(app: Sidekiq, init: Any, make_job: Any, redis: Any) -> None:
    transport = init()
    instrument(app.config, after_retries=True)

    def fail(job: Any, text: str) -> None:
        raise ValueError(text)

    some_job = make_job(fail)
    some_job.retry_in(lambda count, error, payload: 1)
    some_job.set(retry=1).perform_async("dies in the second run")
    some_job.set(retry=False).perform_async("is dropped")
    some_job.perform_async("goes on")
    redis.lpush("queue:default", b"no job")
    run_until(app, lambda: redis.zcard("dead") == 2)
    found = sorted(event["exception"]["values"][-1]["value"] for event in transport.events)
    assert [text for text in found if "JSON" not in text] == ["dies in the second run", "is dropped"]
    assert len(found) == 3


def test_arguments_go_along_where_they_are_wanted(app: Sidekiq, init: Any, make_job: Any) -> None:
    transport = init()
    instrument(app.config, with_args=True)

    def fail(job: Any, secret: str) -> None:
        raise ValueError

    make_job(fail, retry=False).perform_async("hush")
    run_until(app, lambda: transport.events)
    assert transport.events[0]["contexts"]["sidekiq"]["args"] == ["hush"]


def test_jobs_that_run_at_the_same_time_have_scopes_of_their_own(
    make_app: Any, init: Any, redis: Any
) -> None:
    transport = init()
    app = make_app(concurrency=8)
    instrument(app.config)
    inside = threading.Barrier(4)

    class ThreadJob(app.Job):
        sidekiq_options = {"retry": False}

        def perform(self, n: int) -> None:
            sentry_sdk.set_tag("n", n)
            inside.wait(10)
            raise ValueError(n)

    together = []

    class TaskJob(app.Job):
        sidekiq_options = {"retry": False}

        async def perform(self, n: int) -> None:
            sentry_sdk.set_tag("n", n)
            together.append(n)
            while len(together) < 4:
                await asyncio.sleep(0.001)
            raise ValueError(n)

    jids = {}
    for n in range(4):
        jids[ThreadJob.perform_async(n)] = n
        jids[TaskJob.perform_async(n + 10)] = n + 10
    run_until(app, lambda: len(transport.events) == 8)
    found = {
        event["tags"]["jid"]: (str(event["tags"]["n"]), event["exception"]["values"][0]["value"])
        for event in transport.events
    }
    assert found == {jid: (str(n), str(n)) for jid, n in jids.items()}


def test_an_interruption_or_a_stop_is_no_event(make_app: Any, init: Any, redis: Any) -> None:
    transport = init(traces_sample_rate=1.0)
    app = make_app(timeout=0.3)
    instrument(app.config)
    begun = []

    class HoldJob(app.Job):
        def perform(self) -> None:
            begun.append("hold")
            while True:
                threading.Event().wait(0.01)

    class TaskJob(app.Job):
        async def perform(self) -> None:
            begun.append("task")
            await asyncio.sleep(30)

    HoldJob.perform_async()
    TaskJob.perform_async()
    run_until(app, lambda: {"hold", "task"} <= set(begun))
    wait_until(lambda: redis.llen("queue:default") == 2)
    for error in (Interrupted(), Shutdown()):
        app.handle_exception(error, {"context": "anything"})
    with pytest.raises(Interrupted):
        app.config.server_middleware.invoke(None, {"class": "J"}, "default", raises(Interrupted()))
    assert transport.events == []
    statuses = {
        found["transaction"]: found["contexts"]["trace"].get("status") for found in transport.transactions
    }
    assert statuses["J"] != "internal_error"


def raises(error: BaseException) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call


def test_what_fails_beside_jobs_is_an_event_too(app: Sidekiq, init: Any, redis: Any) -> None:
    transport = init()
    instrument(app.config, after_retries=True)
    app.config.on("beat", raises(ValueError("in a beat")))
    redis.lpush("queue:default", '{"class":"NobodyKnows","args":[],"jid":"j1","retry":false}')

    def told() -> dict[str, Any]:
        return {event["exception"]["values"][0]["type"]: event for event in transport.events}

    run_until(app, lambda: len(told()) == 2)
    assert told()["ValueError"]["contexts"]["failure"] == {
        "context": "Exception during Sidekiq lifecycle event beat.",
        "event": "beat",
    }
    assert "jid" not in told()["ValueError"].get("tags", {})
    assert told()["UnknownJobClass"]["tags"] == {"jid": "j1", "class": "NobodyKnows", "queue": "default"}


def test_a_poison_pill_is_an_event(app: Sidekiq, init: Any) -> None:
    from sidekiq_lua.errors import JobKilled
    from sidekiq_lua.worker.recovery import PoisonPill

    transport = init()
    instrument(app.config)
    for handler in app.config.death_handlers:
        handler({"class": "SomeJob", "jid": "j1", "queue": "low"}, PoisonPill("3 processes died"))
        handler({"class": "SomeJob", "jid": "j2", "queue": "low"}, JobKilled("by API"))
    [event] = transport.events
    assert event["tags"] == {"jid": "j1", "class": "SomeJob", "queue": "low"}
    assert event["contexts"]["failure"]["context"] == "Poison pill"


def test_one_trace_from_the_push_to_the_run_and_its_retry(
    app: Sidekiq, init: Any, make_job: Any, queued: Any, redis: Any
) -> None:
    transport = init(traces_sample_rate=1.0)
    instrument(app.config)
    runs: list[int] = []

    def flaky(job: Any) -> None:
        runs.append(1)
        with sentry_sdk.start_span(op="inside"):
            if len(runs) == 1:
                raise ValueError("once")

    some_job = make_job(flaky)
    some_job.retry_in(lambda count, error, payload: 1)
    with sentry_sdk.start_transaction(name="request", op="http.server") as request:
        jid = some_job.perform_async()
    (payload,) = queued(whole=True)
    assert payload[HEADERS]["sentry-trace"].startswith(request.trace_id)
    run_until(app, lambda: len(transport.transactions) == 3)

    asked, failed, done = transport.transactions
    [publish] = asked["spans"]
    assert (publish["op"], publish["data"]["messaging.message.id"]) == ("queue.publish", jid)
    for run in (failed, done):
        trace = run["contexts"]["trace"]
        assert (trace["trace_id"], trace["parent_span_id"]) == (request.trace_id, publish["span_id"])
        assert (run["transaction"], trace["op"]) == ("SomeJob", "queue.process")
        assert trace["data"]["messaging.destination.name"] == "default"
        assert [span["op"] for span in run["spans"]] == ["inside"]
    assert failed["contexts"]["trace"]["status"] == "internal_error"
    assert done["contexts"]["trace"].get("status") != "internal_error"
    assert done["contexts"]["trace"]["data"]["messaging.message.retry.count"] == 0
    [event] = transport.events
    assert event["contexts"]["trace"]["trace_id"] == request.trace_id


@pytest.mark.parametrize(
    "headers", [None, "nonsense", {"sentry-trace": "nonsense", "baggage": 5}, {"a": None}]
)
def test_headers_that_are_none_begin_a_trace(app: Sidekiq, init: Any, headers: Any) -> None:
    transport = init(traces_sample_rate=1.0)
    instrument(app.config)
    payload = {"class": "J", "jid": "1", HEADERS: headers}
    assert app.config.server_middleware.invoke(None, payload, "default", lambda: 5) == 5
    assert len(transport.transactions) == 1


def test_without_propagation_or_without_the_sdk_payloads_stay_as_they_are(
    make_app: Any, init: Any, queued: Any
) -> None:
    off = make_app()
    instrument(off.config)
    off.client.push({"class": "J", "args": [1]})
    assert off.config.server_middleware.invoke(None, {"class": "J"}, "default", lambda: 5) == 5
    init(traces_sample_rate=1.0)
    alone = make_app()
    instrument(alone.config, propagate=False)
    alone.client.push({"class": "J", "args": [2]})
    assert all(HEADERS not in payload for payload in queued(whole=True))


def test_without_the_extra_one_sentence_says_so() -> None:
    code = "import sys; sys.modules['sentry_sdk'] = None\nimport sidekiq_lua.contrib.sentry"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ConfigurationError: sentry-sdk is not installed: pip install 'sidekiq-lua[sentry]'" in done.stderr
