"""Imports point down, one module reads the clock, one room knows Redis, and no file grows too long.

The checks are functions of a file's source and of its path below `sidekiq_lua/`; each answers a list of
complaints, and the tables at the end show it what it must refuse.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

FLOORS: list[set[str]] = [
    {"version", "errors", "clock", "context", "formatters", "log", "urls"}
    | {"current", "enumerators", "middleware", "options", "payload", "profiling", "signatures"}
    | {"reporting", "strict", "tally", "timing"},
    {"store"},
    {"config", "bundled"},
    {"app", "async_client", "client", "enqueue", "execution", "faked", "guard", "job", "registry", "sink"}
    | {"holding", "iterable", "iterating", "outbox", "push_buffer", "sending", "stored"},
    {"worker", "api", "testing"},
    {"contrib", "instance", "cli", "monitor", "pytest_plugin", "__main__", "__init__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# Who may import whom on one floor, when the program runs. Worker and api have no line here.
BESIDE: dict[str, set[str]] = {
    **{room: {"errors", "version"} for room in FLOORS[0] - {"errors", "version"}},
    "current": {"errors", "strict"},
    "formatters": {"clock", "context", "errors"},
    "middleware": {"errors", "signatures"},
    "log": {"clock", "context", "errors", "formatters"},
    "payload": {"clock", "errors", "strict", "version"},
    **{room: {"errors", "payload"} for room in ("enumerators", "timing")},
    "reporting": {"formatters", "log"},
    "faked": {"sink"},
    "job": {"execution", "faked", "registry"},
    "iterable": {"iterating", "job"},
    "enqueue": {"job", "registry"},
    "push_buffer": {"sending"},
    "outbox": {"push_buffer", "sending"},
    "client": {"enqueue", "job", "registry", "sending", "sink"},
    "async_client": {"client", "enqueue", "job", "registry", "sending", "sink"},
    "app": {"async_client", "client", "enqueue", "execution", "guard", "iterable", "job"}
    | {"outbox", "registry"},
    "cli": {"__init__", "contrib", "instance", "monitor"},
    "contrib": {"instance"},
    "__init__": {"instance"},
    "pytest_plugin": {"instance"},
    "__main__": {"cli"},
}

STRANGERS = {"worker", "api"}
"""Two rooms that must not know each other, not even for a type."""

REDIS_ROOMS = {"store"}
LATE_ROOMS = {"cli", "monitor", "__main__", "__init__"}
"""Where an import inside a function is welcome: a command pays only for what it uses."""

LATE: dict[str, str] = {
    "config/files.py": "yaml takes some 20 ms, which JSON and TOML need not wait for",
    "worker/standin.py": "ssl takes 3 MB, which a stand-in without TLS need not have",
    "worker/profiler.py": "pyinstrument is an extra, and takes 20 ms that a worker may never need",
    "worker/runner.py": "http.server takes some 15 ms, which few workers need",
    "pytest_plugin.py": "every pytest run loads it where the package is installed, used or not",
    "testing/servers.py": "testcontainers is another's package, and takes half a second",
    "store/endpoint.py": "redis.asyncio loads asyncio, which a synchronous client never needs",
}
"""Other files with imports inside functions, each with its reason."""

LONG_SCRIPTS: dict[str, str] = {}
"""Scripts over the limit, each with its reason."""

_NEVER = {
    *(f"time.{name}{unit}" for name in ("time", "monotonic", "perf_counter") for unit in ("", "_ns")),
    *(f"time.clock_gettime{unit}" for unit in ("", "_ns")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    "datetime.date.today",
}
# These read the clock only when the moment is left out: the number of arguments that includes it.
_WITH_A_MOMENT = {
    "time.gmtime": 1,
    "time.localtime": 1,
    "time.ctime": 1,
    "time.asctime": 1,
    "time.strftime": 2,
}

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sidekiq_lua"
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "lua").rglob("*.lua"))
PYTHON = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("sidekiq_lua", "tests", "tools", "examples")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and (path.suffix == ".py" or path.parent == ROOT / "tools")
)

Check = Callable[[str, str], list[str]]


class Import(NamedTuple):
    line: int
    name: str  # dotted; what `from . import x` names, with its package in front
    late: bool  # inside a function
    types_only: bool  # under `if TYPE_CHECKING`
    of_root: bool  # takes a name out of the package root


def room(path: str) -> str:
    return PurePosixPath(path).parts[0].removesuffix(".py")


def imports(source: str, path: str) -> list[Import]:
    package = ("sidekiq_lua", *PurePosixPath(path).parts[:-1])
    found: list[Import] = []

    def visit(node: ast.AST, late: bool, types_only: bool) -> None:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    at_root = alias.name == "sidekiq_lua"
                    found.append(Import(node.lineno, alias.name, late, types_only, at_root))
            case ast.ImportFrom(module=module, names=names, level=level):
                base = [*package[: len(package) - level + 1]] if level else []
                origin = ".".join([*base, *([module] if module else [])])
                for alias in names:
                    # `from . import x` and `from sidekiq_lua import x` may name a module.
                    name = f"{origin}.{alias.name}" if origin == "sidekiq_lua" or not module else origin
                    found.append(Import(node.lineno, name, late, types_only, origin == "sidekiq_lua"))
            case ast.If(test=test, body=body, orelse=orelse) if "TYPE_CHECKING" in ast.unparse(test):
                for child in body:
                    visit(child, late, True)
                for child in orelse:
                    visit(child, late, types_only)
            case _:
                inside = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                for child in ast.iter_child_nodes(node):
                    visit(child, inside, types_only)

    visit(ast.parse(source), False, False)
    return found


def upward(source: str, path: str) -> list[str]:
    """Imports of a higher floor, or of a neighbour that BESIDE does not allow."""
    here = room(path)
    if here not in FLOOR:
        return [f"{path}: {here} stands on no floor; give it one in tests/test_floors.py"]
    complaints = []
    for found in imports(source, path):
        package, _, rest = found.name.partition(".")
        if package != "sidekiq_lua" or not rest:
            continue
        there = rest.split(".")[0]
        if there == here:
            continue
        if there not in FLOOR:
            complaints.append(
                f"{path}:{found.line}: {there} stands on no floor; give it one in tests/test_floors.py"
            )
        elif {here, there} == STRANGERS:
            complaints.append(f"{path}:{found.line}: worker and api never import each other")
        elif FLOOR[there] > FLOOR[here]:
            complaints.append(f"{path}:{found.line}: {here} imports {there}, which is on a higher floor")
        elif FLOOR[there] == FLOOR[here] and not found.types_only and there not in BESIDE.get(here, ()):
            complaints.append(f"{path}:{found.line}: {here} imports {there}, its neighbour")
    return complaints


def of_the_root(source: str, path: str) -> list[str]:
    """`from sidekiq_lua import …` inside the package: the root imports everybody, so nobody imports it."""
    return [
        f"{path}:{found.line}: imports the package root; name the module it comes from"
        for found in imports(source, path)
        if found.of_root
    ]


def of_redis(source: str, path: str) -> list[str]:
    if room(path) in REDIS_ROOMS:
        return []
    return [
        f"{path}:{found.line}: imports {found.name}, but only store/ knows Redis"
        for found in imports(source, path)
        if found.name.split(".")[0] in {"redis", "hiredis", "valkey"}
    ]


def late(source: str, path: str) -> list[str]:
    """Imports inside functions, except where start-up time is the reason."""
    if room(path) in LATE_ROOMS or path in LATE:
        return []
    return [
        f"{path}:{found.line}: imports {found.name} inside a function"
        for found in imports(source, path)
        if found.late
    ]


def clock_reads(source: str, path: str) -> list[str]:
    """Uses of the clock outside clock.py, whatever name the module gave it."""
    if room(path) == "clock":
        return []
    tree = ast.parse(source)
    names = _names(tree)
    counted = {id(call.func): len(call.args) for call in ast.walk(tree) if isinstance(call, ast.Call)}
    complaints = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute):
            continue
        dotted = _dotted(node, names)
        missing = dotted in _WITH_A_MOMENT and counted.get(id(node), 9) < _WITH_A_MOMENT[dotted]
        if dotted in _NEVER or missing:
            complaints.append(f"{path}:{node.lineno}: {dotted} reads the clock, which only clock.py does")
    return complaints


def _names(tree: ast.Module) -> dict[str, str]:
    """What the module's own names for `time` and `datetime` stand for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    match node:
        case ast.Name(id=name):
            return names.get(name, "")
        case ast.Attribute(value=value, attr=attribute):
            base = _dotted(value, names)
            return f"{base}.{attribute}" if base else ""
        case _:
            return ""


