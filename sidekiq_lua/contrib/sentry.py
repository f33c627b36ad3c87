"""Sentry: an event for each failure, and one trace from the push to the run; the extra `sentry`.

Call `sentry_sdk.init(…)`, and `instrument(config)` in configure_client and in configure_server. Each job has
an isolation scope of its own, with the tags `jid`, `class`, `queue`, `tags` and `retry_count`; what the job
adds to it (tags, breadcrumbs, a user) is in its event. A trace travels in the payload's
`trace_propagation_headers`, where Ruby's sentry-sidekiq puts it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..current import attributes
from ..errors import Interrupted, Shutdown
from ..worker.recovery import PoisonPill
from .held import missing

if TYPE_CHECKING:
    from ..config import Config

try:
    import sentry_sdk
    from sentry_sdk.scope import Scope, use_isolation_scope, use_scope
    from sentry_sdk.utils import event_from_exception
except ImportError as error:
    raise missing("sentry-sdk", "sentry") from error

HEADERS = "trace_propagation_headers"
_ORIGIN = "auto.queue.sidekiq_lua"
_SAVED = "_sidekiq_lua_scope"
_SHOWN = (
    *("retry", "retry_count", "created_at", "enqueued_at", "failed_at", "retried_at", "bid", "wrapped"),
    "display_class",
)


def instrument(
    config: Config, *, after_retries: bool = False, propagate: bool = True, with_args: bool = False
) -> None:
    """Add the middleware, outermost around each run, and the error handler.

    `after_retries`: an event only for a failure after which a job is not tried again; else for each. What
    fails beside jobs is always told. `propagate=False`: jobs are traces of their own. `with_args`: the job's
    arguments go along, which may be personal.
    """
    reporter = Reporter(after_retries, with_args)
    config.error_handler(reporter)
    config.death_handler(reporter.died)
    config.server_middleware.prepend(ScopeOfRun, propagate, with_args)
    if propagate:
        config.client_middleware.add(TracePush)


class TracePush:
    """Client middleware: a span `queue.publish` in the present trace, and the trace's headers in the payload.

    A job that has headers already, such as a retry that is due, keeps them.
    """

    def call(
        self, job_class: Any, payload: dict[str, Any], queue: str, redis: Any, next: Callable[[], Any]
    ) -> Any:
        if HEADERS in payload or not sentry_sdk.is_initialized():
            return next()
        with sentry_sdk.start_span(op="queue.publish", name=_name(payload), origin=_ORIGIN) as span:
            _measure(span, payload, queue)
            headers = {"sentry-trace": sentry_sdk.get_traceparent(), "baggage": sentry_sdk.get_baggage()}
            payload[HEADERS] = {name: value for name, value in headers.items() if value}
            return next()


class ScopeOfRun:
    """Server middleware: an isolation scope and a transaction for each run."""

    def __init__(self, propagate: bool = True, with_args: bool = False) -> None:
        self._propagate = propagate
        self._with_args = with_args

    def call(self, job: Any, payload: Mapping[str, Any], queue: str, next: Callable[[], Any]) -> Any:
        if not sentry_sdk.is_initialized():
            return next()
        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()
            _describe(scope, payload, queue, self._with_args)
            headers = payload.get(HEADERS) if self._propagate else None
            transaction = sentry_sdk.continue_trace(
                headers if isinstance(headers, dict) else {},
                op="queue.process", name=_name(payload), source="task", origin=_ORIGIN,
            )  # fmt: skip
            with sentry_sdk.start_transaction(transaction) as span:
                _measure(span, payload, queue)
                try:
                    return next()
                except Interrupted as error:
                    interrupted = error  # an iterable job made room: raised outside, where it fails no span
                except BaseException as error:
                    # The event is made when it is known whether the job will be tried again.
                    vars(error)[_SAVED] = (payload, scope, sentry_sdk.get_current_scope().fork())
                    raise
            raise interrupted


class Reporter:
    """Error handler: an event for each error. Jobs that make room or are put back at a stop are none."""

    def __init__(self, after_retries: bool = False, with_args: bool = False) -> None:
        self._after_retries = after_retries
        self._with_args = with_args

    def __call__(self, error: BaseException, context: Mapping[str, Any], config: Any) -> None:
        if isinstance(error, Interrupted | Shutdown):
            return
        if self._after_retries and context.get("will_retry"):
            return
        payload = context.get("job")
        saved, scope, current = vars(error).pop(_SAVED, (None, None, None))
        if scope is not None and saved is payload:
            with use_isolation_scope(scope), use_scope(current):
                _capture(error, scope, context)
            return
        with sentry_sdk.isolation_scope() as scope:
            if isinstance(payload, Mapping):
                _describe(scope, payload, context.get("queue") or payload.get("queue"), self._with_args)
            _capture(error, scope, context)

    def died(self, payload: Mapping[str, Any], error: BaseException) -> None:
        """Death handler: a job that has killed its processes is in no error handler's reach."""
        if isinstance(error, PoisonPill):
            self(error, {"context": "Poison pill", "job": payload}, None)


def _describe(scope: Scope, payload: Mapping[str, Any], queue: Any, with_args: bool) -> None:
    name, tags = _name(payload), payload.get("tags")
    scope.set_transaction_name(name, source="task")
    known = {
        "jid": payload.get("jid"),
        "class": name,
        "queue": queue,
        "tags": ",".join(map(str, tags)) if isinstance(tags, list) else None,
        "retry_count": payload.get("retry_count"),
    }
    known = {key: value for key, value in known.items() if value is not None}
    for key, value in known.items():
        scope.set_tag(key, str(value))
    shown = {**known, **{key: payload[key] for key in _SHOWN if key in payload}, "tags": tags}
    if with_args:
        shown["args"] = payload.get("args")
    scope.set_context("sidekiq", shown)
    carried = attributes(payload)
    if carried:
        scope.set_context("current_attributes", carried)


def _capture(error: BaseException, scope: Scope, context: Mapping[str, Any]) -> None:
    told = {key: context[key] for key in ("context", "will_retry", "event") if key in context}
    scope.set_context("failure", told)
    event, hint = event_from_exception(
        error,
        client_options=sentry_sdk.get_client().options,
        mechanism={"type": "sidekiq_lua", "handled": False},
    )
    sentry_sdk.capture_event(event, hint=hint)


def _measure(span: Any, payload: Mapping[str, Any], queue: str) -> None:
    span.set_data("messaging.system", "sidekiq")
    span.set_data("messaging.destination.name", queue)
    span.set_data("messaging.message.id", payload.get("jid"))
    span.set_data("messaging.message.retry.count", payload.get("retry_count", 0))


def _name(payload: Mapping[str, Any]) -> str:
    return str(payload.get("wrapped") or payload.get("class"))
