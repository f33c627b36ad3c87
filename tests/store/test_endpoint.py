"""Where a server is: URLs, options, and no password in any text."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import redis as redis_py
from keyspace import STORE, contents, job

from sidekiq_lua.errors import ConfigurationError, LostReply, RedisUnavailable
from sidekiq_lua.store import AsyncTransport, Endpoint, Transport
from sidekiq_lua.store.preflight import check_server
from sidekiq_lua.urls import mask

Connect = Callable[..., Transport]
PUSH = STORE.queues.push("default", [job("größe")])


# -- masks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://h", "redis://h"),
        ("redis://h:6379/0?socket_timeout=1", "redis://h:6379/0?socket_timeout=1"),
        ("redis://:pw@h:1/2", "redis://:***@h:1/2"),
        ("rediss://user:pw@h", "rediss://user:***@h"),
        ("redis://user@h", "redis://user@h"),
        ("redis://u:p@w:w/#?@h:6379/1", "redis://u:***@h:6379/1"),
        ("redis://u:p://w@h", "redis://u:***@h"),
        ("redis://:pw@[::1]:6379", "redis://:***@[::1]:6379"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("unix://u:pw@/run/redis.sock?db=0", "unix://u:***@/run/redis.sock?db=0"),
        ("unix:///run/redis.sock?db=0&password=p%2Fw", "unix:///run/redis.sock?db=0&password=***"),
        ("redis://h/0?password=p&db=1", "redis://h/0?password=***&db=1"),
        ("u:pw@h", "u:***@h"),
        ("not a url", "not a url"),
    ],
)
def test_mask_hides_the_password_and_nothing_else(url: str, masked: str) -> None:
    assert mask(url) == masked


def test_an_endpoint_shows_itself_masked() -> None:
    assert str(Endpoint("redis://user:secret@host:1/2")) == "redis://user:***@host:1/2"
    assert "secret" not in repr(Endpoint("redis://user:secret@host:1/2"))


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (f"redis://:{SECRET}@%s", {}),
        (f"redis://default:{SECRET}@%s", {}),
        ("redis://%s", {"password": SECRET}),
        (f"redis://%s?password={SECRET}", {}),
        # None where one is needed: the first command is refused, not the connection.
        ("redis://%s", {}),
    ],
)
def test_a_refused_login_tells_no_password(
    redis: redis_py.Redis, connect: Connect, server: Any, url: str, options: dict[str, Any]
) -> None:
    redis.execute_command("ACL", "SETUSER", "default", ">right", "resetpass", ">right")
    try:
        transport = connect(url % f"127.0.0.1:{server.port}", options)
        for attempt in (lambda: transport.run(PUSH), lambda: check_server(transport, production=True)):
            with pytest.raises(RedisUnavailable, match="refused the login") as caught:
                attempt()
            assert not isinstance(caught.value, LostReply), "nothing has run"
            assert SECRET not in "".join(traceback.format_exception(caught.value))
    finally:
        with redis_py.Redis(unix_socket_path=str(server.socket), password="right") as admin:
            admin.execute_command("ACL", "SETUSER", "default", "nopass")


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@127.0.0.1:1/0",
        f"unix://:{SECRET}@/nowhere/at/all",
        f"redis://:{SECRET}@no.host.invalid:1",
    ],
)
def test_an_unreachable_server_tells_no_password(connect: Connect, url: str) -> None:
    with pytest.raises(RedisUnavailable, match="is not available") as caught:
        connect(url).run(PUSH)

    assert SECRET not in "".join(traceback.format_exception(caught.value))


# -- refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "localhost:6379",
        "",
        "redis://h:port",
        # redis-py takes these for databases 0 and 12.
        "redis://h/shop",
        "redis://h/1/2",
        "redis://h?socket_timeout=soon",
        "redis://h?colour=red",
        "unix:///s?socket_keepalive=yes",
        "rediss://h?ssl_cert_reqs=perhaps",
        "redis://h?ssl_ca_certs=/x",
        f"redis://:{SECRET}#x@h",
        f"redis://:{SECRET}/x@h:6379:1",
    ],
)
def test_a_url_that_cannot_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^redis") as caught:
        Endpoint(url)

    assert SECRET not in str(caught.value)


def test_ssl_settings_need_a_rediss_url() -> None:
    with pytest.raises(ConfigurationError, match="ssl settings need a rediss:// url, not 'redis://h'"):
        Endpoint("redis://h", {"ssl_ca_certs": "/x"})


# -- what connections are like ------------------------------------------------------------------


def test_a_url_cannot_make_the_store_decode_payloads(
    url: str, redis: redis_py.Redis, connect: Connect
) -> None:
    """Hard case: with decode_responses, one invalid byte lost jobs to sight after their move."""
    raw = b'{"args":["\xff"]}'
    transport = connect(url + "?decode_responses=True&encoding=latin-1&encoding_errors=ignore&protocol=3")
    transport.run(STORE.queues.push("default", [raw]))

    assert transport.run(STORE.queues.sizes(["default"]))[0].oldest == raw
    assert transport.command("ECHO", raw) == raw


def test_a_url_s_pool_options_are_not_ours(url: str, redis: redis_py.Redis, connect: Connect) -> None:
    ignored = "?max_connections=1&timeout=1&retry_on_timeout=yes&retry_on_error=x"

    assert connect(url + ignored).command("PING") == b"PONG"


def test_redis_py_never_sends_again_by_itself(url: str) -> None:
    endpoint = Endpoint(url + "?retry_on_timeout=True")
    for connection in (endpoint.connect(), endpoint.connect_async()):
        assert connection.retry.get_retries() == 0
        assert connection.retry_on_error == []


def test_time_outs_have_defaults_and_can_be_set(url: str) -> None:
    def times(*args: Any, **more: Any) -> tuple[float, float]:
        connection = Endpoint(*args).connect(**more)
        return connection.socket_timeout, connection.socket_connect_timeout

    assert times(url) == (3, 3)
    assert times(url + "?socket_timeout=7") == (7, 3)
    assert times(url, {"socket_timeout": 5, "connect_timeout": 1}) == (5, 1)
    assert times(url, blocking_s=25) == (28, 3)


def test_options_outweigh_the_url(url: str, redis: redis_py.Redis, connect: Connect) -> None:
    transport = connect(url, {"db": 9, "client_name": "named", "url": url, "pool_size": 5, "password": None})
    transport.run(PUSH)

    assert contents(redis) == {}
    assert transport.command("CLIENT", "GETNAME") == b"named"
    redis.select(9)
    assert redis.llen("queue:default") == 1
    redis.select(0)


@pytest.mark.parametrize("password", ["pw", "p@w:/#?%", "größe"])
def test_a_user_logs_in(redis: redis_py.Redis, server: Any, connect: Connect, password: str) -> None:
    redis.execute_command("ACL", "SETUSER", "us@er", "reset", "on", f">{password}", "~*", "+@all")
    try:
        logins = [
            (f"redis://{quote('us@er')}:{quote(password, safe='')}@127.0.0.1:{server.port}", {}),
            (f"redis://127.0.0.1:{server.port}", {"username": "us@er", "password": password}),
            (f"unix://{server.socket}", {"username": "us@er", "password": password}),
        ]
        for url, options in logins:
            assert connect(url, options).command("ACL", "WHOAMI") == b"us@er"
    finally:
        redis.execute_command("ACL", "DELUSER", "us@er")


def test_a_unix_socket(server: Any, redis: redis_py.Redis, connect: Connect) -> None:
    assert connect(server.unix_url).run(PUSH) == 1

    assert contents(redis) == {"queues": {"default"}, "queue:default": [job("größe")]}


async def _push_async(url: str, options: dict[str, Any] | None = None) -> int:
    transport = AsyncTransport(Endpoint(url, options))
    try:
        return await transport.run(PUSH)
    finally:
        await transport.close()


def test_a_unix_socket_for_asyncio(server: Any, redis: redis_py.Redis) -> None:
    assert asyncio.run(_push_async(server.unix_url)) == 1
