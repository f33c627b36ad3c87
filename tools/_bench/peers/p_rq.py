import os

import redis
import rq

from _bench.marks import Pen

pen = Pen()
queue = rq.Queue("q", connection=redis.Redis.from_url(os.environ["REDIS_URL"]))


def noop(n):
    pen.mark("begin", n)


def one(n):
    queue.enqueue(noop, n, result_ttl=0)


def many(numbers):
    queue.enqueue_many([rq.Queue.prepare_data(noop, (n,), result_ttl=0) for n in numbers])
