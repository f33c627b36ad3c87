"""The written reference is what the headers say now, and whoever adds a script hears what is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from _audit import callers, completeness, fix, gate, keyspace_table, reference

from sidekiq_lua.store.contract import Parameter, contract, contracts, parse
from sidekiq_lua.store.scripts import library

GOOD = (Path(__file__).parent / "bad" / "returns__unstated.lua").read_text("utf-8")


def test_the_reference_is_up_to_date() -> None:
    assert [str(finding) for finding in reference.stale()] == []


def test_an_old_reference_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    monkeypatch.setattr(reference, "scripts_page", lambda: "new")
    monkeypatch.setattr(reference, "SCRIPTS", tmp_path / "scripts.md")
    (tmp_path / "scripts.md").write_text("old", "utf-8")
    assert "scripts.md: [docs] differs from the headers: run `tools/audit docs`" in map(
        str, reference.stale()
    )


def test_every_script_has_all_that_it_needs() -> None:
    assert [str(finding) for finding in completeness.missing()] == []
    assert [str(finding) for finding in reference.unknown_keys()] == []


def test_who_adds_a_script_hears_what_is_missing() -> None:
    assert list(completeness.of_script("new", "repeats: it", ["push"], '"push"')) == [
        "give it an ordinary call in tests/script_cases.py",
        'nothing calls it: a method under sidekiq_lua/store/ takes library()["new"]',
        "give it its worst call in tests/bounds/",
        "it repeats: show in tests/audit/repeats.py what a second run does",
    ]
    assert list(completeness.of_script("push", "same", ["push"], '"push"')) == []


def test_who_calls_a_script_is_found_in_the_package_s_source(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "class Queues:\n"
        "    def __init__(self):\n"
        "        scripts = library()\n"
        "        self._push = scripts['push'].call\n"
        "    def push(self):\n"
        "        return self._push()\n"
        "    def both(self):\n"
        "        return [library()[n] for n in {'fall': 1, 'retry': 2}]\n"
    )
    (tmp_path / "b.py").write_text(
        "_SAFE = {'push': 'pause'}\ndef once(name):\n    return library()[_SAFE[name]]\n"
        "def other():\n    return {'push': 1}['push'], library()['fetch']\n"
    )
    assert callers.callers(tmp_path, library()) == {
        "push": ["a.py `Queues.push`"],
        "fall": ["a.py `Queues.both`"],
        "retry": ["a.py `Queues.both`"],
        "pause": ["b.py `once`"],
        "fetch": ["b.py `other`"],
    }


# -- the contract --------------------------------------------------------------------------


def test_a_header_is_read_whole() -> None:
    found = contracts()["fetch"]
    assert found.summary.startswith("Take the oldest jobs of the first queues")
    assert found.flags == {"allow-oom"}
    assert found.keys[2] == Parameter(
        "KEYS", 3, "lists", True, "pairs in the order to look: a queue, the running list for it", "list", "rw"
    )
    assert found.argv[3] == Parameter("ARGV", 4, "names", True, "the queues' names, in the order of `lists`")
    assert found.returns.endswith('or {"REAPED"}: register again first')
    assert found.roles == ("worker",)
    assert found.key(9) == found.keys[2]
    assert contracts()["pause"].key(2) is None
    assert found.signature == "fetch(owners=…, paused=…, lists=[…], owner=…, n=…, bytes=…, names=[…])"


def test_the_loader_and_the_contract_read_the_same_names() -> None:
    for name, script in library().items():
        found = contract(script)
        assert tuple(p.name for p in found.keys) == script.keys.names, name
        assert tuple(p.name for p in found.argv) == script.argv.names, name
        assert found.flags == script.flags, name


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "list    rw  where it is",
            "list    where it is",
            "lua/bad.lua:4: the key source needs its type, then r",
        ),
        ("-- BOUND     1 job\n", "", "lua/bad.lua: the header has no BOUND"),
        ("-- ROLES", "--  what\n-- ROLES", "lua/bad.lua:10: this line belongs to no field"),
    ],
)
def test_a_header_that_breaks_the_form_names_the_line(old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(ValueError, match=complaint.replace("(", r"\(")):
        parse("bad", GOOD.replace(old, new))


def test_fix_writes_r_and_rw_and_keeps_the_columns() -> None:
    broken = GOOD.replace("list    rw  where it is", "list  where it is")
    mended = fix.with_access(broken, {"source": "r", "target": "rw"})
    assert mended.splitlines()[3:5] == [
        "-- KEYS  1   source   list  r   where it is",
        "--       2   target   list  rw  where it goes",
    ]
    assert fix.with_access(mended, {"source": "r", "target": "rw"}) == mended


def test_a_list_may_have_keys_of_two_types() -> None:
    two = GOOD.replace("source   list    rw", "source   list/hash    rw")
    assert parse("two", two).keys[0].kind == "list/hash"
    assert fix.with_access(two, {"source": "r", "target": "rw"}).splitlines()[3:5] == [
        "-- KEYS  1   source   list/hash  r   where it is",
        "--       2   target   list       rw  where it goes",
    ]


def test_fix_finds_nothing_to_mend_here() -> None:
    assert gate.mend() == []


# -- keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "pattern"),
    [
        ("queue:default", "queue:NAME"),
        ("stat:processed", "stat:processed"),
        ("stat:processed:2027-01-15", "stat:processed:DAY"),
        ("host:1:aaaa:work", "IDENTITY:work"),
        ("host:1:aaaa", "IDENTITY"),
        ("lua:running:host:1:aaaa:1a2b:default", "lua:running:IDENTITY:EPOCH:QUEUE"),
    ],
)
def test_a_key_has_a_name(key: str, pattern: str) -> None:
    assert keyspace_table.name_of(key) == pattern


def test_the_questions_name_scripts_that_are_there() -> None:
    """lua/QUESTIONS.md: twenty questions that lua/ alone answers."""
    text = (reference.ROOT / "lua" / "QUESTIONS.md").read_text("utf-8")
    numbers = [int(n) for n in re.findall(r"^## (\d+)\. ", text, re.M)]
    assert numbers == list(range(1, 21))
    linked = set(re.findall(r"\]\((?:lib/)?(\w+)\.lua\)", text))
    libs = {path.stem for path in (reference.ROOT / "lua" / "lib").glob("*.lua")}
    assert linked
    assert linked <= set(library()) | libs
