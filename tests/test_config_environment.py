"""`${NAME}` in settings files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidekiq_lua.config import Config
from sidekiq_lua.config.files import load
from sidekiq_lua.errors import ConfigurationError

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file and answer its path."""

    def write_it(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_it


AROUND = {
    "URL": "redis://h/1",
    "N": "12",
    "RATE": "0.5",
    "YES": "true",
    "DIGITS": "12345",
    "EMPTY": "",
    "Q": "mail",
}
INTERPOLATED = {
    "concurrency": "${N}",
    "poll_interval_average": "${RATE}",
    "skip_default_job_logging": "${YES}",
    "tag": "${N}",
    "max_memory": "${LIMIT:-512MB}",
    "labels": ["${DIGITS}", "a-${Q}-${N}"],
    "queues": [["${Q}", "${N}"], "default"],
    "redis": {"url": "${URL}", "password": "${DIGITS}", "db": "${N}", "client_name": "$${N}"},
    "production": {"tag": "${ABSENT}"},
}


def test_variables_in_every_format(write: Write) -> None:
    toml = "\n".join(
        [
            *(
                'concurrency = "${N}"',
                'poll_interval_average = "${RATE}"',
                'skip_default_job_logging = "${YES}"',
            ),
            *('tag = "${N}"', 'max_memory = "${LIMIT:-512MB}"', 'labels = ["${DIGITS}", "a-${Q}-${N}"]'),
            *(
                'queues = [["${Q}", "${N}"], "default"]',
                "[redis]",
                'url = "${URL}"',
                'password = "${DIGITS}"',
            ),
            *('db = "${N}"', 'client_name = "$${N}"', "[production]", 'tag = "${ABSENT}"'),
        ]
    )
    rest = {name: value for name, value in INTERPOLATED.items() if name != "concurrency"}
    yaml_text = "concurrency: ${N}\n" + "\n".join(f"{name}: {json.dumps(rest[name])}" for name in rest)
    for name, text in (("a.json", json.dumps(INTERPOLATED)), ("a.toml", toml), ("a.yml", yaml_text)):
        found = load(write(name, text), "development", AROUND)
        assert found == {
            "concurrency": 12,
            "poll_interval_average": 0.5,
            "skip_default_job_logging": True,
            "tag": "12",
            "max_memory": "512MB",
            "labels": ["12345", "a-mail-12"],
            "queues": [["mail", 12], "default"],
            "redis": {"url": "redis://h/1", "password": "12345", "db": 12, "client_name": "${N}"},
        }
        assert Config(found).max_memory == 512 * 2**20


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${ABSENT:-}", ""),
        ("${ABSENT:-redis://h:1/0}", "redis://h:1/0"),
        ("$Q ${Q}s $$ $", "$Q mails $$ $"),
        ("${Q}${N}", "mail12"),
    ],
)
def test_what_a_variable_may_look_like(write: Write, text: str, value: str) -> None:
    assert load(write("a.json", json.dumps({"tag": text})), "development", AROUND) == {"tag": value}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            {"tag": "${ABSENT}"},
            ": tag: the environment variable ABSENT is not set; set it, or write ${ABSENT:-d",
        ),
        ({"redis": {"url": "redis://${HOST_}/0"}}, ": redis.url: the environment variable HOST_ is not set"),
        ({"queues": ["a", "${ABSENT}"]}, ": queues[1]: the environment variable ABSENT"),
        ({"production": {"redis": {"url": "${ABSENT}"}}}, ": redis.url: the environment variable ABSENT"),
        ({"tag": "${}"}, ": tag: '${}' cannot be read"),
        ({"tag": "${Q-x}"}, ": tag: '${Q-x}' cannot be read: write ${NAME} or ${NAME:-default}"),
        ({"tag": "a ${Q"}, ": tag: '${Q' cannot be read"),
    ],
)
def test_a_variable_that_cannot_be_had(write: Write, settings: Any, complaint: str) -> None:
    path = write("a.json", json.dumps(settings))
    with pytest.raises(ConfigurationError) as raised:
        load(path, "production", AROUND)
    assert str(raised.value).startswith(f"{path}{complaint}")
