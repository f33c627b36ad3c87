"""Every way to test code that enqueues. Run it with `pytest examples/testing`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import pytest
import shop
from freezegun import freeze_time
from shop import ImportJob, ReceiptJob, ReminderJob, place_order, remind_now

from sidekiq_lua import Queues, Stats, Testing
from sidekiq_lua.testing import EmptyQueueError


@pytest.fixture(autouse=True)
def nothing_sent():
    shop.sent.clear()


# -- what was enqueued --------------------------------------------------------------------


def test_an_order_enqueues_its_mail(assert_enqueued, refute_enqueued):
    place_order(7, "ann@example.org")

    assert_enqueued(ReceiptJob, args=[7, "ann@example.org"], queue="mail", count=1)
    assert_enqueued(ReminderJob, args=[7], at=timedelta(days=7))
    refute_enqueued(ReceiptJob, args=[8, ANY])


def test_arguments_may_be_described(assert_enqueued):
    place_order(7, "ann@example.org")

    assert_enqueued(ReceiptJob, args=[int, lambda address: address.endswith("example.org")])
    assert_enqueued(ReceiptJob, args=[pytest.approx(7.1, abs=0.5), ANY], retry=5)
    assert_enqueued(ReceiptJob, matching=lambda payload: len(payload["args"]) == 2)


@freeze_time("2030-01-01 12:00")
def test_time_may_stand_still(assert_enqueued):
    place_order(7, "ann@example.org")

    (reminder,) = assert_enqueued(ReminderJob, at=datetime(2030, 1, 8, 12, tzinfo=UTC))
    assert reminder["created_at"] == 1_893_499_200_000  # milliseconds


def test_async_code_enqueues_too(assert_enqueued):
    asyncio.run(remind_now(7))

    assert_enqueued(ReminderJob, args=[7], at=None)


# -- running what was enqueued ------------------------------------------------------------


def test_drain_runs_the_jobs(sidekiq_fake):
    place_order(7, "ann@example.org")
    assert len(ReceiptJob.jobs()) == 1
    assert list(Queues) == ["mail", "default"]

    assert Testing.drain_all() == 2
    assert shop.sent == ["receipt 7 to ann@example.org", "reminder 7"]


def test_one_class_one_job(sidekiq_fake):
    ImportJob.perform_async([1, 2, 3])
    ImportJob.drain()
    ReminderJob.perform_one()
    assert shop.sent == ["reminder 1"]

    assert ReminderJob.clear() == 2
    with pytest.raises(EmptyQueueError):
        ReminderJob.perform_one()


def test_a_payload_of_your_own():
    ReceiptJob.process_job(
        {"class": "ReceiptJob", "args": [7, "bob@example.org"], "jid": "b4a577edbccf1d805744efa9"}
    )
    assert shop.sent == ["receipt 7 to bob@example.org"]


def test_inline_runs_jobs_at_once(sidekiq_inline):
    ImportJob.perform_async([1, 2])
    assert shop.sent == ["reminder 1", "reminder 2"]


def test_modes_as_blocks():
    with Testing.fake():
        place_order(7, "ann@example.org")
        with Testing.inline():
            place_order(8, "bob@example.org")
        assert len(Queues["mail"]) == 1
        Testing.clear_all()
    assert shop.sent == ["receipt 8 to bob@example.org", "reminder 8"]


def test_server_middleware(sidekiq_inline):
    class Shout:
        def call(self, job, payload, queue, next):
            payload["args"] = [payload["args"][0], payload["args"][1].upper()]
            return next()

    Testing.server_middleware.add(Shout)
    ReceiptJob.perform_async(7, "ann@example.org")
    assert shop.sent == ["receipt 7 to ANN@EXAMPLE.ORG"]


# -- on a real server -----------------------------------------------------------------------


def test_on_a_real_server(sidekiq_server):
    place_order(7, "ann@example.org")

    stats = Stats()
    assert stats.enqueued == 1
    assert stats.scheduled_size == 1
