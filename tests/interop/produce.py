"""Pushes jobs with this project's client and prints their jids: the Python side of ruby/produce.rb.

Its arguments are a `payload_format` and a JSON list of orders; see produce.rb.
"""

from __future__ import annotations

import json
import sys

import jobs

from sidekiq_lua import sidekiq


def produce(order):
    job_class = getattr(jobs, order["class"]).set(**order.get("options", {}))
    args, count = order["args"], order.get("count", 1)
    at = order.get("at", order.get("in"))
    if order.get("bulk"):
        return job_class.perform_bulk([args] * count, at=at)
    if at is not None:
        return [job_class.perform_in(at, *args) for _ in range(count)]
    return [job_class.perform_async(*args) for _ in range(count)]


sidekiq.config.payload_format = sys.argv[1]
sys.stdout.write(json.dumps([produce(order) for order in json.loads(sys.argv[2])]))
sidekiq.close()
