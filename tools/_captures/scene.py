"""What the commands of a page find: a shop's jobs, and a worker that runs one of them."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from commandline import CommandLine
from servers import Server
from waiting import wait_until

from sidekiq_lua import sidekiq

from .alike import Alike

JOBS = """
import time
from sidekiq_lua import Job, sidekiq

class ImportJob(Job):
    def perform(self, name):
        while not sidekiq.transport().command("EXISTS", "gate"):
            time.sleep(0.01)
"""
WORKER = """
queues: [[critical, 2], [mail, 1]]
tag: shop
heartbeat_interval: 0.2
heartbeat_ttl: 60
"""
IDENTITY = "shop-1:4242:1f0e5a9c7b3d"


def job(began: int, ago_s: int, jid: str, name: str, queue: str, *args: Any, **more: Any) -> str:
    """A job that was made so long ago; times are whole milliseconds."""
    at_ms = (began - ago_s) * 1000
    fields = {"class": name, "args": args, "queue": queue, "jid": jid, "retry": True, "created_at": at_ms}
    return json.dumps({**fields, **more}, separators=(",", ":"))


def fill(redis: Any, began: int) -> None:
    """The jobs; those of `mail` wait since the queue is paused, those of `billing` since nobody serves it."""

    def waits(queue: str, ago_s: int, jid: str, name: str, *args: Any) -> None:
        redis.sadd("queues", queue)
        made = job(began, ago_s, jid, name, queue, *args, enqueued_at=(began - ago_s) * 1000)
        redis.lpush(f"queue:{queue}", made)

    def failed(ago_s: int, jid: str, *args: Any, tries: int, message: str) -> str:
        error = {"error_class": "CardError", "error_message": message, "failed_at": (began - ago_s) * 1000}
        return job(began, ago_s, jid, "ChargeJob", "billing", *args, **error, retry_count=tries, tags=["eu"])

    redis.mset({"stat:processed": 48_213, "stat:failed": 127})
    redis.sadd("paused", "mail")
    waits("critical", 0, "5c1f0a7be0d94c3e8f21b6aa", "ImportJob", "prices.csv")
    waits("mail", 900, "9d2e6b14c8f04f7fa5130d77", "ReceiptJob", 1041, "ada@example.org")
    waits("mail", 400, "e07a3c59d1b84b6c92fd1188", "ReceiptJob", 1042, "bob@example.org")
    waits("billing", 200, "3fa81b6c5d7e4a90b8c2f399", "ChargeJob", 42, 1999)
    redis.zadd("schedule", {
        job(began, 300, "7b6d5e4f3a2c4b1d9e8f7a00", "DigestJob", "mail", "weekly"): began + 3600,
    })  # fmt: skip
    redis.zadd("retry", {
        failed(300, "a1d4c7f0b3e64d928c5f2b11", 40, 500, tries=1, message="timed out"): began + 100,
        failed(200, "b2e5d8a1c4f75ea39d603c22", 41, 750, tries=0, message="card was declined"): began + 200,
    })  # fmt: skip
    redis.zadd("dead", {
        failed(86_400, "c3f6e9b2d5a86fb4ae714d33", 7, 100, tries=25, message="no such account"): began - 500,
    })  # fmt: skip


@contextmanager
def scene() -> Iterator[tuple[str, Alike]]:
    """The URL of a server with all this, and what makes the printed alike; it is gone afterwards."""
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        redis = stack.enter_context(server.client())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cli = CommandLine(folder, server.url, stack)
        cli.write("jobs.py", JOBS)
        cli.write("shop.yml", WORKER)
        began = int(time.time())
        fill(redis, began)
        running = cli.start("worker", "-r", "jobs", "-C", "shop.yml")

        def is_shown() -> bool:
            found = redis.smembers("processes")
            return bool(found) and redis.hget(next(iter(found)), "busy") == b"1"

        wait_until(is_shown, 20, "a heartbeat that tells of the job that runs")
        (identity,) = redis.smembers("processes")
        host, pid, _ = IDENTITY.split(":")
        texts = {
            identity.decode(): IDENTITY,
            f'"hostname": "{socket.gethostname()}"': f'"hostname": "{host}"',
            f'"pid": {running.process.pid}': f'"pid": {pid}',
        }
        before = {name: os.environ.get(name) for name in ("REDIS_URL", "COLUMNS")}
        try:
            yield server.url, Alike(began, texts)
        finally:
            sidekiq.close()
            redis.set("gate", "open")
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
