"""Capsules as they are configured, in code and in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidekiq_lua.config import Config
from sidekiq_lua.config.files import load
from sidekiq_lua.errors import ConfigurationError, FrozenConfig, UnknownSetting


class Outer:
    def call(self, job: Any, payload: Any, queue: str, next: Any) -> Any:
        return next()


class Inner(Outer):
    pass


def shown(config: Config) -> dict[str, Any]:
    return {
        name: (capsule.concurrency, list(capsule.queues), capsule.mode)
        for name, capsule in config.capsules.items()
    }


def test_every_worker_has_the_default_one() -> None:
    config = Config(concurrency=3, queues=["a,2", "b"])
    assert shown(config) == {"default": (3, ["a,2", "b"], "weighted")}
    config.concurrency = 4
    assert config.capsule("default") is config.capsules["default"]
    assert (config.capsule("default").concurrency, config.total_concurrency) == (4, 4)


def test_one_made_in_code() -> None:
    config = Config(concurrency=3)
    serial = config.capsule("serial", queues=["x", "y"], concurrency=1)
    other = config.capsule("other")
    other.queues = {"z": 1}
    other.queues.append("w,1")
    assert shown(config) == {
        "default": (3, ["default"], "strict"),
        "serial": (1, ["x", "y"], "strict"),
        "other": (3, ["z,1", "w,1"], "random"),
    }
    assert config.total_concurrency == 7
    assert repr(serial) == "<Capsule serial: concurrency=1, queues=['x', 'y']>"


def test_the_same_name_is_the_same_capsule() -> None:
    config = Config(capsules={"serial": {"queues": "x", "concurrency": 1}})
    assert config.capsule("serial", concurrency=2) is config.capsule("serial")
    assert shown(config)["serial"] == (2, ["x"], "strict")


def test_two_capsules_may_serve_a_queue() -> None:
    config = Config(queues=["x"], capsules={"also": {"queues": "x"}})
    config.freeze()
    assert [list(capsule.queues) for capsule in config.capsules.values()] == [["x"], ["x"]]


def test_middleware_starts_as_a_copy() -> None:
    config = Config()
    config.server_middleware.use(Outer)
    own = config.capsule("own", queues=["x"])
    same = config.capsule("same", queues=["y"])
    own.server_middleware.use(Inner)
    config.server_middleware.use(Inner)
    own.server_middleware.remove(Outer)
    assert str(own.server_middleware) == "Inner"
    assert str(same.server_middleware) == str(config.server_middleware) == "Outer, Inner"
    own.server_middleware = [Outer]
    assert str(own.server_middleware) == "Outer"


def test_a_copy_of_all_settings() -> None:
    config = Config(capsules={"a": {"queues": ["x,2", "y"], "concurrency": 2, "server_middleware": [Outer]}})
    config.capsule("default").server_middleware.use(Inner)
    twin = Config(config.to_dict())
    assert shown(twin) == shown(config)
    chains = {name: str(capsule.server_middleware) for name, capsule in twin.capsules.items()}
    assert chains == {"default": "Inner", "a": "Outer"}
    twin.capsule("a").queues.append("z")
    twin.capsule("a").server_middleware.clear()
    assert shown(config)["a"] == (2, ["x,2", "y"], "weighted")
    assert str(config.capsule("a").server_middleware) == "Outer"


def test_nothing_changes_once_the_worker_runs() -> None:
    config = Config()
    capsule = config.capsule("a", queues=["x"])
    config.freeze()
    for change in (
        lambda: config.capsule("b", queues=["y"]),
        lambda: config.capsule("a", concurrency=2),
        lambda: setattr(capsule, "concurrency", 2),
        lambda: capsule.queues.append("y"),
        lambda: capsule.server_middleware.use(Outer),
        lambda: setattr(config, "capsules", {}),
    ):
        with pytest.raises(FrozenConfig):
            change()
    assert shown(config)["a"] == (5, ["x"], "strict")
    assert config.capsule("a") is capsule


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"queues": []}, "queues of capsule 'a' must be a list of"),
    ({"queues": ["two words"]}, "a queue in queues of capsule 'a' must be a name without"),
    (
        {"queues": ["x"], "concurrency": 0},
        "concurrency of capsule 'a' must be a whole number of 1 or more, not 0",
    ),
    (
        {"queues": ["x"], "concurency": 1},
        "capsule 'a': unknown option 'concurency'; the nearest known one is",
    ),
    ({"queues": ["x"], "server_middleware": [5]}, "int has no method `call`"),
]


@pytest.mark.parametrize(("options", "why"), REFUSED)
def test_what_is_refused(options: dict[str, Any], why: str) -> None:
    config = Config()
    with pytest.raises(ConfigurationError, match=why):
        config.capsule("a", **options)
    with pytest.raises(ConfigurationError, match=why):
        config.capsules = {"a": options}
    assert list(config.capsules) == ["default"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (["a"], "capsules must be a mapping from a name to its options, not"),
        ({"a": ["x"]}, "capsule 'a' must be a mapping of options, not"),
        ({"a": {"concurrency": 1}}, "capsule 'a' must have queues"),
        ({5: {"queues": ["x"]}}, "the name of a capsule must be one line of text, not 5"),
        ({"default": {"queues": ["x"]}}, "capsule 'default': its queues is the setting `queues`"),
    ],
)
def test_what_is_no_mapping_of_capsules(value: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Config(capsules=value)


def test_an_unknown_attribute() -> None:
    capsule = Config().capsule("a", queues=["x"])
    with pytest.raises(UnknownSetting, match="the nearest known one is 'queues'"):
        capsule.queus = ["y"]  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="capsule 'default': its concurrency is the setting"):
        Config().capsule("default").concurrency = 2


def test_one_without_queues_is_told_before_the_worker_starts() -> None:
    config = Config()
    config.capsule("idle", concurrency=1)
    with pytest.raises(ConfigurationError, match="capsule 'idle' has no queues"):
        config.freeze()
    assert not config.frozen
    config.capsule("idle").queues = ["x"]
    config.freeze()


FILES = {
    "sidekiq.yml": """
        :queues: [default]
        :capsules:
          :unsafe:
            :concurrency: 1
            :queues:
              - [legacy, 2]
              - old
    """,
    "sidekiq.toml": """
        queues = ["default"]
        [capsules.unsafe]
        concurrency = "${SLOTS:-1}"
        queues = ["legacy,2", "old"]
    """,
    "sidekiq.json": json.dumps(
        {"capsules": {"unsafe": {"concurrency": 1, "queues": {"legacy": 2, "old": 0}}}}
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_in_a_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(FILES[name])
    config = Config(load(path, "production", {}))
    assert shown(config)["unsafe"] == (1, ["legacy,2", "old"], "weighted")


def test_a_section_replaces_them(tmp_path: Path) -> None:
    path = tmp_path / "sidekiq.yml"
    path.write_text("capsules: {a: {queues: [x]}}\nproduction: {capsules: {b: {queues: [y]}}}")
    assert list(Config(load(path, "production", {})).capsules) == ["default", "b"]
    assert list(Config(load(path, "test", {})).capsules) == ["default", "a"]


def test_a_wrong_one_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sidekiq.yml"
    path.write_text("capsules: {a: {queue: [x]}}")
    config = Config()
    with pytest.raises(UnknownSetting, match=r"sidekiq\.yml: capsule 'a': unknown option 'queue'"):
        config.update(load(path, "test", {}), str(path))
