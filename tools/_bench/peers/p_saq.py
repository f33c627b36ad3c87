import contextlib
import os

import saq

from _bench.marks import Pen

pen = Pen()
queue = saq.Queue.from_url(os.environ["REDIS_URL"], name="bench")


async def noop(ctx, *, n):
    pen.mark("begin", n)


settings = {"queue": queue, "functions": [noop], "concurrency": int(os.environ.get("BENCH_C", "10"))}


@contextlib.asynccontextmanager
async def session():
    await queue.connect()
    yield
    await queue.disconnect()


async def one(n):
    await queue.enqueue("noop", n=n, ttl=-1)
