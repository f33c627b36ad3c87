"""A small shop that enqueues: what test_shop.py tests."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sidekiq_lua import AsyncClient, Job

sent: list[str] = []


class ReceiptJob(Job[[int, str]]):
    sidekiq_options = {"queue": "mail", "retry": 5}

    def perform(self, order: int, address: str) -> None:
        sent.append(f"receipt {order} to {address}")


class ReminderJob(Job[[int]]):
    async def perform(self, order: int) -> None:
        await asyncio.sleep(0)
        sent.append(f"reminder {order}")


class ImportJob(Job[[list[int]]]):
    def perform(self, orders: list[int]) -> None:
        ReminderJob.perform_bulk([[order] for order in orders])


def place_order(order: int, address: str) -> None:
    ReceiptJob.perform_async(order, address)
    ReminderJob.perform_in(timedelta(days=7), order)


async def remind_now(order: int) -> None:
    async with AsyncClient() as client:
        await client.enqueue(ReminderJob, order)