def too_long(source: str, path: str, limit: int) -> list[str]:
    count = len(source.splitlines())
    return [f"{path}: {count} lines, over {limit}; split it by noun"] if count > limit else []


def over_400(source: str, path: str) -> list[str]:
    return too_long(source, path, 400)


def over_60(source: str, path: str) -> list[str]:
    return too_long(source, path, 60)


# -- the tree as it is ------------------------------------------------------------------


def test_there_is_something_to_check() -> None:
    assert "errors.py" in MODULES
    assert "lua/ack.lua" in SCRIPTS
    assert "tests/test_floors.py" in PYTHON


@pytest.mark.parametrize("check", [upward, of_the_root, of_redis, late, clock_reads])
@pytest.mark.parametrize("path", MODULES)
def test_module_keeps_the_rules(path: str, check: Check) -> None:
    assert check((PACKAGE / path).read_text("utf-8"), path) == []


@pytest.mark.parametrize("path", PYTHON)
def test_no_python_file_is_over_400_lines(path: str) -> None:
    assert over_400((ROOT / path).read_text("utf-8"), path) == []


@pytest.mark.parametrize("path", SCRIPTS)
def test_no_script_is_over_60_lines(path: str) -> None:
    complaints = over_60((ROOT / path).read_text("utf-8"), path)
    assert bool(complaints) == (path in LONG_SCRIPTS), complaints or f"{path} is short: take it off the list"


