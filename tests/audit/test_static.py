"""Each rule of the static gate refuses the scripts of bad/ that are named after it; the real ones pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from _audit import gate, rules

BAD = Path(__file__).parent / "bad"
SCRIPTS = sorted(path.stem for path in BAD.glob("*.lua"))
LIBS = sorted(path.stem for path in (BAD / "lib").glob("*.lua"))


def test_a_healthy_build_has_no_findings() -> None:
    assert gate.static() == []


def test_luacheck_has_none_either() -> None:
    assert gate.luacheck() == []


def expected(path: Path) -> str:
    """The complaint that the file's last line states."""
    return path.read_text("utf-8").splitlines()[-1].removeprefix("-- REFUSED: ")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_bad_script_is_refused(name: str) -> None:
    found = rules.script(name, BAD)
    complaint = expected(BAD / f"{name}.lua")
    assert [f for f in found if f.rule == name.partition("__")[0] and complaint in f.message], found


@pytest.mark.parametrize("name", LIBS)
def test_a_bad_lib_is_refused(name: str) -> None:
    path = BAD / "lib" / f"{name}.lua"
    found = [f for f in rules.examine(BAD) if f.where.startswith(f"lua/lib/{name}.lua")]
    assert [f for f in found if f.rule == name.partition("__")[0] and expected(path) in f.message], found


def test_every_rule_has_a_bad_script() -> None:
    shown = {name.partition("__")[0] for name in (*SCRIPTS, *LIBS)}
    named = {rule.__name__ for rule in (*rules.TEXT_RULES, *rules.text_rules.LIB_RULES)}
    assert shown == named | {*rules.OWN_NAMES}


def test_the_script_they_are_made_of_passes(tmp_path: Path) -> None:
    bad = (BAD / "returns__unstated.lua").read_text("utf-8")
    (tmp_path / "good.lua").write_text(bad.replace('return "MOVED"', "return 1"), "utf-8")
    assert rules.examine(tmp_path) == []


def test_a_finding_names_file_line_and_rule() -> None:
    (found,) = rules.script("no_late_failure__unseen_target", BAD)
    assert str(found) == (
        "lua/no_late_failure__unseen_target.lua:20: [no_late_failure] LPUSH may fail on target after LREM in "
        "line 19: look at the key before the first write, or use redis.pcall"
    )


def test_exceptions_name_scripts_and_keys_that_need_them() -> None:
    late = {
        (subject.script.name, complaint.key)
        for path in gate.LUA.glob("*.lua")
        for subject in [rules.of(path.stem, gate.LUA)]
        for complaint in subject.flow.complaints
        if complaint.rule == "late"
    }
    assert late == set(rules.text_rules.LATE)
