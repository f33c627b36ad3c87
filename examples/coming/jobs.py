"""The task of docs/coming-from-ruby.md and docs/coming-from-celery.md: a receipt by mail, tried ten times."""

from __future__ import annotations

from sidekiq_lua import Job

sent: list[tuple[int, str]] = []


def deliver(order_id: int, address: str) -> None:
    sent.append((order_id, address))


class MailReceiptJob(Job[[int, str]]):
    sidekiq_options = {"queue": "mail", "retry": 10, "tags": ["billing"]}

    def perform(self, order_id: int, address: str) -> None:
        self.logger.info("sending the receipt of order %d", order_id)
        deliver(order_id, address)

    def sidekiq_retries_exhausted(payload, error):
        print(f"no receipt for order {payload['args'][0]}: {error}")


def checkout(order_id: int, address: str) -> None:
    MailReceiptJob.perform_async(order_id, address)
    MailReceiptJob.perform_in(3600, order_id, address)
    MailReceiptJob.set(queue="low").perform_async(order_id, address)
