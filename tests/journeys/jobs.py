"""Job classes of the journeys; they report to the list `reports`."""

import asyncio
import json
import os
import time

import redis

from sidekiq_lua import Job

reports = redis.Redis.from_url(os.environ["REPORT_URL"])
name = os.environ["WORKER_NAME"]


def report(event, argument):
    reports.rpush("reports", json.dumps([name, event, argument, time.time()]))


class SleepJob(Job):
    def perform(self, number, seconds):
        report("begin", number)
        time.sleep(seconds)
        report("end", number)


class AsyncSleepJob(Job):
    async def perform(self, number, seconds):
        report("begin", number)
        await asyncio.sleep(seconds)
        report("end", number)


class HangJob(Job):
    """Hangs in the worker called `first`, and ends at once in any other."""

    def perform(self, number):
        report("begin", number)
        while name == "first":
            time.sleep(0.01)
        report("end", number)


class AsyncHangJob(Job):
    async def perform(self, number):
        report("begin", number)
        while name == "first":
            await asyncio.sleep(0.01)
        report("end", number)


class FailJob(Job):
    sidekiq_options = {"retry": 0}

    def perform(self, number):
        report("begin", number)
        raise ValueError(number)


class StampJob(Job):
    def perform(self, enqueued_s):
        reports.rpush("latencies", time.time() - enqueued_s)
