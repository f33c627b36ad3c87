"""Every value that cannot work is refused in one line that names the setting, and no password is shown."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest

from sidekiq_lua import Sidekiq
from sidekiq_lua.config import Config
from sidekiq_lua.errors import ConfigurationError, UnknownSetting
from sidekiq_lua.middleware import Chain
from sidekiq_lua.reporting import log_error

QUEUE_FORMS = 'queues must be a list of "name", "name,weight", [name, weight] or {name: weight}, not '
SECRET = "s3cr3t"


@pytest.fixture
def config() -> Config:
    return Config(environ={})


BAD: list[tuple[str, Any, str]] = [
    ("concurrency", 0, "concurrency must be a whole number of 1 or more, not 0"),
    ("concurrency", "5", "concurrency must be a whole number of 1 or more, not '5'; write it without quotes"),
    ("concurrency", True, "concurrency must be a whole number of 1 or more, not True"),
    ("concurrency", 2.0, "concurrency must be a whole number of 1 or more, not 2.0"),
    ("crash_limit", -1, "crash_limit must be a whole number of 0 or more, not -1"),
    ("max_retries", 2**53, f"max_retries must be a whole number of 0 or more, not {2**53}"),
    ("dead_max_jobs", 0, "dead_max_jobs must be a whole number of 1 or more, not 0"),
    ("payload_limit", 0, "payload_limit must be a whole number of 1 or more, not 0"),
    ("timeout", 0, "timeout must be a number of seconds above 0 and at most 100 years, not 0"),
    (
        "timeout",
        1e12,
        "timeout must be a number of seconds above 0 and at most 100 years, not 1000000000000.0",
    ),
    ("timeout", float("nan"), "timeout must be a number of seconds or a timedelta, not nan"),
    (
        "timeout",
        "25",
        "timeout must be a number of seconds or a timedelta, not '25'; write it without quotes",
    ),
    ("timeout", None, "timeout must be a number of seconds or a timedelta, not None"),
    ("timeout", False, "timeout must be a number of seconds or a timedelta, not False"),
    ("heartbeat_ttl", 60.5, "heartbeat_ttl must be a whole number of seconds, not 60.5"),
    ("crash_window", 0.5, "crash_window must be a whole number of seconds, not 0.5"),
    (
        "heartbeat_interval",
        30,
        "heartbeat_ttl (60 s) must be more than twice heartbeat_interval (30 s): raise heartbeat_ttl first, "
        "or set both at once with update()",
    ),
    (
        "heartbeat_ttl",
        20,
        "heartbeat_ttl (20 s) must be more than twice heartbeat_interval (10 s): raise heartbeat_ttl first, "
        "or set both at once with update()",
    ),
    (
        "strict_args",
        "rase",
        "strict_args must be 'raise' or 'warn' or 'none', not 'rase'; did you mean 'raise'?",
    ),
    ("strict_args", None, "strict_args must be 'raise' or 'warn' or 'none', not None"),
    ("payload_format", 8, "payload_format must be '8.1' or '7', not 8; did you mean '8.1'?"),
    ("skip_default_job_logging", "yes", "skip_default_job_logging must be true or false, not 'yes'"),
    ("environment", " ", "environment must be one line of text, not ' '"),
    ("tag", "a\nb", "tag must be one line of text, not 'a\\nb'"),
    ("labels", [1], "each of labels must be one line of text, not 1"),
    ("labels", {"a": 1}, "labels must be a list of texts, not {'a': 1}"),
    ("labels", 7, "labels must be a list of texts, not 7"),
    ("logged_job_attributes", [""], "each of logged_job_attributes must be one line of text, not ''"),
    ("require", 3, "require must be a list of paths, not 3"),
    ("require", [3], "each of require must be one line of text, not 3"),
    ("logger", "stdout", "logger must be a logging.Logger, not 'stdout'"),
    (
        "log_level",
        "loud",
        "log_level must be debug, info, warn, error, fatal or a number of logging, not 'loud'",
    ),
    ("profiler", "cprofile", "profiler must be a callable that takes (payload, fn), not 'cprofile'"),
    ("dump_json", 1, "dump_json must be a callable that takes (value), not 1"),
    ("load_json", 1, "load_json must be a callable that takes (text), not 1"),
    ("backtrace_cleaner", None, "backtrace_cleaner must be a callable that takes (lines), not None"),
    (
        "error_handlers",
        ["f"],
        "each of error_handlers must be a callable that takes (error, context, config), not 'f'",
    ),
    ("death_handlers", [1], "each of death_handlers must be a callable that takes (job, error), not 1"),
    ("error_handlers", print, "error_handlers must be a list of callables, not <built-in function print>"),
    ("lifecycle_events", [1], "lifecycle_events must be a mapping from an event to its handlers, not [1]"),
    (
        "lifecycle_events",
        {"beat": [1]},
        "each of lifecycle_events beat must be a callable that takes (), not 1",
    ),
    (
        "lifecycle_events",
        {"start": print},
        "there is no event 'start'; the nearest is 'startup' "
        "(of startup, quiet, shutdown, exit, heartbeat, beat)",
    ),
    ("server_middleware", 1, "server_middleware must be a Chain or a list of middleware classes, not 1"),
    ("client_middleware", [int], "int has no method `call`, so it cannot be a middleware"),
    ("queues", [], f"{QUEUE_FORMS}[]"),
    ("queues", 7, f"{QUEUE_FORMS}7"),
    ("queues", [["a", 1, 2]], f"{QUEUE_FORMS}['a', 1, 2]"),
    ("queues", [7], f"{QUEUE_FORMS}7"),
    ("queues", ["two words"], "a queue in queues must be a name without spaces or commas, not 'two words'"),
    (
        "queues",
        ["a, 2 b"],
        "the weight of queue 'a' in queues must be a whole number from 0 to 10000, not ' 2 b'",
    ),
    ("queues", [""], "a queue in queues must be a name without spaces or commas, not ''"),
    ("queues", ["a\t"], "a queue in queues must be a name without spaces or commas, not 'a\\t'"),
    ("queues", [",2"], "a queue in queues must be a name without spaces or commas, not ''"),
    ("queues", [[1, 2]], "a queue in queues must be a name without spaces or commas, not 1"),
    ("queues", {"a,b": 1}, "a queue in queues must be a name without spaces or commas, not 'a,b'"),
    ("queues", ["a,b"], "the weight of queue 'a' in queues must be a whole number from 0 to 10000, not 'b'"),
    ("queues", {"a": -1}, "the weight of queue 'a' in queues must be a whole number from 0 to 10000, not -1"),
    ("queues", ["a,"], "the weight of queue 'a' in queues must be a whole number from 0 to 10000, not ''"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_a_bad_value_is_refused_and_nothing_changes(
    config: Config, name: str, value: Any, message: str
) -> None:
    before = str(config.to_dict())
    with pytest.raises(ConfigurationError) as refused:
        setattr(config, name, value)
    assert str(refused.value) == message
    assert str(config.to_dict()) == before


def test_a_long_value_is_cut_in_the_message(config: Config) -> None:
    with pytest.raises(ConfigurationError) as refused:
        config.tag = "\n" * 1000
    assert len(str(refused.value)) < 110


async def never(*args: Any) -> None: ...


class Never:
    async def __call__(self, *args: Any) -> None: ...


@pytest.mark.parametrize("handler", [never, Never(), partial(never, 1)])
def test_a_handler_that_nobody_would_await_is_refused(config: Config, handler: Any) -> None:
    """To call it runs none of it: nobody would hear of a dead job, or a pool not be open."""
    app = Sidekiq()
    for register, name in (
        (config.on("startup"), "each of lifecycle_events startup"),
        (config.death_handler, "each of death_handlers"),
        (config.error_handler, "each of error_handlers"),
        (app.configure_client, "configure_client"),
        (app.configure_server, "configure_server"),
        (app.configure_embed, "configure_embed"),
    ):
        with pytest.raises(ConfigurationError, match=f"{name} must be a plain function, since nothing would"):
            register(handler)
    assert not config.death_handlers
    config.profiler = handler  # whose answer is awaited


def test_a_handler_of_the_wrong_shape_is_refused_when_registered(config: Config) -> None:
    with pytest.raises(ConfigurationError, match=r"takes \(error, context, config\)"):
        config.error_handler(lambda error, context: None)
    with pytest.raises(ConfigurationError, match=r"takes \(job, error\)"):
        config.death_handler(lambda error: None)
    with pytest.raises(
        ConfigurationError, match=r"lifecycle_events quiet must be a callable that takes \(\)"
    ):
        config.on("quiet", lambda app: None)
    with pytest.raises(ConfigurationError, match="there is no event 'stop'; the nearest is 'startup'"):
        config.on("stop")
    assert config.error_handlers == [log_error]
    assert not config.death_handlers
    assert not config.lifecycle_events["quiet"]


def test_a_list_refuses_a_bad_change_and_stays_as_it_was(config: Config) -> None:
    for change in (
        lambda: config.queues.append("two words"),
        lambda: config.queues.extend(["low", ""]),
        lambda: config.queues.insert(0, 7),  # type: ignore[arg-type]
        lambda: config.queues.__setitem__(0, "a b"),
        lambda: config.queues.__iadd__(["a b"]),
        lambda: config.queues.clear(),
        lambda: config.queues.pop(),
        lambda: config.queues.remove("default"),
        lambda: config.queues.__delitem__(0),
        lambda: config.queues.__imul__(0),
    ):
        with pytest.raises(ConfigurationError, match="queue"):
            change()
        assert config.queues == ["default"]


def test_a_middleware_of_the_other_kind_is_refused(config: Config) -> None:
    class ServerSide:
        def call(self, job: Any, payload: Any, queue: Any, next: Any) -> Any: ...

    chain = Chain()
    chain.add(ServerSide)
    with pytest.raises(ConfigurationError, match="to be a client middleware"):
        config.client_middleware = chain
    with pytest.raises(ConfigurationError, match="to be a client middleware"):
        config.client_middleware.use(ServerSide)


# -- redis --------------------------------------------------------------------------------

BAD_REDIS: list[tuple[Any, str]] = [
    (7, "redis must be a url or a mapping of options, not int"),
    ("localhost:6379", "redis url must begin with redis://, rediss:// or unix://, or be local:"),
    ("http://h", "redis url must begin with redis://, rediss:// or unix://, or be local:"),
    ("", "redis url must begin with redis://, rediss:// or unix://, or be local:"),
    ({"url": 7}, "redis url must be a text, not int"),
    ("redis://h/zero", "redis url must end in host:port or host:port/N, N the database's number"),
    ("redis://h:0", "redis url must end in host:port or host:port/N, N the database's number"),
    ("redis://h/1 ", "redis url must not contain spaces or line breaks"),
    ("unix://", "redis url must name the socket's path, as in unix:///run/redis.sock"),
    ({"db": -1}, "redis db must be a whole number of 0 or more, not -1"),
    ({"pool_size": 0}, "redis pool_size must be a whole number of 1 or more, not 0"),
    (
        {"pool_timeout": 0},
        "redis pool_timeout must be a number of seconds above 0 and at most 100 years, not 0",
    ),
    ({"client_name": "my app"}, "redis client_name must be a name without spaces, not 'my app'"),
    (
        {"ssl_cert_reqs": "never"},
        "redis ssl_cert_reqs must be 'required' or 'optional' or 'none', not 'never'; did you mean 'none'?",
    ),
    ({"ssl_check_hostname": 1}, "redis ssl_check_hostname must be true or false, not 1"),
    (
        {"url": "redis://h", "ssl_ca_certs": "/ca"},
        "redis ssl_ca_certs needs a url that begins with rediss://",
    ),
    ({"password": 1234}, "redis password must be a text, not int; put it in quotes"),
]


@pytest.mark.parametrize(("value", "message"), BAD_REDIS)
def test_bad_redis_settings_are_refused(config: Config, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        config.redis = value
    assert str(refused.value) == message
    assert config.to_dict()["redis"] == {}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("sockettimeout", "redis: unknown option 'sockettimeout'; the nearest known one is 'socket_timeout'"),
        ("size", "redis: size is called pool_size"),
        ("host", "redis: host is part of the url: redis://host:port/db"),
        ("nodes", "redis: nodes is not supported: one application's jobs must be on one server, not on a"),
        ("namespace", "redis: namespace is not supported: Sidekiq 7 and later keep no namespaces; give each"),
    ],
)
def test_an_unknown_redis_option_is_refused_with_the_way_out(
    config: Config, option: str, message: str
) -> None:
    with pytest.raises(UnknownSetting) as refused:
        config.redis = {option: "x"}
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["redis://h"], "pools must be a mapping from a name to options, not list"),
        ({"a": {"pool_size": 1}}, "pools 'a' must have a url"),
        ({"a": {"url": "h"}}, "pools 'a' url must begin with redis://, rediss:// or unix://, or be local:"),
        ({1: "redis://h"}, "a name in pools must be one line of text, not 1"),
    ],
)
def test_bad_pools_are_refused(config: Config, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        config.pools = value
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "redis",
    [
        f"http://u:{SECRET}@h",
        f"redis://u:{SECRET}/x@h",
        f"redis://u:{SECRET}#x@h",
        f"redis://u:12/{SECRET}@h",
        f"redis://u:{SECRET}@h:port",
        f"redis://u:{SECRET}@h:99999",
        f"redis://u:{SECRET}@[::1",
        f"redis://u:{SECRET}@h /0",
        f"unix://{SECRET}",
        f"rediss://h?password={SECRET} ",
        f"{SECRET}@h",
        {"url": [SECRET]},
        {"password": SECRET.encode()},
        {"url": f"redis://u:{SECRET}@h", "ssl_keyfile": "k"},
        {"url": f"redis://u:{SECRET}@h", "pool_size": "x"},
        [f"redis://u:{SECRET}@h"],
    ],
)
def test_no_error_shows_a_password(config: Config, redis: Any) -> None:
    for name, value in (("redis", redis), ("pools", {"shard": redis}), ("pools", [redis])):
        with pytest.raises(ConfigurationError) as refused:
            setattr(config, name, value)
        assert SECRET not in str(refused.value)
        assert refused.value.__context__ is None or refused.value.__suppress_context__


def test_no_repr_shows_a_password(config: Config) -> None:
    config.redis = {"url": f"redis://u:{SECRET}@h", "password": SECRET}
    config.pools = {"shard": f"redis://u:{SECRET}@h"}
    assert SECRET in str(config.to_dict())
    for shown in (repr(config), repr(config.redis), repr(config.pools), str(config.redis)):
        assert SECRET not in shown
        assert "redis" in shown.lower()


def test_a_handler_with_yield_is_refused(config: Config) -> None:
    """To call it would answer a generator, and run nothing."""

    def yielding(*_: Any) -> Any:
        yield

    for register in (config.error_handler, config.death_handler, partial(config.on, "quiet")):
        with pytest.raises(ConfigurationError, match="must be a function without `yield`"):
            register(yielding)


def test_a_mock_of_a_function_is_taken(config: Config) -> None:
    """As users' tests make one; `inspect` fails at it."""

    def spied(*_: Any) -> None: ...

    for register in (config.error_handler, config.death_handler, partial(config.on, "quiet")):
        register(Mock(spec=spied))
    Sidekiq().configure_server(Mock(spec=spied))
