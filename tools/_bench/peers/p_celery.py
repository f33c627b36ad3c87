import os

import celery

from _bench.marks import Pen

pen = Pen()
app = celery.Celery("bench", broker=os.environ["REDIS_URL"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task
def noop(n):
    pen.mark("begin", n)


def one(n):
    noop.delay(n)
