import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from _bench.marks import Pen

pen = Pen()
dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))


@dramatiq.actor
def noop(n):
    pen.mark("begin", n)


def one(n):
    noop.send(n)
