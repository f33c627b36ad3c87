import contextlib
import os

import arq
from arq.connections import RedisSettings

from _bench.marks import Pen

pen = Pen()
SERVER = RedisSettings.from_dsn(os.environ["REDIS_URL"])


async def noop(ctx, n):
    pen.mark("begin", n)


class WorkerSettings:
    functions = [noop]
    redis_settings = SERVER
    max_jobs = int(os.environ.get("BENCH_C", "10"))
    keep_result = 0
    poll_delay = 0.01
    log_results = False


@contextlib.asynccontextmanager
async def session():
    global pool
    pool = await arq.create_pool(SERVER)
    yield
    await pool.aclose()


async def one(n):
    await pool.enqueue_job("noop", n)
