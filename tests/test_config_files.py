"""Settings in files: three formats, environment sections, other spellings, and files that cannot be read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidekiq_lua.config import Config
from sidekiq_lua.config.files import default_path, load
from sidekiq_lua.errors import ConfigurationError, UnknownSetting

Write = Callable[[str, "str | bytes"], Path]

YAML = """
concurrency: 5
queues:
  - [critical, 2]
  - default,1
  - {low: 1}
redis:
  url: redis://h/0
  pool_timeout: 0.5
strict_args: none
production:
  concurrency: 20
"""
TOML = """
concurrency = 5
queues = [["critical", 2], "default,1", {low = 1}]
strict_args = "none"
[redis]
url = "redis://h/0"
pool_timeout = 0.5
[production]
concurrency = 20
"""
JSON = json.dumps(
    {
        "concurrency": 5,
        "queues": [["critical", 2], "default,1", {"low": 1}],
        "redis": {"url": "redis://h/0", "pool_timeout": 0.5},
        "strict_args": "none",
        "production": {"concurrency": 20},
    }
)
RUBY = """
:concurrency: 5
:queues:
  - [critical, 2]
  - default,1
  - low: 1
:redis:
  :url: redis://h/0
  :pool_timeout: 0.5
:on_complex_arguments: :none
:strict: true
:production:
  :concurrency: 20
