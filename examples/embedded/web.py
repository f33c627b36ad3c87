"""A web application whose processes run its jobs too, without a worker beside them.

Under gunicorn, which starts and stops the worker by the hooks in gunicorn.conf.py:

    cd examples/embedded && gunicorn web:application

or under Python's own server for development: python examples/embedded/web.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

from sidekiq_lua import Job, Stats, sidekiq


@sidekiq.configure_embed
def worker(config: Any) -> None:
    config.queues = ["mail", "default"]
    config.timeout = 5


class MailJob(Job[[str]]):
    sidekiq_options = {"queue": "mail"}

    def perform(self, address: str) -> None:
        time.sleep(0.01)
        print(f"pid {os.getpid()} has mailed {address}", flush=True)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """POST /mail/ADDRESS enqueues, anything else says how many jobs have run."""
    if environ["REQUEST_METHOD"] == "POST":
        answer = MailJob.perform_async(environ["PATH_INFO"].rpartition("/")[2])
    else:
        answer = f"{Stats().processed} jobs have run"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{answer}\n".encode()]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


if __name__ == "__main__":
    with worker, make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), application, Server) as server:
        print(f"Listening on http://127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("Stopping", flush=True)
