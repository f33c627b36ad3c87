"""One event for a job that fails: `python examples/logging/sentry_events.py`. Nothing is sent anywhere."""

from __future__ import annotations

import threading
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from sidekiq_lua import Sidekiq
from sidekiq_lua.contrib.sentry import instrument


class Printing(Transport):
    """In place of Sentry's server."""

    printed = threading.Event()

    def capture_envelope(self, envelope: Envelope) -> None:
        event: Any = envelope.get_event()
        if event is not None:
            tags = event["tags"]
            print(f"{event['exception']['values'][0]['value']}, of {tags['class']} in {tags['queue']}")
            print(f"the customer is known: {tags['customer']}")
            self.printed.set()


app = Sidekiq(log_level="fatal", poll_interval_average=1)


@app.configure_server
@app.configure_client
def configure(config: Any) -> None:
    sentry_sdk.init(dsn="https://key@sentry.example/1", transport=Printing)
    instrument(config, after_retries=True)


class ChargeJob(app.Job):  # type: ignore[misc, name-defined]
    sidekiq_options = {"retry": 0}

    def perform(self, customer: str) -> None:
        sentry_sdk.set_tag("customer", customer)
        raise ValueError("the card was refused")


if __name__ == "__main__":
    ChargeJob.perform_async("ada")
    runner = app.run()
    Printing.printed.wait(30)
    runner.stop()
