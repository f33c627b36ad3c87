"""The job classes of ruby/jobs.rb in Python, for `sidekiq-lua worker -r jobs.py` and for produce.py.

Every job reports to the list `interop:echo`, one line of JSON per event, in the same form in both languages.
With INTEROP_STAMP, jobs tell who moved them to their queue.
"""

from __future__ import annotations

import json
import os
import time
from typing import ClassVar

import redis

from sidekiq_lua import IterableJob, Job, JobOptions, sidekiq
from sidekiq_lua.enumerators import array_enumerator

LIST = "interop:echo"
RETRY_IN_S = 60
"""Longer than a test: it makes a retry due itself."""


def report(event, name, jid, **more):
    line = json.dumps({"lang": "python", "event": event, "class": name, "jid": jid, **more})
    sidekiq.redis_pool.command("RPUSH", LIST, line)


def raise_from_afar(error, calls=6):
    """Raises with a traceback longer than the lines that jobs keep."""
    if calls:
        raise_from_afar(error, calls - 1)
    raise error


class PromotedBy:
    def call(self, job_class, payload, queue, redis, next):
        payload["promoted_by"] = f"python:{os.getpid()}"
        return next()


@sidekiq.configure_server
def configure_server(config):
    if "INTEROP_STAMP" in os.environ:
        config.client_middleware.add(PromotedBy)

    @config.death_handler
    def buried(job, error):
        report("death", job.get("class"), job.get("jid"), error=type(error).__name__)


class EchoJob(Job):
    def perform(self, *args):
        report("perform", "EchoJob", self.jid, args=args)


class FailAlwaysJob(Job):
    sidekiq_options: ClassVar[JobOptions] = {"retry": 2, "backtrace": True}

    def sidekiq_retry_in(count, error, payload):
        return RETRY_IN_S

    def sidekiq_retries_exhausted(payload, error):
        report("exhausted", payload["class"], payload["jid"], error=type(error).__name__)

    def perform(self, message="boom"):
        report("perform", "FailAlwaysJob", self.jid)
        raise_from_afar(ValueError(message))


class FailOnceJob(Job):
    """Fails where it runs first, in Ruby or in Python."""

    sidekiq_options: ClassVar[JobOptions] = {"retry": 5, "backtrace": 3, "tags": ["interop", "once"]}

    def sidekiq_retry_in(count, error, payload):
        return RETRY_IN_S

    def perform(self, *args):
        first = sidekiq.redis_pool.command("SET", f"interop:once:{self.jid}", "1", "NX", "EX", "3600")
        report("perform", "FailOnceJob", self.jid, args=args, first=first is not None)
        if first is not None:
            raise_from_afar(RuntimeError("first try fails"))


class DieJob(Job):
    """Dies of its first error."""

    sidekiq_options: ClassVar[JobOptions] = {"retry": 0, "backtrace": 5}

    def perform(self, message):
        raise_from_afar(ValueError(message))


class HoldJob(Job):
    """Runs until something is pushed to `interop:go`."""

    def perform(self, *args):
        report("begin", "HoldJob", self.jid)
        with redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=60) as client:
            client.blpop("interop:go", 50)
        report("end", "HoldJob", self.jid)


class WalkJob(IterableJob):
    """Reports each item of a range."""

    def build_enumerator(self, n, pause_s, *, cursor):
        report("from", "WalkJob", self.jid, cursor=cursor)
        return array_enumerator(range(n), cursor=cursor)

    def on_start(self):
        report("start", "WalkJob", self.jid)

    def on_resume(self):
        report("resume", "WalkJob", self.jid)

    def on_cancel(self):
        report("cancel", "WalkJob", self.jid)

    def on_complete(self):
        report("complete", "WalkJob", self.jid)

    def each_iteration(self, item, n, pause_s):
        report("item", "WalkJob", self.jid, item=item)
        time.sleep(pause_s)


class PairsJob(WalkJob):
    """Its cursor is a list of text and a number."""

    def build_enumerator(self, n, pause_s, *, cursor):
        report("from", "PairsJob", self.jid, cursor=cursor)
        return ((number, ("é", number)) for number in range(cursor[1] if cursor else 0, n))
