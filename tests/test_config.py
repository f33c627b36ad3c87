"""Settings in code: defaults, every check and its message, freezing, and what follows from the queues."""

from __future__ import annotations

import ast
import copy
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidekiq_lua.config import Config
from sidekiq_lua.config.capsules import CAPSULE_OPTIONS
from sidekiq_lua.config.redis_options import REDIS_OPTIONS
from sidekiq_lua.config.settings import SETTINGS, keep_all
from sidekiq_lua.config.surroundings import default_tag
from sidekiq_lua.errors import ConfigurationError, FrozenConfig, UnknownSetting
from sidekiq_lua.middleware import Chain
from sidekiq_lua.reporting import log_error
from sidekiq_lua.store.endpoint import Endpoint

DOCUMENTATION = Path(__file__).parents[1] / "docs" / "configuration.md"


class Server:
    def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any: ...


class Client:
    def call(self, job_class: Any, payload: Any, queue: Any, redis: Any, next: Callable[[], Any]) -> Any: ...


@pytest.fixture
def config() -> Config:
    return Config(environ={})


# -- the documentation ------------------------------------------------------------------


def table(heading: str) -> list[tuple[str, Any, str]]:
    """The rows under a heading of the documentation, with their defaults as values."""
    section = DOCUMENTATION.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", section, re.MULTILINE)
    return [
        (name, ast.literal_eval(default.strip("`")) if default[0] == "`" else default, meaning)
        for name, default, meaning in rows
    ]


def test_the_documented_table_of_settings_is_the_code() -> None:
    in_code = {name: (setting.default, setting.doc) for name, setting in SETTINGS.items()}
    in_code["backtrace_cleaner"] = ("every line", SETTINGS["backtrace_cleaner"].doc)
    in_code["error_handlers"] = ("the log", SETTINGS["error_handlers"].doc)
    in_code["lifecycle_events"] = ({}, SETTINGS["lifecycle_events"].doc)
    documented = [(name, (default, meaning)) for name, default, meaning in table("Settings")]
    assert documented == list(in_code.items())
    assert all(setting.doc for setting in SETTINGS.values())


def test_the_documented_table_of_redis_options_is_the_code() -> None:
    assert table("Redis") == [(name, option.default, option.doc) for name, option in REDIS_OPTIONS.items()]


def test_the_documented_table_of_capsules_is_the_code() -> None:
    in_code = [(name, option.default, option.doc) for name, option in CAPSULE_OPTIONS.items()]
    assert table("Capsules") == in_code


def test_the_documented_time_outs_are_those_of_a_connection() -> None:
    connection = Endpoint("redis://localhost").connect()
    assert connection.socket_timeout == REDIS_OPTIONS["socket_timeout"].default
    assert connection.socket_connect_timeout == REDIS_OPTIONS["connect_timeout"].default


def test_a_new_config_has_the_documented_defaults(config: Config) -> None:
    held = config.to_dict()
    for name, default, _ in table("Settings"):
        if name not in (
            "tag",
            "backtrace_cleaner",
            "error_handlers",
            "lifecycle_events",
            "client_middleware",
            "server_middleware",
        ):
            assert held[name] == default, name
    assert config.tag == Path.cwd().name
    assert config.backtrace_cleaner is keep_all
    assert keep_all(["a", "b"]) == ["a", "b"]
    assert list(config.lifecycle_events) == ["startup", "quiet", "shutdown", "exit", "heartbeat", "beat"]
    assert not any(config.lifecycle_events.values())
    assert len(config.client_middleware) == len(config.server_middleware) == 0


# -- what is taken ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("timeout", timedelta(minutes=1), 60),
        ("timeout", 0.5, 0.5),
        ("crash_window", timedelta(hours=1), 3600),
        ("heartbeat_ttl", 90.0, 90),
        ("poll_interval_average", None, None),
        ("crash_limit", 0, 0),
        ("max_retries", 0, 0),
        ("payload_format", 8.1, "8.1"),
        ("payload_format", 7, "7"),
        ("payload_limit", 1, 1),
        ("labels", "eu", ["eu"]),
        ("labels", ("b", "a", "b"), ["b", "a"]),
        ("require", Path("jobs.py"), ["jobs.py"]),
        ("require", ["app.jobs", Path("jobs.py")], ["app.jobs", "jobs.py"]),
        ("log_level", "WARN", "warn"),
        ("log_level", logging.ERROR, logging.ERROR),
        ("tag", "", ""),
        ("dump_json", str, str),
        ("logger", None, None),
        ("redis", "redis://h", {"url": "redis://h"}),
        ("redis", {"url": "unix:///run/redis.sock", "db": None}, {"url": "unix:///run/redis.sock"}),
        ("redis", {"url": "rediss://u:p%40@h:1/2", "ssl_ca_certs": "/ca"}, None),
        ("redis", {"ssl_check_hostname": False, "pool_size": 3, "pool_timeout": 0.5}, None),
        ("redis", {"url": "local:", "password": " p w "}, None),
        ("redis", None, {}),
        ("pools", {"shard-1": "redis://h"}, {"shard-1": {"url": "redis://h"}}),
    ],
)
def test_a_good_value_is_kept(config: Config, name: str, given: Any, kept: Any) -> None:
    setattr(config, name, given)
    expected = given if kept is None else kept
    assert config.to_dict()[name] == expected
    assert config.get(name) == getattr(config, name)
    assert Config(config.to_dict()).to_dict()[name] == expected


