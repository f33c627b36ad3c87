"""Job classes of the journeys; they report to the list `reports`."""

import asyncio
import json
import os
import time

import redis

from sidekiq_lua import IterableJob, Job
from sidekiq_lua.enumerators import array_enumerator

reports = redis.Redis.from_url(os.environ["REPORT_URL"])
name = os.environ["WORKER_NAME"]


def report(event, argument):
    reports.rpush("reports", json.dumps([name, event, argument, time.time()]))


def hangs():
    """The worker called `first` does, until `go` is there."""
    return name == "first" and not reports.exists("go")


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
        while hangs():
            time.sleep(0.01)
        report("end", number)


class AsyncHangJob(Job):
    async def perform(self, number):
        report("begin", number)
        while hangs():
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


class Walk(IterableJob):
    """Reports each item; the worker called `first` stops at one of them for good."""

    abstract = True

    def build_enumerator(self, n, hang_at, *, cursor):
        return array_enumerator(range(n), cursor=cursor)

    def on_start(self):
        report("start", self.jid)

    def on_resume(self):
        report("resume", self.jid)


class WalkJob(Walk):
    state_flush_interval = 0

    def each_iteration(self, item, n, hang_at):
        report("item", item)
        while name == "first" and item == hang_at:
            time.sleep(0.01)


class AsyncWalkJob(Walk):
    state_flush_interval = 0

    async def each_iteration(self, item, n, hang_at):
        report("item", item)
        while name == "first" and item == hang_at:
            await asyncio.sleep(0.01)


class RareWalkJob(WalkJob):
    state_flush_interval = 3600


class SlowWalkJob(Walk):
    """Takes its time in any worker but the one called `second`."""

    def each_iteration(self, item, n, seconds):
        report("item", item)
        time.sleep(seconds if name != "second" else 0)


class AsyncSlowWalkJob(Walk):
    async def each_iteration(self, item, n, seconds):
        report("item", item)
        await asyncio.sleep(seconds if name != "second" else 0)


class WalkElsewhereJob(SlowWalkJob):
    state_flush_interval = 0
