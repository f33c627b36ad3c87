"""Where a throw-away server comes from."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

import pytest
import redis as redis_py
from servers import Server, wait_until

from sidekiq_lua.errors import NoTestServer
from sidekiq_lua.testing import servers


def test_the_bundled_one_has_its_own_home_and_leaves_nothing() -> None:
    server = servers.start("auto", {})
    home = server.about.removeprefix("a server in ")
    with redis_py.Redis.from_url(server.url()) as client, redis_py.Redis.from_url(server.url(2)) as second:
        assert client.config_get("dir")["dir"] == f"{home}/data"
        pid = client.info("server")["process_id"]
        client.set("a", 1)
        second.set("b", 2)
        assert client.keys() == [b"a"]
        server.clear()
        assert client.keys() == second.keys() == []
    server.close()
    assert not os.path.exists(home)  # noqa: PTH110
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_unknown_source() -> None:
    with pytest.raises(NoTestServer, match="auto, bundled, redis_url, docker, not 'cloud'"):
        servers.start("cloud", {})


def test_redis_url_that_does_not_answer() -> None:
    with pytest.raises(NoTestServer, match=r"redis_url: .*127\.0\.0\.1:1") as caught:
        servers.start("redis_url", {"REDIS_URL": "redis://:secret@127.0.0.1:1"})
    assert "secret" not in str(caught.value)


def test_two_runs_on_one_server_share_no_database(make_server: Any) -> None:
    server: Server = make_server()
    runs = [servers.start("redis_url", {"REDIS_URL": server.url}) for _ in range(3)]
    assert [run.url()[-3:] for run in runs] == ["/15", "/14", "/13"]
    assert runs[1].url(1)[-3:] == "/12"
    with redis_py.Redis.from_url(runs[1].url(1)) as client:
        client.set("a", 1)
        runs[0].clear()
        assert sorted(client.keys()) == [b"a", b"lua:test-claim"]
        runs[1].clear()
        assert client.keys() == [b"lua:test-claim"]
        for run in runs:
            run.close()
        assert client.keys() == []


def test_a_server_without_a_free_database(make_server: Any) -> None:
    server: Server = make_server(databases=2)
    with redis_py.Redis.from_url(server.url.replace("/0", "/1")) as client:
        client.set("mine", 1)
        with pytest.raises(NoTestServer, match=r"none of the databases 1 to 15 is empty.*FLUSHDB"):
            servers.start("redis_url", {"REDIS_URL": server.url})
        assert client.keys() == [b"mine"]


def test_the_only_free_database_of_a_small_server(make_server: Any) -> None:
    server: Server = make_server(databases=3)
    run = servers.start("redis_url", {"REDIS_URL": server.url.replace("/0", "/2")})
    assert run.url().endswith("/1")
    run.close()


class Container:
    """As testcontainers' DockerContainer is used, but its server is a process of ours."""

    ended: list[str] = []
    made: Any

    def __init__(self, image: str) -> None:
        self.image = image

    def with_exposed_ports(self, port: int) -> Container:
        self.port = port
        return self

    def start(self) -> Container:
        self.server = self.made()
        return self

    def get_container_host_ip(self) -> str:
        return "127.0.0.1"

    def get_exposed_port(self, port: int) -> int:
        assert port == self.port == 6379
        return int(self.server.port)

    def stop(self) -> None:
        self.ended.append(self.image)


@pytest.fixture
def testcontainers(monkeypatch: pytest.MonkeyPatch, make_server: Any) -> type[Container]:
    module: Any = ModuleType("testcontainers.core.container")
    module.DockerContainer = Container
    monkeypatch.setitem(sys.modules, "testcontainers.core.container", module)
    monkeypatch.setattr(Container, "ended", [])
    monkeypatch.setattr(Container, "made", staticmethod(make_server), raising=False)
    return Container


def test_a_container(testcontainers: type[Container]) -> None:
    server = servers.start("docker", {})
    with redis_py.Redis.from_url(server.url(1)) as client:
        client.set("a", 1)
        server.clear()
        assert client.keys() == []
    server.close()
    assert testcontainers.ended == [servers.IMAGE]


def test_docker_that_does_not_start(testcontainers: type[Container], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("is the docker daemon running?")

    monkeypatch.setattr(testcontainers, "made", staticmethod(fail))
    with pytest.raises(NoTestServer, match=r"docker: Docker does not start .*is the docker daemon running"):
        servers.start("docker", {})


def test_docker_without_testcontainers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "testcontainers.core.container", None)
    with pytest.raises(NoTestServer, match="docker: testcontainers is not installed"):
        servers.start("docker", {})


def test_a_killed_test_run_leaves_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "ABANDONED_S", 0.3)
    server: Any = servers.start("bundled", {})
    with redis_py.Redis.from_url(server.url()) as client:
        pid = client.info("server")["process_id"]
    server._transport.close()  # as the end of the process would

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(gone, 20, "the server's end")
    server.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", "redis://h/4"),
        ("redis://u:p%40@h:1/2?socket_timeout=3&db=5", "redis://u:p%40@h:1/4?socket_timeout=3"),
        ("rediss://h/2", "rediss://h/4"),
        ("unix:///a/b.sock", "unix:///a/b.sock?db=4"),
        ("unix://u:p@/a/b.sock?db=1", "unix://u:p@/a/b.sock?db=4"),
    ],
)
def test_a_database_of_a_url(url: str, expected: str) -> None:
    assert servers._with_database(url, 4) == expected
