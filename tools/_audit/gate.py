"""What `tools/audit` does: gathers findings, or writes what is generated."""

from __future__ import annotations

import difflib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from servers import KINDS, NoServer, Server, binary

from sidekiq_lua.store.contract import parse
from sidekiq_lua.store.scripts import library, script_dir

from . import completeness, fix, reference, rules, suite, trace
from .flow import Flow
from .rules import Finding
from .tree import parse as parse_lua

WHAT = ("all", "static", "suite", "docs", "trace", "fix")
ROOT = Path(__file__).resolve().parents[2]
LUA = Path(str(script_dir()))
TRACE = ROOT / "docs" / "trace.md"


def main(what: str, paths: Sequence[str] = (), *, ci: bool = False) -> int:
    """Do it, say what was found, and answer the exit code."""
    match what:
        case "docs":
            return _wrote(*reference.write())
        case "fix":
            return _wrote(*mend())
        case "trace":
            return write_trace()
        case "suite":
            found, called = suite.run(paths or suite.SUITES)
            print(f"{called.total()} calls of {len(called)} scripts")
            return _tell(found)
    found = static() + luacheck(ci=ci)
    print(f"{len(library())} scripts: {len(rules.TEXT_RULES) + len(rules.OWN_NAMES)} rules")
    if what == "all" and not found:
        found = completeness.missing() + reference.unknown_keys() + reference.stale()
        found += [finding for kind in servers(found, ci=ci) for finding in traced(kind)]
    return _tell(found)


def _tell(found: Sequence[Finding]) -> int:
    for finding in found:
        print(finding)
    print(f"findings: {len(found)}")
    return 1 if found else 0


def _wrote(*paths: Path) -> int:
    for path in paths:
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


# -- without a server ----------------------------------------------------------------------


def static() -> list[Finding]:
    return rules.examine(LUA)


def luacheck(*, ci: bool = False) -> list[Finding]:
    """The scripts as Redis gets them; line numbers are those that tools/luacat prints."""
    if not shutil.which("luacheck"):
        if ci:
            return [
                Finding("luacheck", "luacheck", "it is not installed; on Debian: apt-get install lua-check")
            ]
        print("luacheck is not installed, so the scripts were not linted (Debian: lua-check)")
        return []
    with tempfile.TemporaryDirectory() as folder:
        for script in library().values():
            (Path(folder) / f"{script.name}.lua").write_text(script.text, "utf-8")
        words = [
            "luacheck",
            "--no-color",
            "--formatter",
            "plain",
            "--config",
            str(ROOT / ".luacheckrc"),
            folder,
        ]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
    found = []
    for line in ended.stdout.splitlines():
        file, number, _, message = line.removeprefix(folder).lstrip("/").split(":", 3)
        script = library()[file.removesuffix(".lua")]
        found.append(Finding(f"lua/{script.origins[int(number) - 1]}", "luacheck", message.strip()))
    if ended.returncode and not found:
        found.append(
            Finding("luacheck", "luacheck", ended.stderr.strip() or f"ended with {ended.returncode}")
        )
    return found


def mend() -> list[Path]:
    """Write r and rw into the headers, as far as they can be read."""
    changed = []
    for script in library().values():
        contract = parse(script.name, fix.with_access(script.text, {}))
        tree = parse_lua(script.text)
        access = rules.accesses(rules.Subject(script, contract, tree, Flow(contract, tree)))
        if fix.write(LUA / f"{script.name}.lua", access):
            changed.append(LUA / f"{script.name}.lua")
    return changed


# -- with one ------------------------------------------------------------------------------


def servers(found: list[Finding], *, ci: bool) -> list[str]:
    """The kinds of server that are here; in CI the missing ones are findings."""
    here = []
    for kind in KINDS:
        try:
            binary(kind)
            here.append(kind)
        except NoServer as error:
            if ci:
                found.append(Finding(kind, "trace", str(error)))
            else:
                print(f"{error}: the trace was not taken there")
    return here


def traced(kind: str) -> list[Finding]:
    """What the ordinary calls do beyond their headers, and where they differ from the published trace."""
    with Server(kind) as server:
        recorded = dict(trace.record(server))
        found = [
            Finding(where, f"trace on {kind}", message)
            for problem in trace.problems(server, recorded)
            for where, _, message in [problem.partition(": ")]
        ]
        if found:
            return found
        text = trace.written(server, recorded)
    published = TRACE.read_text("utf-8") if TRACE.exists() else ""
    commands = sum(len(ran.inner) for ran in recorded.values())
    print(f"{len(recorded)} scripts traced on {kind}: {commands} commands")
    if text == published:
        return []
    lines = difflib.unified_diff(
        published.splitlines(), text.splitlines(), "docs/trace.md", kind, "", "", 0, ""
    )
    return [Finding("docs/trace.md", f"trace on {kind}", "run `tools/audit trace`:\n" + "\n".join(lines))]


def write_trace() -> int:
    """Write the trace of the first kind of server that is here; then it must be that of the others too."""
    found: list[Finding] = []
    here = servers(found, ci=False)
    with Server(here[0]) as server:
        TRACE.write_text(trace.written(server, dict(trace.record(server))), "utf-8")
    _wrote(TRACE)
    return _tell([finding for kind in here for finding in traced(kind)])
