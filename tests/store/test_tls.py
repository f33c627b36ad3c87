"""rediss://, through a proxy that speaks TLS with a certificate of our own making."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis as redis_py
import trustme
from keyspace import STORE
from proxy import Proxy
from servers import Server

from sidekiq_lua.errors import RedisUnavailable
from sidekiq_lua.store import AsyncTransport, Endpoint, Transport

Connect = Callable[..., Transport]
READ = STORE.queues.names()


class Papers(NamedTuple):
    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """A certificate authority, and a certificate of it for 127.0.0.1 alone."""
    here = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(here / "ca.crt"))
    server.cert_chain_pems[0].write_to_path(str(here / "server.crt"))
    server.private_key_pem.write_to_path(str(here / "server.key"))
    return Papers(here / "ca.crt", here / "server.crt", here / "server.key")


def context(papers: Papers) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(papers.certificate, papers.key)
    return made


@pytest.fixture
def proxy(server: Server, redis: redis_py.Redis, papers: Papers) -> Iterator[Proxy]:
    with Proxy(server.port, tls=context(papers)) as proxy:
        yield proxy


@pytest.fixture
def secure_url(proxy: Proxy) -> str:
    return proxy.url.replace("redis://", "rediss://")


def test_a_server_that_our_authority_vouches_for(connect: Connect, secure_url: str, papers: Papers) -> None:
    transport = connect(secure_url, {"ssl_ca_certs": str(papers.ca)})

    assert transport.run(STORE.queues.push("default", [b"x" * 100_000])) == 1
    assert transport.run(READ) == ("0", ["default"])


def test_an_idle_connection_is_checked_over_tls_too(
    connect: Connect, secure_url: str, papers: Papers, monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> None:
    monkeypatch.setattr("sidekiq_lua.store.transport._IDLE_CHECK_S", 0.0)
    transport = connect(secure_url, {"ssl_ca_certs": str(papers.ca)})
    for _ in range(3):
        transport.run(READ)

    assert proxy.connections == 1


def test_the_same_for_asyncio(secure_url: str, papers: Papers) -> None:
    async def read(**options: Any) -> Any:
        transport = AsyncTransport(Endpoint(secure_url, options))
        try:
            return await transport.run(READ)
        finally:
            await transport.close()

    assert asyncio.run(read(ssl_ca_certs=str(papers.ca))) == ("0", [])
    with pytest.raises(RedisUnavailable, match="certificate verify failed"):
        asyncio.run(read())


def test_a_server_that_nobody_vouches_for_is_refused(connect: Connect, secure_url: str) -> None:
    with pytest.raises(RedisUnavailable, match="certificate verify failed"):
        connect(secure_url).run(READ)


def test_a_certificate_for_another_host_is_refused(connect: Connect, secure_url: str, papers: Papers) -> None:
    other = secure_url.replace("127.0.0.1", "localhost")

    with pytest.raises(RedisUnavailable, match="certificate verify failed"):
        connect(other, {"ssl_ca_certs": str(papers.ca)}).run(READ)

    assert connect(other, {"ssl_ca_certs": str(papers.ca), "ssl_check_hostname": False}).run(READ) == (
        "0",
        [],
    )


def test_checks_can_be_turned_off(connect: Connect, secure_url: str) -> None:
    options = {"ssl_cert_reqs": "none", "ssl_check_hostname": False}

    assert connect(secure_url, options).run(READ) == ("0", [])
    assert connect(secure_url + "?ssl_cert_reqs=none&ssl_check_hostname=no").run(READ) == ("0", [])


def test_a_server_may_ask_for_our_certificate(
    server: Server, redis: redis_py.Redis, papers: Papers, connect: Connect
) -> None:
    strict = context(papers)
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.load_verify_locations(papers.ca)
    ours = {"ssl_certfile": str(papers.certificate), "ssl_keyfile": str(papers.key)}
    with Proxy(server.port, tls=strict) as proxy:
        url = proxy.url.replace("redis://", "rediss://")
        trust = {"ssl_ca_certs": str(papers.ca)}

        assert connect(url, {**trust, **ours}).run(READ) == ("0", [])
        with pytest.raises(RedisUnavailable):
            connect(url, trust).run(READ)