"""
CAMEL = JSON.replace("strict_args", "strictArgs").replace("pool_timeout", "poolTimeout")
FORMATS = [
    ("sidekiq.yml", YAML),
    ("sidekiq.yaml", YAML),
    ("sidekiq.toml", TOML),
    ("sidekiq.json", JSON),
    ("sidekiq.yml", RUBY),
    ("sidekiq.json", CAMEL),
    ("sidekiq.json", "\ufeff" + JSON),
]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file and answer its path."""

    def write_it(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_it


def yaml(write: Write, content: str, environment: str = "development") -> dict[str, Any]:
    return load(write("sidekiq.yml", content), environment)


def refusal(path: Path) -> str:
    """The message of the refusal, without the path at its beginning."""
    with pytest.raises(ConfigurationError) as refused:
        load(path, "development")
    message = str(refused.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


# -- the formats --------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "content"), FORMATS)
@pytest.mark.parametrize(("environment", "concurrency"), [("development", 5), ("production", 20)])
def test_every_format_and_spelling_gives_the_same_settings(
    write: Write, name: str, content: str, environment: str, concurrency: int
) -> None:
    found = load(write(name, content), environment)
    assert found == {
        "concurrency": concurrency,
        "queues": [["critical", 2], "default,1", {"low": 1}],
        "redis": {"url": "redis://h/0", "pool_timeout": 0.5},
        "strict_args": "none",
    }
    config = Config(environ={})
    config.update(found, source=name)
    assert config.queues == ["critical,2", "default,1", "low,1"]
    assert config.redis["url"] == "redis://h/0"


def test_every_setting_of_the_seed_is_understood_in_camel_case(write: Write) -> None:
    path = write(
        "sidekiq.json",
        """{"redis": {"url": "redis://localhost:6379/0"}, "concurrency": 10, "timeout": 8,
        "queues": ["critical", "default", "low"], "pollIntervalAverage": 2, "heartbeatInterval": 9,
        "maxRetries": 24, "deadMaxJobs": 9999, "deadTimeoutInSeconds": 15, "tag": "t", "labels": ["l"],
        "skipDefaultJobLogging": true, "loggedJobAttributes": ["bid"], "strictArgs": "warn",
        "require": ["jobs.py"]}""",
    )
    config = Config(environ={})
    config.update(load(path, "development"))
    assert (config.poll_interval_average, config.heartbeat_interval, config.max_retries) == (2, 9, 24)
    assert (config.dead_max_jobs, config.dead_timeout_in_seconds) == (9999, 15)
    assert (config.skip_default_job_logging, config.strict_args) == (True, "warn")
    assert config.logged_job_attributes == ["bid"]


def test_redis_may_be_a_url_and_pools_keep_their_names(write: Write) -> None:
    assert yaml(write, "redis: redis://h\npools:\n  shardOne:\n    url: redis://s\n    poolSize: 2\n") == {
        "redis": "redis://h",
        "pools": {"shardOne": {"url": "redis://s", "pool_size": 2}},
    }


@pytest.mark.parametrize(
    ("name", "content"), [("a.yml", ""), ("a.yaml", "# none\n"), ("a.toml", ""), ("a.json", "{}")]
)
def test_a_file_without_settings_is_one(write: Write, name: str, content: str) -> None:
    assert load(write(name, content), "production") == {}


def test_verbose_means_the_debug_level(write: Write) -> None:
    assert yaml(write, "verbose: true") == {"log_level": "debug"}
    assert yaml(write, "verbose: false\nlog_level: warn") == {"log_level": "warn"}


def test_only_yaml_turns_symbols_into_words(write: Write) -> None:
    assert yaml(write, "tag: :web\nlabels: [':a b', '::', ':1', 'a:b']") == {
        "tag": "web",
        "labels": [":a b", "::", ":1", "a:b"],
    }
    assert load(write("a.json", '{"tag": ":web"}'), "development") == {"tag": ":web"}


# -- sections -----------------------------------------------------------------------------


def test_a_section_overrides_whole_settings_and_other_sections_are_left_out(write: Write) -> None:
    content = (
        "concurrency: 5\nredis: {url: redis://h, db: 1}\n"
        "production: {redis: {url: redis://p}}\n"
        "staging: {concurency: 1}\n"
        "test:\n"
    )
    assert yaml(write, content, "production") == {"concurrency": 5, "redis": {"url": "redis://p"}}
    assert yaml(write, content, "test") == {"concurrency": 5, "redis": {"url": "redis://h", "db": 1}}
    assert "concurency" in yaml(write, content, "staging")


def test_a_section_of_any_name_is_known_by_holding_settings(write: Write) -> None:
    content = "concurrency: 5\nqa: {concurrency: 7, deadMaxJobs: 3}\n"
    assert yaml(write, content) == {"concurrency": 5}
    assert yaml(write, content, "qa") == {"concurrency": 7, "dead_max_jobs": 3}
    assert yaml(write, "qa: {concurency: 7}", "qa") == {"concurency": 7}


def test_a_misspelt_setting_is_no_section(write: Write) -> None:
    found = yaml(write, "rediss: {url: redis://h}\n")
    with pytest.raises(
        UnknownSetting, match=r"^sidekiq\.yml: there is no setting 'rediss'; the nearest is 'redis'"
    ):
        Config(environ={}).update(found, source="sidekiq.yml")


def test_an_environment_named_like_a_setting_has_no_section(write: Write) -> None:
    assert yaml(write, "redis: {url: redis://h}", "redis") == {"redis": {"url": "redis://h"}}


def test_a_section_that_is_no_mapping_is_an_unknown_setting(write: Write) -> None:
    assert yaml(write, "production: 5", "production") == {"production": 5}


# -- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{\n"a": }', ":2: not valid JSON: Expecting value"),
        ("a.json", "", ":1: not valid JSON: Expecting value"),
        ("a.toml", "a = 1\nb = \n", ":2: not valid TOML: Invalid value"),
        ("a.toml", "a = ", ": not valid TOML: Invalid value (at end of document)"),
        ("a.yml", "a: 1\n\tb: 2\n", ":2: not valid YAML: found character '\\t' that cannot start any token"),
        (
            "a.yml",
            "a: !ruby/object:Foo {}\n",
            ":1: not valid YAML: could not determine a constructor for the tag",
        ),
        ("a.yml", "a: \x00\n", ": not valid YAML: unacceptable character #x0000: special characters are not"),
        ("a.yml", "a: 2026-99-99\n", ": not valid YAML: month must be in 1..12"),
        ("a.yml", "a: 1\n---\nb: 2\n", ":2: not valid YAML: but found another document"),
        ("a.yml", b"a: \xff\n", ": not UTF-8 text (byte 3)"),
        ("a.yml", "- a\n", ": must hold settings by name, not a list"),
        ("a.json", '"text"', ": must hold settings by name, not a str"),
        ("a.json", "[" * 100_000, ": nested too deeply"),
        ("a.yml", "on: 1\n", ": the key True must be a word; put it in quotes if it is one"),
        ("a.yml", "verbose: loud\n", ": verbose must be true or false, not 'loud'"),
        (
            "a.json",
            '{"maxRetries": 1, "max_retries": 2}',
            ": max_retries is given twice, the second time as 'max_retries'",
        ),
        (
            "a.yml",
            "redis: {poolSize: 1, pool_size: 2}",
            ": pool_size is given twice, the second time as 'pool_size'",
        ),
        ("a.yml", "queues: [a]\ntag: b\nqueues: [c]\n", ":3: queues is given twice"),
        ("a.json", '{"redis": {"url": "redis://a", "url": "redis://b"}}', ": url is given twice"),
        ("a.ini", "", ": the name must end in .yml, .yaml, .json, .toml"),
        (
            "a.yml.erb",
            "",
            ": ERB is not run here; save the file as a.yml and write ${ENV} or ${ENV:-default}",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name_and_line(
    write: Write, name: str, content: str | bytes, message: str
) -> None:
    assert refusal(write(name, content)).startswith(message)


def test_what_a_yaml_merge_brings_may_be_given_again(write: Write) -> None:
    text = "production: &a {timeout: 1, tag: a}\nstaging: {<<: *a, tag: b}\ntest: {<<: *a, timeout: 2}\n"
    assert yaml(write, text, "staging") == {"timeout": 1, "tag": "b"}
    assert yaml(write, text, "test") == {"timeout": 2, "tag": "a"}


def test_the_refusal_of_erb_names_the_placeholder(write: Write) -> None:
    assert "${ENV}" in refusal(write("sidekiq.yml.erb", ""))


@pytest.mark.parametrize(
    ("content", "key"),
    [
        # Ruby runs ERB in each file, whatever its name.
        ("concurrency: <%= ENV['JOBS'] %>", "concurrency"),
        ("tag: <%= ENV['TAG'] %>", "tag"),
        ("queues:\n- mail\n- <%=ENV['QUEUE']%>", "queues[1]"),
        ("redis:\n  url: redis://<%= host %>/0", "redis.url"),
    ],
)
def test_erb_in_a_file_is_refused_and_not_taken_as_text(write: Write, content: str, key: str) -> None:
    assert refusal(write("a.yml", content)) == (
        f": {key}: ERB is not run here; write ${{NAME}} or ${{NAME:-default}} for an environment variable"
    )


def test_erb_of_another_environment_is_not_looked_at(write: Write) -> None:
    assert yaml(write, "tag: a\nproduction:\n  tag: <%= TAG %>") == {"tag": "a"}


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone.yml") == ": No such file or directory"
    (tmp_path / "a.yml").mkdir()
    assert refusal(tmp_path / "a.yml") == ": Is a directory"


def test_no_refusal_of_a_broken_file_shows_what_is_in_it(write: Write) -> None:
    for name, content in (
        ("a.yml", "redis: redis://u:s3cr3t@h\n\tx"),
        ("a.json", '{"redis": "redis://u:s3cr3t@h" x'),
        ("a.toml", 'redis = "redis://u:s3cr3t@h" x'),
    ):
        assert "s3cr3t" not in refusal(write(name, content))


# -- where it is looked for ---------------------------------------------------------------


def test_the_first_file_in_order_is_taken(write: Write, tmp_path: Path) -> None:
    names = [
        f"{folder}sidekiq.{suffix}"
        for folder in ("config/", "")
        for suffix in ("yml", "yaml", "json", "toml")
    ]
    assert default_path(tmp_path) is None
    (tmp_path / "config" / "sidekiq.yml").mkdir(parents=True)
    assert default_path(tmp_path) is None, "a directory is no file"
    (tmp_path / "config" / "sidekiq.yml").rmdir()
    for name in reversed(names):
        path = write(name, "")
        assert default_path(tmp_path) == path


def test_yaml_is_loaded_only_for_yaml(write: Write) -> None:
    code = (
        "import sys; from sidekiq_lua.config.files import load; load(sys.argv[1], 'test'); "
        "print('yaml' in sys.modules)"
    )
    for name, loaded in (("a.json", "False"), ("a.yml", "True")):
        command = [sys.executable, "-c", code, str(write(name, "{}"))]
        root = Path(__file__).parents[1]
        assert (
            subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
            == loaded
        )
