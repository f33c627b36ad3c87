"""OpenTelemetry: a span for each enqueued job and for each run, in one trace; the extra `otel`.

Call `instrument(config)` in configure_client and in configure_server. The trace's context travels in the
payload as `traceparent` (and what else the propagator writes, such as `tracestate`), where Ruby's
instrumentation of Sidekiq puts it too. Attributes follow the semantic conventions of messaging, with
`messaging.system` "sidekiq".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigurationError, Interrupted
from ..version import __version__
from .held import missing

if TYPE_CHECKING:
    from ..config import Config

try:
    from opentelemetry import context, propagate, trace
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
except ImportError as error:
    raise missing("opentelemetry-api", "otel") from error

Style = Literal["parent", "link", "none"]


def instrument(
    config: Config,
    *,
    tracer_provider: TracerProvider | None = None,
    propagator: TextMapPropagator | None = None,
    style: Style = "parent",
) -> None:
    """Add the middleware: outermost around each run, innermost around each push.

    `style` says what the span of the push is to that of the run: its "parent"; a "link" from it, the run
    being a trace of its own, as in Ruby; or "none". Default are the global tracer provider and propagator.
    """
    if style not in ("parent", "link", "none"):
        raise ConfigurationError(f'style must be "parent", "link" or "none", not {style!r}')
    tracer = trace.get_tracer("sidekiq_lua", __version__, tracer_provider)
    config.client_middleware.add(TracePush, tracer, propagator)
    config.server_middleware.prepend(TraceRun, tracer, propagator, style)


class TracePush:
    """Client middleware: a span of kind producer, `send QUEUE`, whose context the payload takes along.

    It is as long as the middleware within; the push itself comes after it. A job that has a context already,
    such as a retry that is due, gets no new span.
    """

    def __init__(self, tracer: Tracer, propagator: TextMapPropagator | None = None) -> None:
        self._tracer = tracer
        self._propagator = propagator

    def call(
        self, job_class: Any, payload: dict[str, Any], queue: str, redis: Any, next: Callable[[], Any]
    ) -> Any:
        if "traceparent" in payload:
            return next()
        attributes = _attributes(payload, queue, "send")
        with self._tracer.start_as_current_span(
            f"send {queue}",
            kind=SpanKind.PRODUCER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            (self._propagator or propagate.get_global_textmap()).inject(payload)
            with _errors(span):
                return next()


class TraceRun:
    """Server middleware: a span of kind consumer, `process QUEUE`, around the run, and its error."""

    def __init__(
        self, tracer: Tracer, propagator: TextMapPropagator | None = None, style: Style = "parent"
    ) -> None:
        self._tracer = tracer
        self._propagator = propagator
        self._style = style

    def call(self, job: Any, payload: dict[str, Any], queue: str, next: Callable[[], Any]) -> Any:
        texts = {key: value for key, value in payload.items() if isinstance(value, str)}
        found = (self._propagator or propagate.get_global_textmap()).extract(texts, context=context.Context())
        sent = trace.get_current_span(found).get_span_context()
        links = [Link(sent)] if self._style == "link" and sent.is_valid else []
        around = context.Context()
        if self._style == "parent":
            around = found
        elif self._style == "link":
            # Baggage goes along, the span does not.
            around = trace.set_span_in_context(trace.INVALID_SPAN, found)
        token = context.attach(around)
        try:
            return self._traced(payload, queue, links, next)
        finally:
            context.detach(token)

    def _traced(
        self, payload: Mapping[str, Any], queue: str, links: list[Link], next: Callable[[], Any]
    ) -> Any:
        started = self._tracer.start_as_current_span(
            f"process {queue}",
            kind=SpanKind.CONSUMER,
            attributes=_attributes(payload, queue, "process"),
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        )
        with started as span, _errors(span):
            return next()


@contextmanager
def _errors(span: Span) -> Iterator[None]:
    """Records what ends a job, also what is no Exception, such as Shutdown."""
    try:
        yield
    except Interrupted:
        raise  # an iterable job made room, which is no error
    except BaseException as error:
        name = type(error).__qualname__
        span.record_exception(error)
        span.set_attribute("error.type", name)
        span.set_status(Status(StatusCode.ERROR, f"{name}: {error}"))
        raise


def _attributes(payload: Mapping[str, Any], queue: str, operation: str) -> dict[str, str | int]:
    found: dict[str, Any] = {
        "messaging.system": "sidekiq",
        "messaging.destination.name": queue,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.message.id": payload.get("jid"),
        "messaging.sidekiq.job_class": payload.get("wrapped") or payload.get("class"),
        "messaging.sidekiq.retry_count": payload.get("retry_count"),
    }
    return {name: value for name, value in found.items() if isinstance(value, str | int)}