def test_none_brings_the_computed_tag_back(config: Config) -> None:
    config.tag = "web"
    assert config.tag == "web"
    config.tag = None
    assert config.tag == Path.cwd().name


@pytest.mark.parametrize(
    ("directory", "tag"),
    [
        ("/srv/shop", "shop"),
        ("/srv/shop/releases/20261124", "shop"),
        ("/srv/shop/releases/20261124b", "shop"),
        ("/srv/shop/releases/0", "0"),
        ("/srv/shop/releases/next", "next"),
        ("/srv/shop/1234", "1234"),
        ("/", "/"),
    ],
)
def test_the_tag_is_the_directory_as_ruby_names_it(directory: str, tag: str) -> None:
    assert default_tag(Path(directory)) == tag


def test_a_deleted_directory_gives_an_empty_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert Config(environ={}).tag == ""


# -- the environment ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "environment"),
    [
        ({}, "development"),
        ({"APP_ENV": "staging"}, "staging"),
        ({"APP_ENV": "staging", "SIDEKIQ_ENV": "production"}, "production"),
        ({"APP_ENV": "staging", "SIDEKIQ_ENV": ""}, "staging"),
    ],
)
def test_the_environment_is_named_by_a_variable(environ: dict[str, str], environment: str) -> None:
    assert Config(environ=environ).environment == environment
    assert Config({"environment": "qa"}, environ=environ).environment == "qa"


def test_concurrency_comes_from_rails_max_threads_unless_given() -> None:
    environ = {"RAILS_MAX_THREADS": "8"}
    assert Config(environ=environ).concurrency == 8
    assert Config(environ=environ, concurrency=3).concurrency == 3
    assert Config(environ={"RAILS_MAX_THREADS": ""}).concurrency == 5
    assert Config({"concurrency": 3}, environ={"RAILS_MAX_THREADS": "many"}).concurrency == 3


@pytest.mark.parametrize("value", ["many", "0", "-1", "1.5"])
def test_a_bad_rails_max_threads_is_named(value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"RAILS_MAX_THREADS must be 1 or more, not '{value}'"):
        Config(environ={"RAILS_MAX_THREADS": value})


def test_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDEKIQ_ENV", "production")
    assert Config().environment == "production"


# -- unknown names ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("concurency", "concurrency"),
        ("heartbeatInterval", "heartbeat_interval"),
        ("queue", "queues"),
        ("dead_max", "dead_max_jobs"),
        ("namespace", ""),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_everywhere(
    config: Config, name: str, nearest: str
) -> None:
    message = rf"there is no setting '{name}'; the nearest is '{nearest}"
    with pytest.raises(UnknownSetting, match=message):
        setattr(config, name, 1)
    with pytest.raises(UnknownSetting, match=message):
        getattr(config, name)
    with pytest.raises(UnknownSetting, match=message):
        config.get(name)
    with pytest.raises(UnknownSetting, match=message):
        config.update({name: 1})
    with pytest.raises(UnknownSetting, match=message):
        Config(**{name: 1})
    assert not hasattr(config, name)


def test_update_changes_all_or_nothing_and_names_its_source(config: Config) -> None:
    with pytest.raises(UnknownSetting, match=r"^sidekiq\.yml: there is no setting 'tags'"):
        config.update({"concurrency": 9, "tags": 1}, source="sidekiq.yml")
    with pytest.raises(ConfigurationError, match=r"^sidekiq\.yml: timeout must be"):
        config.update({"concurrency": 9, "timeout": 0}, source="sidekiq.yml")
    assert config.concurrency == 5
    config.update({"concurrency": 9, "timeout": 1})
    assert (config.concurrency, config.timeout) == (9, 1)


def test_a_setting_cannot_be_deleted(config: Config) -> None:
    with pytest.raises(ConfigurationError, match="timeout cannot be deleted; assign its default: 25"):
        del config.timeout


# -- freezing, and two at once ------------------------------------------------------------


