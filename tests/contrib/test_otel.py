"""Spans of pushes and runs, in one trace, as the SDK's in-memory exporter sees them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from waiting import hurry, wait_until

from sidekiq_lua import Sidekiq
from sidekiq_lua.contrib.otel import instrument
from sidekiq_lua.errors import ConfigurationError, Interrupted, Shutdown
from sidekiq_lua.execution import call_job, make_job


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


@pytest.fixture
def app(make_app: Any, provider: TracerProvider) -> Sidekiq:
    made = make_app(poll_interval_average=0.05, heartbeat_interval=0.2)
    instrument(made.config, tracer_provider=provider)
    return made


def test_a_push_makes_a_span_and_the_payload_carries_it(
    app: Sidekiq, exporter: InMemorySpanExporter, provider: TracerProvider, queued: Any
) -> None:
    with provider.get_tracer("test").start_as_current_span("request") as request:
        jid = app.client.push({"class": "J", "args": [1], "queue": "low"})

    span, _ = exporter.get_finished_spans()
    assert (span.name, span.kind, span.status.status_code) == (
        "send low",
        SpanKind.PRODUCER,
        StatusCode.UNSET,
    )
    assert span.parent.span_id == request.get_span_context().span_id
    assert dict(span.attributes) == {
        "messaging.system": "sidekiq",
        "messaging.destination.name": "low",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": jid,
        "messaging.sidekiq.job_class": "J",
    }
    (payload,) = queued("low", whole=True)
    found = span.get_span_context()
    assert payload["traceparent"].startswith(f"00-{found.trace_id:032x}-{found.span_id:016x}-")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_run_and_its_retry_belong_to_the_trace_of_the_push(
    app: Sidekiq, exporter: InMemorySpanExporter, provider: TracerProvider, redis: Any, kind: str
) -> None:
    tracer, runs = provider.get_tracer("test"), []

    def work() -> None:
        runs.append(1)
        with tracer.start_as_current_span("inside"):
            pass
        if len(runs) == 1:
            raise ZeroDivisionError("bad luck")

    if kind == "sync":

        class SomeJob(app.Job):
            def perform(self) -> None:
                work()
    else:

        class SomeJob(app.Job):  # type: ignore[no-redef]
            async def perform(self) -> None:
                await asyncio.sleep(0)
                work()

    jid = SomeJob.perform_async()
    runner = app.run()
    try:
        wait_until(lambda: hurry(redis) or len(exporter.get_finished_spans()) == 5, 30)
    finally:
        runner.stop()

    send, inside, failed, _, done = exporter.get_finished_spans()
    assert len({span.context.trace_id for span in exporter.get_finished_spans()}) == 1
    assert [(run.name, run.kind) for run in (failed, done)] == [("process default", SpanKind.CONSUMER)] * 2
    assert failed.parent.span_id == done.parent.span_id == send.context.span_id
    assert failed.parent.is_remote
    assert inside.parent.span_id == failed.context.span_id
    assert (failed.status.status_code, failed.status.description) == (
        StatusCode.ERROR,
        "ZeroDivisionError: bad luck",
    )
    assert failed.attributes["error.type"] == "ZeroDivisionError"
    assert [event.attributes["exception.message"] for event in failed.events] == ["bad luck"]
    assert done.status.status_code is StatusCode.UNSET
    assert done.attributes["messaging.message.id"] == jid
    assert done.attributes["messaging.operation.type"] == "process"
    assert done.attributes["messaging.sidekiq.retry_count"] == 0


@pytest.mark.parametrize("style", ["parent", "link", "none"])
def test_styles(
    make_app: Any, exporter: InMemorySpanExporter, provider: TracerProvider, style: Any, queued: Any
) -> None:
    app = make_app()
    instrument(app.config, tracer_provider=provider, style=style)
    carried = []

    class SomeJob(app.Job):
        def perform(self) -> None:
            carried.append(baggage.get_baggage("shop"))

    token = context.attach(baggage.set_baggage("shop", "7"))
    with provider.get_tracer("test").start_as_current_span("request"):
        SomeJob.perform_async()
    context.detach(token)
    (payload,) = queued(whole=True)
    job = make_job(SomeJob, payload, lambda: False)
    call_job(app, job, payload, "default")

    send, request, run = exporter.get_finished_spans()
    same = run.context.trace_id == request.context.trace_id
    assert same is (style == "parent")
    assert [link.context.span_id for link in run.links] == ([send.context.span_id] if style == "link" else [])
    assert carried == ["7" if style != "none" else None]
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert baggage.get_baggage("shop") is None


def test_a_job_without_a_trace_begins_one(app: Sidekiq, exporter: InMemorySpanExporter) -> None:
    chain = app.config.server_middleware
    for more in ({}, {"traceparent": "nonsense"}, {"traceparent": 5}):
        chain.invoke(None, {"class": "J", "jid": "1", **more}, "default", lambda: None)
    assert [span.parent for span in exporter.get_finished_spans()] == [None, None, None]


def test_what_is_no_exception_is_recorded_too(app: Sidekiq, exporter: InMemorySpanExporter) -> None:
    def stop() -> None:
        raise Shutdown

    with pytest.raises(Shutdown):
        app.config.server_middleware.invoke(None, {"class": "J"}, "default", stop)
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "Shutdown")
    assert len(span.events) == 1


def test_an_iterable_job_that_makes_room_is_no_error(app: Sidekiq, exporter: InMemorySpanExporter) -> None:
    def leave() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        app.config.server_middleware.invoke(None, {"class": "J"}, "default", leave)
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, len(span.events)) == (StatusCode.UNSET, 0)


def test_a_push_that_middleware_refuses_is_an_error_of_its_span(
    app: Sidekiq, exporter: InMemorySpanExporter
) -> None:
    class Refuse:
        def call(self, job_class: Any, payload: Any, queue: Any, redis: Any, next: Any) -> Any:
            raise ValueError("no")

    app.config.client_middleware.add(Refuse)
    with pytest.raises(ValueError, match="no"):
        app.client.push({"class": "J", "args": []})
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


def test_a_style_that_does_not_exist_is_refused(app: Sidekiq) -> None:
    with pytest.raises(ConfigurationError, match="style must be"):
        instrument(app.config, style="child")  # type: ignore[arg-type]
