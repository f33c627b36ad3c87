"""Where gunicorn starts and stops the embedded worker: in each of its processes, after the fork."""

from __future__ import annotations

import sys
from typing import Any

threads = 4
graceful_timeout = 10  # more than the worker's time-out


def post_worker_init(worker: Any) -> None:
    sys.modules["web"].worker.run()


def worker_exit(server: Any, worker: Any) -> None:
    sys.modules["web"].worker.stop()
