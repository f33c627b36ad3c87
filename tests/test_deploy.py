"""deploy/ holds what works: each file is read as its program reads it, and its numbers fit ours."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidekiq_lua.cli.supervisor.plan import Plan
from sidekiq_lua.cli.worker import command
from sidekiq_lua.config import Config
from sidekiq_lua.config.check import size

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd/sidekiq-lua.service"
DOCKERFILE = DEPLOY / "docker/Dockerfile"

STOP_S = Plan.of(Config()).stop_s
"""After so long a supervisor has killed what did not stop."""


def options(words: list[str]) -> dict[str, Any]:
    """What the command line makes of the words after `sidekiq-lua`; fails where it refuses them."""
    assert words[0] == "worker"
    context = command.make_context("worker", words[1:])
    Config(
        {
            name: context.params[name]
            for name in ("processes", "max_memory", "timeout", "health")
            if context.params[name]
        }
    )
    return dict(context.params)


def unit() -> dict[str, list[str]]:
    """Every `Name=value` of the unit; a name may come more than once."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def seconds(text: str) -> float:
    assert re.fullmatch(r"\d+s?", text)
    return float(text.removesuffix("s"))


# -- systemd ----------------------------------------------------------------------------


def test_the_unit_waits_longer_than_the_worker() -> None:
    given = unit()
    assert given["Type"] == ["notify"]
    assert given["KillMode"] == ["mixed"]
    assert seconds(given["TimeoutStopSec"][0]) > STOP_S
    # A heartbeat counts as stuck after a TTL; a ping comes at half the time.
    assert seconds(given["WatchdogSec"][0]) > Config().heartbeat_ttl
    assert given["ExecReload"] == ["/bin/kill -USR2 $MAINPID"]


def test_the_units_command_is_one() -> None:
    (line,) = unit()["ExecStart"]
    words = shlex.split(line)
    assert words[0].endswith("/sidekiq-lua")
    params = options(words[1:])
    memory = size("max_memory", params["max_memory"])
    (most,) = unit()["MemoryMax"]
    # One more while another is being replaced.
    assert (params["processes"] + 1) * memory <= size("MemoryMax", f"{most}B")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text()))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    copy.write_text(copy.read_text().replace("KillMode=mixed", "KillMode=mixedd"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=30
    )
    assert "kill mode" in done.stderr


# -- Kubernetes -------------------------------------------------------------------------


def test_kubernetes_waits_longer_than_the_worker_and_asks_where_it_answers() -> None:
    (deployment,) = yaml.safe_load_all((DEPLOY / "kubernetes/worker.yaml").read_text())
    spec = deployment["spec"]
    assert deployment["kind"] == "Deployment"
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    params = options(container["args"])

    (ready,) = re.findall(r"sleep (\d+)", container["lifecycle"]["preStop"]["exec"]["command"][2])
    patience = STOP_S - Config().timeout + params["timeout"] + int(ready)
    assert pod["terminationGracePeriodSeconds"] > patience

    host, _, port = params["health"].rpartition(":")
    assert host == "0.0.0.0"
    assert [(p["name"], p["containerPort"]) for p in container["ports"]] == [("health", int(port))]
    for probe, path in (
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ):
        assert container[probe]["httpGet"] == {"path": path, "port": "health"}

    limit = size("memory", container["resources"]["limits"]["memory"].replace("Mi", "MB"))
    assert (params["processes"] + 1) * size("max_memory", params["max_memory"]) < limit
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    assert all(isinstance(entry.get("value", ""), str) for entry in container["env"])


# -- Docker -----------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, lines joined, without comments."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def reaches_the_builder(path: str) -> bool:
    """What .dockerignore says of a path: the last pattern that fits decides."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").strip()
        if not line or line.startswith("#"):
            continue
        parts = path.split("/")
        if any(fnmatch("/".join(parts[: n + 1]), pattern) for n in range(len(parts))):
            ignored = not line.startswith("!")
    return not ignored


def test_the_dockerfile_copies_what_is_there() -> None:
    copied = [words for name, rest in instructions() if name == "COPY" for words in [rest.split()]]
    for words in copied:
        if words[0].startswith("--from="):
            continue
        for source in words[:-1]:
            assert (ROOT / source).exists(), source
            assert reaches_the_builder(source.removeprefix("./")), source
    assert reaches_the_builder("sidekiq_lua/cli/main.py")
    assert not reaches_the_builder(".git/config")
    assert not reaches_the_builder("tests/conftest.py")
    assert not reaches_the_builder(".venv/bin/python")


def test_the_image_starts_a_worker_that_gets_its_signals() -> None:
    found = instructions()
    assert [rest for name, rest in found if name == "FROM"][-1].startswith("python:3")
    (entry,) = [json.loads(rest) for name, rest in found if name == "ENTRYPOINT"]
    (words,) = [json.loads(rest) for name, rest in found if name == "CMD"]
    assert entry == ["sidekiq-lua"]
    params = options(words)
    (port,) = [rest for name, rest in found if name == "EXPOSE"]
    assert params["health"] == f"0.0.0.0:{port}"
    (check,) = [rest for name, rest in found if name == "HEALTHCHECK"]
    program = json.loads(check[check.index("CMD") + 3 :])
    assert f":{port}/livez" in program[2]
    compile(program[2], "HEALTHCHECK", "exec")
    (user,) = [rest for name, rest in found if name == "USER"]
    assert int(user) > 0, "Kubernetes' runAsNonRoot wants a number"


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not here")
def test_hadolint_has_no_complaint() -> None:
    done = subprocess.run(["hadolint", str(DOCKERFILE)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_fits_the_image() -> None:
    compose = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())
    worker, server = compose["services"]["worker"], compose["services"]["redis"]
    context = (DEPLOY / "docker" / worker["build"]["context"]).resolve()
    assert context == ROOT
    assert context / worker["build"]["dockerfile"] == DOCKERFILE
    options(worker["command"])
    assert seconds(worker["stop_grace_period"]) > STOP_S
    assert "noeviction" in server["command"]
    assert set(worker["depends_on"]) < set(compose["services"])
    assert worker["environment"]["REDIS_URL"] == "redis://redis:6379/0"
    volumes = {volume.split(":")[0] for volume in server["volumes"]}
    assert volumes == set(compose["volumes"])


# -- logrotate --------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="apt-get install logrotate; CI has it")
def test_logrotate_takes_its_file(tmp_path: Path) -> None:
    done = subprocess.run(
        ["logrotate", "--debug", "--state", str(tmp_path / "state"), str(DEPLOY / "logrotate")],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
