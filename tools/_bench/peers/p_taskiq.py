import contextlib
import os

import taskiq_redis

from _bench.marks import Pen

pen = Pen()
broker = taskiq_redis.RedisStreamBroker(os.environ["REDIS_URL"], queue_name="bench", consumer_id="0")


@broker.task
async def noop(n: int) -> None:
    pen.mark("begin", n)


@contextlib.asynccontextmanager
async def session():
    await broker.startup()
    yield
    await broker.shutdown()


async def one(n):
    await noop.kiq(n)
