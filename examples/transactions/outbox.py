"""A job that commits with the data, and its relay to Redis: `python examples/transactions/outbox.py`.

Redis is that of REDIS_URL; the database is a file that is gone in the end.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from sidekiq_lua import Job, Stats
from sidekiq_lua.contrib.outbox import DbApi, Outbox, ddl


class ChargeJob(Job[[int, int]]):
    def perform(self, order_id, cents):
        print(f"charging {cents} for order {order_id}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "shop.db"
        connection = sqlite3.connect(path)
        connection.execute(ddl("sqlite"))
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, cents INTEGER)")
        outbox = Outbox("example", DbApi(lambda: sqlite3.connect(path)))
        before = Stats().enqueued

        with connection:  # sqlite3 commits at its end, or rolls back
            connection.execute("INSERT INTO orders VALUES (1, 4999)")
            outbox.push({"class": ChargeJob, "args": [1, 4999]}, connection)
        print("in Redis before the relay:", Stats().enqueued - before)

        relay = outbox.relay()
        print(
            "relayed:", relay.run_once()
        )  # `relay.run()` goes on for ever, `relay.start()` does in a thread
        relay.close()
        connection.close()
        print("in Redis after it:", Stats().enqueued - before)
