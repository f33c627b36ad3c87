"""A small HTTP server for probes: a mapping from paths to functions that answer."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from ..errors import ConfigurationError

Answer = tuple[int, str, bytes]
"""HTTP status, content type and body."""
Handler = Callable[[], Answer]
Report = Callable[[BaseException, Mapping[str, Any]], None]
"""Tells the error handlers."""

_TIMEOUT_S = 5.0
_AT_ONCE = 16


def as_json(code: int, **fields: Any) -> Answer:
    """An answer whose body is a JSON object."""
    return code, "application/json", json.dumps(fields).encode() + b"\n"


class HealthServer:
    """Answers GET and HEAD for the paths of `routes`, which may be added to meanwhile, in threads of its own.

    `address` is HOST:PORT; `report` gets what an answer raises. Raises ConfigurationError where nothing can
    listen there.
    """

    def __init__(
        self, address: str, routes: Mapping[str, Handler], log: logging.Logger, report: Report
    ) -> None:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        try:
            self._server = _Server((host, int(port)), routes, log, report, ":" in host)
        except OSError as error:
            raise ConfigurationError(
                f"health: nothing can listen on {address}: {error.strerror or error}; choose another address"
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="sidekiq.health", daemon=True
        )
        # A job's processes may outlive a worker that was killed, and the next one needs the port.
        os.register_at_fork(after_in_child=self._server.socket.close)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = _AT_ONCE

    def __init__(
        self, address: tuple[str, int], routes: Mapping[str, Handler], log: logging.Logger, report: Report,
        is_v6: bool,
    ) -> None:  # fmt: skip
        self.routes = routes
        self.log = log
        self.report = report
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        if is_v6:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Request)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """No more than a few at once: who is refused may ask again."""
        return self._free.acquire(blocking=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started: this one, which waits for nothing else, answers
            self.process_request_thread(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.log.debug("a probe went away: %s", client_address)


class _Request(BaseHTTPRequestHandler):
    server: _Server
    timeout = _TIMEOUT_S
    server_version = "sidekiq-lua"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        status, kind, body = self._find(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _find(self, path: str) -> Answer:
        handler = self.server.routes.get(path)
        if handler is None:
            return as_json(404, status="not found", paths=sorted(self.server.routes))
        try:
            return handler()
        except Exception as error:
            self.server.report(error, {"context": f"the answer to {path} failed"})
            return as_json(500, status="failed", why=[f"{type(error).__name__}: {error}"])

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds: they are not logged."""
