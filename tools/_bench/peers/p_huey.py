import os

from huey import PriorityRedisHuey

from _bench.marks import Pen

pen = Pen()
huey = PriorityRedisHuey("bench", url=os.environ["REDIS_URL"], utc=True)


@huey.task()
def noop(n):
    pen.mark("begin", n)


def one(n):
    noop(n)