@pytest.mark.parametrize("path", LATE)
def test_a_file_listed_for_late_imports_has_some(path: str) -> None:
    assert any(found.late for found in imports((PACKAGE / path).read_text("utf-8"), path))


def test_neighbours_stand_in_an_order() -> None:
    assert list(TopologicalSorter(BESIDE).static_order())
    for here, allowed in BESIDE.items():
        assert {FLOOR[there] for there in allowed} == {FLOOR[here]}


# -- every check fails on what it is there for --------------------------------------------

BAD = [
    (upward, "errors.py", "from .payload import Payload", "its neighbour"),
    (upward, "payload.py", "from .store.keys import Keys", "higher floor"),
    (upward, "payload.py", "from . import store", "higher floor"),
    (upward, "store/queues.py", "from ..config import Config", "higher floor"),
    (upward, "store/queues.py", "from sidekiq_lua.config import Config", "higher floor"),
    (upward, "store/queues.py", "import sidekiq_lua.config.files", "higher floor"),
    (upward, "store/queues.py", "from sidekiq_lua import config", "higher floor"),
    (upward, "store/queues.py", "def f():\n    from ..worker import launcher", "higher floor"),
    (upward, "store/queues.py", "if TYPE_CHECKING:\n    from ..config import Config", "higher floor"),
    (upward, "bundled/server.py", "from ..config import Config", "its neighbour"),
    (upward, "job.py", "from .client import Client", "its neighbour"),
    (
        upward,
        "client.py",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from .app import App",
        "its neighbour",
    ),
    (upward, "worker/launcher.py", "from ..api.stats import Stats", "never import each other"),
    (upward, "api/stats.py", "if TYPE_CHECKING:\n    from ..worker.launcher import L", "never import"),
    (upward, "worker/launcher.py", "from ..cli.main import main", "higher floor"),
    (upward, "client.py", "from .attic import old", "attic stands on no floor"),
    (upward, "attic.py", "", "attic stands on no floor"),
    (of_the_root, "client.py", "from sidekiq_lua import Job", "package root"),
    (of_the_root, "client.py", "import sidekiq_lua", "package root"),
    (of_the_root, "client.py", "from . import errors", "package root"),
    (of_the_root, "store/keys.py", "from .. import errors", "package root"),
    (of_redis, "client.py", "import redis", "only store/"),
    (of_redis, "client.py", "from redis.exceptions import RedisError", "only store/"),
    (of_redis, "bundled/server.py", "def f():\n    import redis.asyncio as r", "only store/"),
    (late, "client.py", "def f():\n    import json", "inside a function"),
    (
        late,
        "client.py",
        "class A:\n    async def f(self):\n        from json import loads",
        "inside a",
    ),
    (clock_reads, "log.py", "import time\ntime.time()", "log.py:2: time.time reads"),
    (clock_reads, "log.py", "import time as t\nnow = t.monotonic", "time.monotonic reads"),
    (
        clock_reads,
        "log.py",
        "from time import perf_counter_ns as n\nn()",
        "time.perf_counter_ns reads",
    ),
    (clock_reads, "log.py", "from datetime import datetime\ndatetime.now(UTC)", "datetime.now reads"),
    (clock_reads, "log.py", "import datetime as d\nd.date.today()", "date.today reads"),
    (clock_reads, "log.py", "def f():\n    import time\n    return time.time_ns()", "time_ns reads"),
    (clock_reads, "log.py", "import time\ntime.gmtime()", "time.gmtime reads"),
    (clock_reads, "log.py", "import time\ntime.strftime('%H')", "time.strftime reads"),
    (over_400, "a.py", "\n" * 401, "401 lines, over 400"),
    (over_60, "lua/a.lua", "\n" * 61, "61 lines, over 60"),
]