def test_a_frozen_config_refuses_every_change(config: Config) -> None:
    config.freeze()
    config.freeze()
    assert config.frozen
    before = str(config.to_dict())
    for name, setting in SETTINGS.items():
        with pytest.raises(FrozenConfig, match=f"{name} cannot be changed once the worker has started"):
            setattr(config, name, setting.default)
    for change in (
        lambda: config.update({"timeout": 1}),
        lambda: config.queues.append("low"),
        lambda: config.labels.extend(["a"]),
        lambda: config.on("startup", print),
        lambda: config.error_handler(lambda *_: None),
        lambda: config.server_middleware.add(Server),
        lambda: config.client_middleware.add(Client),
    ):
        with pytest.raises(FrozenConfig):
            change()
    assert str(config.to_dict()) == before


def test_a_copy_of_a_frozen_config_can_be_changed(config: Config) -> None:
    config.server_middleware.add(Server)
    config.freeze()
    twin = Config(config.to_dict())
    twin.labels.append("eu")
    twin.server_middleware.clear()
    assert (config.labels, len(config.server_middleware)) == ([], 1)


def test_two_configs_share_nothing() -> None:
    first, second = Config(environ={}), Config(environ={})
    untouched = str(second.to_dict())
    first.update({"queues": ["a", "b"], "redis": "redis://h", "timeout": 1})
    first.labels.append("eu")
    first.logged_job_attributes.append("x")
    first.error_handler(lambda *_: None)
    first.on("startup", print)
    first.server_middleware.add(Server)
    first.freeze()
    assert str(second.to_dict()) == untouched
    second.labels.append("us")
    assert (first.labels, second.labels) == (["eu"], ["us"])


# -- hooks --------------------------------------------------------------------------------


def test_events_are_registered_by_decorator_and_by_call(config: Config) -> None:
    @config.on("startup")
    def first() -> None: ...

    def second() -> None: ...

    assert config.on("startup", second) is second
    assert config.lifecycle_events["startup"] == [first, second]
    config.lifecycle_events = {"beat": first, "exit": [first, second]}
    assert config.to_dict()["lifecycle_events"] == {
        **{event: [] for event in ("startup", "quiet", "shutdown", "heartbeat")},
        "beat": [first],
        "exit": [first, second],
    }


def test_handlers_are_registered_by_decorator(config: Config) -> None:
    @config.error_handler
    def on_error(error: Any, context: Any, config: Any) -> None: ...

    @config.death_handler
    def on_death(job: Any, error: Any) -> None: ...

    assert config.error_handlers == [log_error, on_error]
    assert config.death_handlers == [on_death]


def test_middleware_gets_the_config_it_belongs_to(config: Config) -> None:
    class Telling:
        config: Any

        def call(self, *given: Any) -> Any:
            return self.config

    chain = Chain()
    chain.add(Telling)
    config.server_middleware = chain
    config.client_middleware = [Telling]
    chain.clear()
    assert config.server_middleware.invoke("job", {}, "q", lambda: None) is config
    assert config.client_middleware.invoke_client("HardJob", {}, "q", None, lambda: None) is config


def test_lists_are_plain_when_copied(config: Config) -> None:
    assert type(copy.deepcopy(config.queues)) is list
    config.to_dict()["queues"].append("two words")
    config.queues += ["low"]
    config.queues[0] = "high"
    assert config.queues.pop() == "low"
    assert config.queues == ["high"]


# -- capsules -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "weights", "mode", "written"),
    [
        (["a", "b"], {"a": 0, "b": 0}, "strict", ["a", "b"]),
        ("a", {"a": 0}, "strict", ["a"]),
        (["a,0", "b"], {"a": 0, "b": 0}, "strict", ["a", "b"]),
        (["a,1", "b,1"], {"a": 1, "b": 1}, "random", ["a,1", "b,1"]),
        (["a,3", ["b", 2], ("c", "1")], {"a": 3, "b": 2, "c": 1}, "weighted", ["a,3", "b,2", "c,1"]),
        ([["a"], {"b": 2, "c": 1}], {"a": 0, "b": 2, "c": 1}, "weighted", ["a", "b,2", "c,1"]),
        ({"a": 1, "b": 1}, {"a": 1, "b": 1}, "random", ["a,1", "b,1"]),
        (["a,1", "b"], {"a": 1, "b": 0}, "weighted", ["a,1", "b"]),
        (["a", "b", "a"], {"a": 0, "b": 0}, "strict", ["a", "b", "a"]),
        (["a,2", "a,1"], {"a": 1}, "random", ["a,2", "a,1"]),
    ],
)
def test_queues_make_a_capsule(
    config: Config, given: Any, weights: dict[str, int], mode: str, written: list[str]
) -> None:
    config.update({"queues": given, "concurrency": 7})
    assert config.queues == written
    assert list(config.weights.items()) == list(weights.items())
    assert config.mode == mode
    capsule = config.capsules["default"]
    assert (list(capsule.queues), capsule.weights, capsule.mode, capsule.concurrency) == (
        written,
        weights,
        mode,
        7,
    )
