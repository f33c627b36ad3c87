"""A real worker behind a proxy: its probes tell of an outage, and it consumes again at once afterwards."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError

import pytest
from faults.harness import Crew, Member
from proxy import Proxy
from waiting import wait_until

SOON_S = 2.0


def probe(worker: Member, path: str) -> tuple[int, dict[str, Any]]:
    found = re.search(r"Health: (http://\S+?)/livez", worker.text())
    assert found, worker.text()
    try:
        with urllib.request.urlopen(found[1] + path, timeout=20) as reply:
            return reply.status, json.load(reply)
    except HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("outage", ["killed", "silent"])
def test_an_outage_and_the_way_back(
    make_server: Any, make_crew: Callable[..., Crew], make_app: Any, outage: str
) -> None:
    server = make_server(appendonly="yes", appendfsync="always")
    with Proxy(server.port) as proxy, server.client() as client:
        crew = make_crew(server.url, client)
        worker = crew.worker(url=proxy.url, health="127.0.0.1:0", queues=["default", "other"])
        app = make_app(server.url)
        crew.push(app, "ok-before", "WorkJob", 0)
        wait_until(lambda: crew.ledger.count("end") == 1)
        assert probe(worker, "/readyz")[0] == 200

        if outage == "killed":
            server.kill()
        else:
            proxy.silence()
        wait_until(lambda: probe(worker, "/readyz")[0] == 503, 15)
        assert probe(worker, "/livez")[0] == 200
        wait_until(lambda: "no jobs are fetched" in worker.text(), 15)

        if outage == "killed":
            server.restart()
        else:
            proxy.heal()
        app.close()
        came_back_at = time.monotonic()
        crew.push(app, "ok-after", "WorkJob", 0)
        wait_until(lambda: crew.ledger.count("end") == 2, 10, worker.text())
        assert time.monotonic() - came_back_at < SOON_S
        wait_until(lambda: probe(worker, "/readyz")[0] == 200, 5)
        wait_until(lambda: "Redis is online, " in worker.text(), 5)
        assert worker.stop() == 0
        assert not crew.check().extra
