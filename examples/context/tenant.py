"""A tenant and a trace that travel with a job: `python examples/context/tenant.py`.

Redis is that of REDIS_URL. A worker runs in this process until the job is done.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from sidekiq_lua import Sidekiq
from sidekiq_lua.contrib.otel import instrument
from sidekiq_lua.current import persist

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("example")
done = threading.Event()

app = Sidekiq(queues=["context-example"], log_level="error")


@app.configure_client
@app.configure_server
def configure(config):
    persist(config, [tenant])
    instrument(config)


def current_trace() -> str:
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"


class ReportJob(app.Job):
    sidekiq_options = {"queue": "context-example"}

    def perform(self, trace_of_request):
        print("the job sees the tenant", tenant.get())
        print("the job is in the trace of the request:", current_trace() == trace_of_request)
        done.set()


if __name__ == "__main__":
    tenant.set("acme")
    with tracer.start_as_current_span("request"):
        ReportJob.perform_async(current_trace())
    runner = app.run()
    done.wait(20)
    runner.stop()