GOOD = [
    (upward, "client.py", "from .store import Keys\nfrom .enqueue import Enqueuer\nimport json"),
    (upward, "client.py", "if TYPE_CHECKING:\n    from .app import App"),
    (upward, "store/queues.py", "from . import keys\nfrom .calls import Call\nfrom ..errors import E"),
    (upward, "__main__.py", "from .cli.main import main"),
    (
        of_the_root,
        "store/queues.py",
        "from . import keys\nfrom ..errors import E\nimport sidekiq_lua.errors",
    ),
    (of_redis, "store/transport.py", "import redis\nimport hiredis"),
    (of_redis, "client.py", "import redistribute"),
    (late, "cli/main.py", "def main():\n    from ..worker import launcher"),
    (
        late,
        "client.py",
        "if TYPE_CHECKING:\n    import json\ntry:\n    import ujson\nexcept E:\n    pass",
    ),
    (clock_reads, "clock.py", "import time\ntime.time()"),
    (clock_reads, "log.py", "import time\ntime.sleep(1)\ntime.gmtime(at)\ntime.strftime('%H', at)"),
    (
        clock_reads,
        "log.py",
        "from datetime import datetime\ndatetime.fromtimestamp(at, UTC)\nself.time()",
    ),
    (over_400, "a.py", "\n" * 400),
    (over_60, "lua/a.lua", "\n" * 60),
]


@pytest.mark.parametrize(("check", "path", "source", "complaint"), BAD)
def test_check_refuses(check: Check, path: str, source: str, complaint: str) -> None:
    assert complaint in " ".join(check(source, path))


@pytest.mark.parametrize(("check", "path", "source"), GOOD)
def test_check_lets_pass(check: Check, path: str, source: str) -> None:
    assert check(source, path) == []


def test_a_ring_of_neighbours_is_refused() -> None:
    with pytest.raises(CycleError):
        list(TopologicalSorter({"job": {"client"}, "client": {"job"}}).static_order())
